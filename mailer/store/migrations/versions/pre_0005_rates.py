"""Ceilings over time: what is allowed, and what was granted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_pre_rates"
down_revision = "0004_pre_holds"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rate",
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "seconds", name="pk_rate"),
    )
    op.create_table(
        "sending_limit",
        sa.Column("subject", sa.String(length=10), nullable=False),
        sa.Column("subject_id", ID, autoincrement=False, nullable=False),
        sa.Column("rates", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "subject_id", name="pk_sending_limit"),
    )
