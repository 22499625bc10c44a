"""Where mail leaves from: the running hour of a warm-up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_pre_departures"
down_revision = "0011_pre_brake"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in (
        "hour",
        *(f"{n}_before" for n in ("delivered", "deferred", "bounced", "blocked", "complained")),
    ):
        op.add_column("warmup", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
