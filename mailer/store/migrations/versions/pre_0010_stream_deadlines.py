"""How long mail of a stream is of use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_pre_stream_deadlines"
down_revision = "0009_pre_provider_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream", sa.Column("expires_after", sa.Integer(), nullable=True))
