"""Where mail leaves from: the running hour of a warm-up, and sessions that are open."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_pre_departures"
down_revision = "0013_pre_greylisting"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in (
        "hour",
        *(f"{n}_before" for n in ("delivered", "deferred", "bounced", "blocked", "complained")),
    ):
        op.add_column("warmup", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "open_session",
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("incarnation_id", ID, nullable=False, autoincrement=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "incarnation_id", name="pk_open_session"),
    )
