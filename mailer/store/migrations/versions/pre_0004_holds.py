"""Holds, what was done to mail that waits, and indexes to find it by lane."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_pre_holds"
down_revision = "0003_pre_doors"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _holds()
    _actions()
    for state in ("deferred", "held"):
        is_so = sa.text(f"state = '{state}'")
        op.create_index(
            f"ix_recipient_{state}_lane",
            "recipient",
            ["lane_id", "id"],
            unique=False,
            sqlite_where=is_so,
            postgresql_where=is_so,
        )


def _holds() -> None:
    op.create_table(
        "hold",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=True),
        sa.Column("stream", sa.String(length=100), nullable=True),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("site", sa.String(length=255), nullable=True),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("owner_id", ID, nullable=True),
        sa.Column("placed_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hold"),
    )
    op.create_index(
        "ix_hold_in_force",
        "hold",
        ["id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _actions() -> None:
    op.create_table(
        "action",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("owner_id", ID, nullable=True),
        sa.Column("done_by", sa.String(length=200), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("hold_id", ID, nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=True),
        sa.Column("target", sa.String(length=100), nullable=True),
        sa.Column("recipients", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_action"),
    )
    op.create_index("ix_action_owner_id_id", "action", ["owner_id", "id"], unique=False)
