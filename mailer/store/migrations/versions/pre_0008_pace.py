"""How fast sites take mail, and which streams they dislike."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_pre_pace"
down_revision = "0007_pre_pools"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pace",
        sa.Column("egress_ip", sa.String(length=45), nullable=False),
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("connections", sa.Integer(), nullable=True),
        sa.Column("suspended_until", sa.BigInteger(), nullable=True),
        sa.Column("probe_until", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rule", sa.String(length=60), nullable=True),
        sa.Column("place", sa.String(length=255), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("learned", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("egress_ip", "site", name="pk_pace"),
    )
    op.create_table(
        "stream_pace",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("rated_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rule", sa.String(length=60), nullable=True),
        sa.Column("place", sa.String(length=255), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("learned", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "stream_id", "site", name="pk_stream_pace"),
    )
