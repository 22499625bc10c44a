"""The operator's own rules for mailbox providers, set by the API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_pre_provider_rules"
down_revision = "0008_pre_pace"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_rule",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_provider_rule"),
    )
