"""Room for the names of places: an egress IP and a site, or a long domain whose site is not yet known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailer.store import dialect

revision = "0012_pre_places"
down_revision = "0011_pre_brake"
branch_labels = None
depends_on = None

COLUMNS = (("permit", "site"), ("site", "name"), ("pace", "site"), ("stream_pace", "site"))


def upgrade() -> None:
    if dialect.is_sqlite(op.get_bind()):
        return  # it keeps to no length
    for table, column in COLUMNS:
        op.alter_column(table, column, type_=sa.String(length=400), existing_nullable=False)
