"""What greylisting takes at each site, which recipients met it, and which hosts handle BDAT badly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_pre_greylisting"
down_revision = "0012_pre_places"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "greylist_habit",
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("passes_after_seconds", sa.Float(), nullable=False),
        sa.Column("refuses_until_seconds", sa.Float(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_greylist_habit"),
    )
    op.create_index("ix_greylist_habit_used_at", "greylist_habit", ["used_at"])
    op.create_table(
        "greylisted",
        sa.Column("recipient_id", ID, autoincrement=False, nullable=False),
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", name="pk_greylisted"),
    )
    op.add_column("tls_host", sa.Column("bdat_failed_at", sa.BigInteger(), nullable=True))
