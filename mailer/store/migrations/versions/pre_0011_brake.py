"""How streams' mail is received, which of them are held for it, and the caps of new tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_pre_brake"
down_revision = "0010_pre_stream_deadlines"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "brake_count",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("process_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bounced", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("complained", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "stream_id", "hour", "process_number", name="pk_brake_count"),
    )
    op.create_index("ix_brake_count_hour", "brake_count", ["hour"])
    op.create_table(
        "brake",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("hold_id", ID, nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "stream_id", name="pk_brake"),
    )
    op.create_table(
        "brake_override",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("set_by", sa.String(length=200), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "stream_id", name="pk_brake_override"),
    )
    op.create_table(
        "newcomer",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("first_cap", sa.Integer(), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_newcomer"),
    )
