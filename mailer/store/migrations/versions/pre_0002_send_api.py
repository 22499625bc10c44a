"""What scheduled and expiring messages need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_pre_send_api"
down_revision = "0001_pre_first"
branch_labels = None
depends_on = None

_EXPIRING = sa.text("expires_at IS NOT NULL AND settled_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_recipient_expiring",
        "recipient",
        ["expires_at"],
        sqlite_where=_EXPIRING,
        postgresql_where=_EXPIRING,
    )
