"""What comes back: raw mails, what stays of dropped recipients, secrets of tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020_pre_returns"
down_revision = "0019_pre_unsubscribe"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "returned_content",
        sa.Column("id", ID, nullable=False, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_returned_content"),
    )
    _returned_mail()
    op.create_table(
        "past_recipient",
        sa.Column("id", ID, nullable=False, autoincrement=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("tenant_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=False),
        sa.Column("address", sa.String(400), nullable=False),
        sa.Column("return_path_domain", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_past_recipient"),
    )
    op.create_table(
        "return_path_secret",
        sa.Column("starts_ms", ID, nullable=False, autoincrement=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("starts_ms", name="pk_return_path_secret"),
    )
    op.create_index("ix_sending_domain_return_path_domain", "sending_domain", ["return_path_domain"])


def _returned_mail() -> None:
    op.create_table(
        "returned_mail",
        sa.Column("id", ID, nullable=False, autoincrement=False),
        sa.Column("content_id", ID, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("address", sa.String(400), nullable=False),
        sa.Column("token_of", ID),
        sa.Column("reverse_path", sa.String(400), nullable=False),
        sa.Column("peer", sa.String(45), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("holder", ID),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("class", sa.String(20)),
        sa.Column("matched_by", sa.String(20)),
        sa.Column("is_verified", sa.Boolean()),
        sa.Column("tenant_id", ID),
        sa.Column("message_id", ID),
        sa.Column("recipient_id", ID),
        sa.Column("findings", sa.Text()),
        sa.Column("read_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_returned_mail"),
    )
    for name, columns, where in (
        ("new", ["id"], "state = 'new'"),
        ("held", ["holder"], "state = 'held'"),
        ("tenant_id_id", ["tenant_id", "id"], None),
        ("content_id", ["content_id"], None),
        ("recipient_id", ["recipient_id"], "recipient_id IS NOT NULL"),
    ):
        rows = None if where is None else sa.text(where)
        op.create_index(
            f"ix_returned_mail_{name}", "returned_mail", columns, sqlite_where=rows, postgresql_where=rows
        )
