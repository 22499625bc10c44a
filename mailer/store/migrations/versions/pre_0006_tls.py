"""What TLS is wanted and demanded, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_pre_tls"
down_revision = "0005_pre_rates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", sa.Column("tls", sa.String(length=10), nullable=True))
    op.add_column("stream", sa.Column("tls", sa.String(length=10), nullable=True))
    op.create_table(
        "sts_policy",
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("policy_id", sa.String(length=32), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("mx", sa.Text(), nullable=False),
        sa.Column("max_age", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name="pk_sts_policy"),
    )
    op.create_index("ix_sts_policy_fetched_at", "sts_policy", ["fetched_at"], unique=False)
    op.create_table(
        "tls_result",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("kind_hash", sa.String(length=44), nullable=False),
        sa.Column("policy_type", sa.String(length=16), nullable=False),
        sa.Column("policy_domain", sa.String(length=255), nullable=False),
        sa.Column("policy_lines", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=40), nullable=False),
        sa.Column("mx_host", sa.String(length=255), nullable=False),
        sa.Column("mx_ip", sa.String(length=45), nullable=False),
        sa.Column("sending_ip", sa.String(length=45), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "domain", "kind_hash", name="pk_tls_result"),
    )
