"""What came back, as it came, and what it was found to mean; and the secrets of return-path tokens."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Table, text

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

returned_content = Table(
    "returned_content",
    metadata,
    # One mail as it came, with Return-Path and Received on top; several addresses of one envelope share it.
    own_id(),
    Column("content", LargeBinary, nullable=False),  # CRLF
)

returned_mail = Table(
    "returned_mail",
    metadata,
    # One for each address of ours that a mail came to.
    own_id(),
    Column("content_id", Id, nullable=False),
    Column("kind", String(20), nullable=False),  # what the address is for (mailer/report/destinations.py)
    Column("address", String(400), nullable=False),  # the forward-path that it came to
    Column("token_of", Id),  # the recipient whose token the address bears; null: it bears none
    Column("reverse_path", String(400), nullable=False),  # empty: the null one
    Column("peer", String(45), nullable=False),  # IP address that it came from
    Column("size_bytes", Integer, nullable=False),
    when("received_at"),
    Column("state", String(10), nullable=False),  # new | held (by a reader) | read | failed (cannot be read)
    Column("holder", Id),  # incarnation that reads it now; null unless held
    Column("claims", Integer, nullable=False),  # how often a reader took it in hand
    # The rest is null until it was read.
    Column("class", String(20)),  # mailer/policy/bounceclass.py
    Column("matched_by", String(20)),  # see mailer/report/matching.py; null: nobody's
    Column("is_verified", Boolean),  # a token or an agreed provider's signature proves whose it is
    Column("tenant_id", Id),  # whose it is, as far as it is known
    Column("message_id", Id),
    Column("recipient_id", Id),
    Column("findings", Json),  # object: what it says, in words; what followed
    when("read_at", null=True),
    Index("ix_returned_mail_new", "id", sqlite_where=text("state = 'new'"),
          postgresql_where=text("state = 'new'")),
    Index("ix_returned_mail_held", "holder", sqlite_where=text("state = 'held'"),
          postgresql_where=text("state = 'held'")),
    Index(None, "tenant_id", "id"),
    Index(None, "content_id"),
    Index(None, "recipient_id", sqlite_where=text("recipient_id IS NOT NULL"),
          postgresql_where=text("recipient_id IS NOT NULL")),
)  # fmt: skip

past_recipient = Table(
    "past_recipient",
    metadata,
    # What stays of a recipient whose message was dropped, for as long as somebody may complain of it.
    own_id(),  # the recipient's
    Column("message_id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("stream_id", Id, nullable=False),
    Column("address", String(400), nullable=False),
    Column("return_path_domain", String(255), nullable=False),
    Column("version", Integer, nullable=False),  # goes on counting its events
    when("settled_at"),
)

return_path_secret = Table(
    "return_path_secret",
    metadata,
    # Later secrets of return-path tokens; the first is derived from the installation's.
    Column("starts_ms", Id, primary_key=True, autoincrement=False),  # since 1970: of recipients accepted then
    Column("secret", LargeBinary, nullable=False),  # 32 octets, sealed with the installation's
    when("created_at"),
)
