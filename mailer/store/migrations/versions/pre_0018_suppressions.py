"""Who is not sent to any more, and what was heard of them before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018_pre_suppressions"
down_revision = "0017_pre_reports"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "stream", sa.Column("role_accounts", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("recipient", sa.Column("folded", sa.String(length=400), nullable=True))
    where = "folded IS NOT NULL AND settled_at IS NULL"
    op.create_index(
        "ix_recipient_folded",
        "recipient",
        ["tenant_id", "folded"],
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
    _entries()
    _indexes()
    _doing()
    _memory()
    _review()


def _entries() -> None:
    op.create_table(
        "suppression",
        sa.Column("key_hash", sa.String(length=22), nullable=False),
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("what", sa.String(length=10), nullable=False),
        sa.Column("address", sa.String(length=400), nullable=True),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("cause", sa.String(length=10), nullable=False),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("report_id", ID, nullable=True),
        sa.Column("site", sa.String(length=255), nullable=True),
        sa.Column("words", sa.String(length=500), nullable=True),
        sa.Column("added_by", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_hash", "tenant_id", "stream_id", name="pk_suppression"),
    )


def _indexes() -> None:
    op.create_index(
        "ix_suppression_address",
        "suppression",
        ["tenant_id", "address"],
        postgresql_ops={"address": "text_pattern_ops"},
    )
    op.create_index("ix_suppression_domain", "suppression", ["tenant_id", "domain", "id"])
    op.create_index(
        "ix_suppression_expires",
        "suppression",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_suppression_site",
        "suppression",
        ["site", "created_at"],
        sqlite_where=sa.text("site IS NOT NULL"),
        postgresql_where=sa.text("site IS NOT NULL"),
    )
    op.create_index("ix_suppression_tenant_id_id", "suppression", ["tenant_id", "id"], unique=True)


def _doing() -> None:
    op.create_table(
        "suppression_owner",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_suppression_owner"),
    )
    op.create_table(
        "suppressed",
        sa.Column("recipient_id", ID, autoincrement=False, nullable=False),
        sa.Column("suppression_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", name="pk_suppressed"),
    )
    op.create_index(
        "ix_suppressed_suppression_id_recipient_id", "suppressed", ["suppression_id", "recipient_id"]
    )
    op.create_table(
        "suppression_task",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("first_id", ID, nullable=False),
        sa.Column("last_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suppression_task"),
    )
    op.create_index("ix_suppression_task_due_at", "suppression_task", ["due_at"])


def _memory() -> None:
    op.create_table(
        "suppression_memory",
        sa.Column("key_hash", sa.String(length=22), nullable=False),
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("memory", sa.String(length=20), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", "tenant_id", "memory", name="pk_suppression_memory"),
    )
    op.create_index("ix_suppression_memory_last_at", "suppression_memory", ["last_at"])
    op.create_table(
        "suppression_share",
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("process_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("invalid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "hour", "process_number", name="pk_suppression_share"),
    )
    op.create_index("ix_suppression_share_hour", "suppression_share", ["hour"])
    op.create_table(
        "suppression_storm",
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("invalid", sa.BigInteger(), nullable=False),
        sa.Column("baseline_ppm", sa.Integer(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_suppression_storm"),
    )


def _review() -> None:
    op.create_table(
        "suppression_review",
        sa.Column("key_hash", sa.String(length=22), nullable=False),
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream_id", ID, autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("what", sa.String(length=10), nullable=False),
        sa.Column("address", sa.String(length=400), nullable=True),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("cause", sa.String(length=10), nullable=False),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("report_id", ID, nullable=True),
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("words", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_hash", "tenant_id", "stream_id", name="pk_suppression_review"),
    )
    op.create_index("ix_suppression_review_site_id", "suppression_review", ["site", "id"])
