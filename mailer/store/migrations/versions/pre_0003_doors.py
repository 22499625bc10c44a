"""Tables of the doors: tags, notices, feedback, templates, webhooks; columns for what doors may ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_pre_doors"
down_revision = "0002_pre_send_api"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _columns()
    _beside_messages()
    _file_tags()
    _templates()
    _callbacks()
    _webhook_endpoints()


def _columns() -> None:
    op.add_column("api_key", sa.Column("streams", sa.Text(), nullable=True))
    op.add_column("api_key", sa.Column("domains", sa.Text(), nullable=True))
    op.add_column("message", sa.Column("ret", sa.String(length=4), nullable=True))
    op.add_column("message", sa.Column("envid", sa.String(length=100), nullable=True))
    op.add_column("recipient", sa.Column("notify", sa.String(length=30), nullable=True))
    op.add_column("recipient", sa.Column("orcpt", sa.String(length=520), nullable=True))
    op.create_index(
        "ix_recipient_tenant_id_address_message_id",
        "recipient",
        ["tenant_id", "address", "message_id"],
        unique=False,
    )
    op.add_column("stream", sa.Column("state", sa.String(length=10), server_default="active", nullable=False))
    op.add_column(
        "tenant", sa.Column("failure_notices", sa.String(length=10), server_default="dsn", nullable=False)
    )


def _beside_messages() -> None:
    op.create_table(
        "feedback",
        sa.Column("recipient_id", ID, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", "type", name="pk_feedback"),
    )
    op.create_table(
        "message_tag",
        sa.Column("tenant_id", ID, autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("message_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "tag", "message_id", name="pk_message_tag"),
    )
    op.create_table(
        "notice",
        sa.Column("recipient_id", ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("sent_as", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", "kind", name="pk_notice"),
    )
    op.create_index(
        "ix_notice_due",
        "notice",
        ["recipient_id"],
        unique=False,
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index("ix_notice_message_id", "notice", ["message_id"], unique=False)


def _file_tags() -> None:
    """Messages that are there already are found by their tags as well."""
    words = {
        "sqlite": "json_each(m.tags) AS t",
        "postgresql": "json_array_elements_text(CAST(m.tags AS json)) AS t (value)",
    }
    source = words[op.get_bind().dialect.name]
    tagged = f"SELECT DISTINCT m.tenant_id, t.value, m.id FROM message AS m, {source}"  # noqa: S608
    op.execute(f"INSERT INTO message_tag (tenant_id, tag, message_id) {tagged}")


def _templates() -> None:
    op.create_table(
        "template",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("published", sa.Integer(), nullable=True),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_template_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_template"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_template_tenant_id_name"),
    )
    op.create_table(
        "template_version",
        sa.Column("template_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["template_id"], ["template.id"], name="fk_template_version_template_id_template"
        ),
        sa.PrimaryKeyConstraint("template_id", "number", name="pk_template_version"),
    )


def _callbacks() -> None:
    op.create_table(
        "webhook_attempt",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("callback_id", ID, nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("cause", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_attempt"),
    )
    op.create_index("ix_webhook_attempt_callback_id", "webhook_attempt", ["callback_id"], unique=False)
    op.create_index(
        "ix_webhook_attempt_endpoint_id_id", "webhook_attempt", ["endpoint_id", "id"], unique=False
    )
    op.create_table(
        "webhook_callback",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("holder", ID, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_callback"),
    )
    op.create_index(
        "ix_webhook_callback_due",
        "webhook_callback",
        ["endpoint_id", "due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index(
        "ix_webhook_callback_endpoint_id_id", "webhook_callback", ["endpoint_id", "id"], unique=False
    )
    op.create_index(
        "ix_webhook_callback_held",
        "webhook_callback",
        ["holder"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )


def _webhook_endpoints() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_webhook_endpoint_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
    )
    op.create_index("ix_webhook_endpoint_tenant_id", "webhook_endpoint", ["tenant_id"], unique=False)
