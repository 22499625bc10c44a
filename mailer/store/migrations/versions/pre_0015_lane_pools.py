"""Lanes of mail that was moved to a pool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_pre_lane_pools"
down_revision = "0014_pre_departures"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """SQLite changes no constraint of a table: there it is copied, which locks nobody out for long."""
    with op.batch_alter_table("lane") as lane:
        lane.add_column(sa.Column("pool_id", ID, nullable=False, server_default="0"))
        lane.drop_constraint("uq_lane_tenant_id_stream_id_domain", type_="unique")
        lane.create_unique_constraint(
            "uq_lane_tenant_id_stream_id_domain_pool_id", ["tenant_id", "stream_id", "domain", "pool_id"]
        )
