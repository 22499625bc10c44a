"""Which messages bear List-Unsubscribe fields of ours, and which streams take others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019_pre_unsubscribe"
down_revision = "0018_pre_suppressions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", sa.Column("unsubscribe", sa.String(length=10), nullable=True))
    op.add_column("stream", sa.Column("own_unsubscribe", sa.String(length=10), nullable=True))
