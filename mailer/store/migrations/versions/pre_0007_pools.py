"""Egress IPs, pools, who uses which, and warm-up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_pre_pools"
down_revision = "0006_pre_tls"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTS = ("used", "delivered", "deferred", "bounced", "blocked", "complained")


def upgrade() -> None:
    _addresses()
    _pools()
    _warming()


def _addresses() -> None:
    op.create_table(
        "egress_ip",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("ipv4", sa.String(length=15), nullable=True),
        sa.Column("ipv6", sa.String(length=39), nullable=True),
        sa.Column("helo", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_egress_ip"),
        sa.UniqueConstraint("ipv4", name="uq_egress_ip_ipv4"),
        sa.UniqueConstraint("ipv6", name="uq_egress_ip_ipv6"),
    )
    op.create_table(
        "egress_host",
        sa.Column("egress_id", ID, autoincrement=False, nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("ipv4_here", sa.Boolean(), nullable=False),
        sa.Column("ipv6_here", sa.Boolean(), nullable=False),
        sa.Column("ipv4_name", sa.String(length=255), nullable=True),
        sa.Column("ipv6_name", sa.String(length=255), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["egress_id"], ["egress_ip.id"], name="fk_egress_host_egress_id_egress_ip"),
        sa.PrimaryKeyConstraint("egress_id", "host", name="pk_egress_host"),
    )
    op.create_table(
        "egress_stay",
        sa.Column("recipient_id", ID, autoincrement=False, nullable=False),
        sa.Column("egress_id", ID, nullable=False),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("is_changed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", name="pk_egress_stay"),
    )


def _pools() -> None:
    op.create_table(
        "ip_pool",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("tenant_id", ID, nullable=True),
        sa.Column("overflow_id", ID, nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["overflow_id"], ["ip_pool.id"], name="fk_ip_pool_overflow_id_ip_pool"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_ip_pool_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_ip_pool"),
        sa.UniqueConstraint("name", name="uq_ip_pool_name"),
    )
    op.create_index(
        "ix_ip_pool_default",
        "ip_pool",
        ["kind"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "pool_member",
        sa.Column("pool_id", ID, autoincrement=False, nullable=False),
        sa.Column("egress_id", ID, autoincrement=False, nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["egress_id"], ["egress_ip.id"], name="fk_pool_member_egress_id_egress_ip"),
        sa.ForeignKeyConstraint(["pool_id"], ["ip_pool.id"], name="fk_pool_member_pool_id_ip_pool"),
        sa.PrimaryKeyConstraint("pool_id", "egress_id", name="pk_pool_member"),
    )
    op.create_table(
        "pool_use",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["ip_pool.id"], name="fk_pool_use_pool_id_ip_pool"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_pool_use_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("tenant_id", "stream_id", name="pk_pool_use"),
    )


def _warming() -> None:
    op.create_table(
        "warmup_plan",
        sa.Column("egress_id", ID, autoincrement=False, nullable=False),
        sa.Column("plan", sa.String(length=40), nullable=False),
        sa.Column("target_per_day", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["egress_id"], ["egress_ip.id"], name="fk_warmup_plan_egress_id_egress_ip"),
        sa.PrimaryKeyConstraint("egress_id", name="pk_warmup_plan"),
    )
    op.create_table(
        "warmup",
        sa.Column("egress_id", ID, autoincrement=False, nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["egress_id"], ["egress_ip.id"], name="fk_warmup_egress_id_egress_ip"),
        sa.PrimaryKeyConstraint("egress_id", "provider", name="pk_warmup"),
    )
    op.create_table(
        "warmup_day",
        sa.Column("egress_id", ID, autoincrement=False, nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["egress_id"], ["egress_ip.id"], name="fk_warmup_day_egress_id_egress_ip"),
        sa.PrimaryKeyConstraint("egress_id", "provider", "day", name="pk_warmup_day"),
    )
