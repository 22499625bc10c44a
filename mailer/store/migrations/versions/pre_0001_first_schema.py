"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_pre_first"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _attempt()
    _content()
    _event()
    _event_new()
    _event_shard()
    _folded()
    _heartbeat()
    _idempotency()
    _incarnation()
    _lane()
    _message()
    _meta()
    _permit()
    _recipient()
    _site()
    _tenant()
    _tenant_log()
    _tls_host()
    _usage()
    _api_key()
    _sending_domain()
    _stream()
    _dkim_key()


def _attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("recipient_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("incarnation_id", ID, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("phase", sa.String(length=12), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("site", sa.String(length=255), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("address", sa.String(length=60), nullable=True),
        sa.Column("egress_ip", sa.String(length=45), nullable=True),
        sa.Column("tls", sa.String(length=100), nullable=True),
        sa.Column("steps", sa.Text(), nullable=True),
        sa.Column("late_code", sa.Integer(), nullable=True),
        sa.Column("late_reply", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
    )
    op.create_index(op.f("ix_attempt_message_id"), "attempt", ["message_id"], unique=False)
    op.create_index(
        "ix_attempt_open",
        "attempt",
        ["incarnation_id"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )


def _content() -> None:
    op.create_table(
        "content",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("body_file", sa.String(length=64), nullable=True),
        sa.Column("body_hash", sa.String(length=44), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("is_8bit", sa.Boolean(), nullable=False),
        sa.Column("needs_utf8", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content")),
    )
    op.create_index(
        "ix_content_body_file",
        "content",
        ["body_file"],
        unique=False,
        sqlite_where=sa.text("body_file IS NOT NULL"),
        postgresql_where=sa.text("body_file IS NOT NULL"),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "number", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_message_id"), "event", ["message_id"], unique=False)


def _event_new() -> None:
    op.create_table(
        "event_new",
        sa.Column("seq", ID, autoincrement=True, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("recipient_id", ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event_new")),
        sqlite_autoincrement=True,
    )


def _event_shard() -> None:
    op.create_table(
        "event_shard",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_event_shard")),
    )


def _folded() -> None:
    op.create_table(
        "folded",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "state", name=op.f("pk_folded")),
    )


def _heartbeat() -> None:
    op.create_table(
        "heartbeat",
        sa.Column("incarnation_id", ID, autoincrement=False, nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("incarnation_id", name=op.f("pk_heartbeat")),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency")),
    )


def _incarnation() -> None:
    op.create_table(
        "incarnation",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incarnation")),
    )
    op.create_index(
        "ix_incarnation_live",
        "incarnation",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'live'"),
        postgresql_where=sa.text("state = 'live'"),
    )


def _lane() -> None:
    op.create_table(
        "lane",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("site", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lane")),
        sa.UniqueConstraint(
            "tenant_id", "stream_id", "domain", name=op.f("uq_lane_tenant_id_stream_id_domain")
        ),
    )


def _message() -> None:
    op.create_table(
        "message",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=False),
        sa.Column("content_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("return_path_domain", sa.String(length=255), nullable=False),
        sa.Column("header_from", sa.String(length=320), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("rfc_message_id", sa.String(length=320), nullable=False),
        sa.Column("mail_from", sa.String(length=320), nullable=True),
        sa.Column("door", sa.String(length=10), nullable=False),
        sa.Column("recipient_count", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_index(op.f("ix_message_tenant_id_id"), "message", ["tenant_id", "id"], unique=False)


def _meta() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=50), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )


def _permit() -> None:
    op.create_table(
        "permit",
        sa.Column("site", sa.String(length=255), nullable=False),
        sa.Column("incarnation_id", ID, autoincrement=False, nullable=False),
        sa.Column("connections", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "incarnation_id", name=op.f("pk_permit")),
    )


def _recipient() -> None:
    op.create_table(
        "recipient",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("lane_id", ID, nullable=False),
        sa.Column("address", sa.String(length=400), nullable=False),
        sa.Column("kind", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("wait_reason", sa.String(length=20), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("first_due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("holder", ID, nullable=True),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("cancel_wanted", sa.Boolean(), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_reply", sa.Text(), nullable=True),
        sa.Column("retry_of", ID, nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient")),
    )
    op.create_index(
        "ix_recipient_deferred",
        "recipient",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'deferred'"),
        postgresql_where=sa.text("state = 'deferred'"),
    )
    op.create_index(
        "ix_recipient_leased",
        "recipient",
        ["holder"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(op.f("ix_recipient_message_id"), "recipient", ["message_id"], unique=False)
    op.create_index(
        "ix_recipient_queued",
        "recipient",
        ["lane_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )


def _site() -> None:
    op.create_table(
        "site",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_site")),
    )


def _tenant() -> None:
    op.create_table(
        "tenant",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("name", name=op.f("uq_tenant_name")),
    )


def _tenant_log() -> None:
    op.create_table(
        "tenant_log",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("first_number", sa.BigInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_log")),
    )


def _tls_host() -> None:
    op.create_table(
        "tls_host",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_tls_host")),
    )


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("process_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accepted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bounced", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expired", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("suppressed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sent_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "day", "process_number", name=op.f("pk_usage")),
    )


def _api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_api_key_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )


def _sending_domain() -> None:
    op.create_table(
        "sending_domain",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("return_path_domain", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_sending_domain_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sending_domain")),
        sa.UniqueConstraint("name", name=op.f("uq_sending_domain_name")),
    )


def _stream() -> None:
    op.create_table(
        "stream",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("in_doubt", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_stream_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_stream_tenant_id_name")),
    )


def _dkim_key() -> None:
    op.create_table(
        "dkim_key",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("selector", sa.String(length=63), nullable=False),
        sa.Column("algorithm", sa.String(length=20), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name=op.f("fk_dkim_key_domain_id_sending_domain")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint("domain_id", "selector", name=op.f("uq_dkim_key_domain_id_selector")),
    )
