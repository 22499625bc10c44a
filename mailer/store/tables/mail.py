"""What was accepted, and what is owed and heard about it."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

content = Table(
    "content",
    metadata,
    own_id(),
    Column("headers", LargeBinary, nullable=False),  # CRLF lines, without the per-recipient prefix
    Column("body", LargeBinary),  # CRLF; null when body_file holds it
    Column("body_file", String(64)),  # SHA-256 (hex) that names the file; null when body holds it
    Column("body_hash", String(44), nullable=False),  # base64 (RFC 6376 §3.7); empty: made when it is signed
    Column("size_bytes", Integer, nullable=False),  # headers, blank line and body
    Column("is_8bit", Boolean, nullable=False),
    Column("needs_utf8", Boolean, nullable=False),  # header addresses without an ASCII form
    Index("ix_content_body_file", "body_file", sqlite_where=text("body_file IS NOT NULL"),
          postgresql_where=text("body_file IS NOT NULL")),
)  # fmt: skip

message = Table(
    "message",
    metadata,
    own_id(),
    Column("tenant_id", Id, nullable=False),
    Column("stream_id", Id, nullable=False),
    Column("content_id", Id, nullable=False),
    Column("domain_id", Id, nullable=False),  # the sending domain whose keys sign
    Column("return_path_domain", String(255), nullable=False),  # empty: the null reverse-path, of a DSN
    Column("header_from", String(320), nullable=False),  # addr-spec
    Column("subject", Text, nullable=False),
    Column("rfc_message_id", String(320), nullable=False),  # with angle brackets
    Column("mail_from", String(320)),  # the submitter's reverse-path, for DSNs; null by HTTP
    Column("ret", String(4)),  # FULL | HDRS: what a DSN returns (RFC 3461 §4.3); null: not said
    Column("envid", String(100)),  # the submitter's own id, decoded (RFC 3461 §4.4); null: not said
    # What its sender wants of TLS: optional | encrypted | required | requiretls; null: what domains demand
    Column("tls", String(10)),
    Column(
        "door", String(10), nullable=False
    ),  # http | smtp | our own: dsn (a notice to a submitter), report
    # "link": each copy bears List-Unsubscribe fields of ours; null: none, it brought its own or offers none
    Column("unsubscribe", String(10)),
    Column("recipient_count", Integer, nullable=False),
    Column("tags", Json, nullable=False),  # list of words
    Column("metadata", Json, nullable=False),  # object of strings
    when("accepted_at"),
    when("due_at"),  # first due time: send time, else acceptance
    Index(None, "tenant_id", "id"),
)

message_tag = Table(
    "message_tag",
    metadata,
    # What a list by tag is read from; rows only for messages that have tags.
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("tag", String(64), primary_key=True),
    Column("message_id", Id, primary_key=True, autoincrement=False),
)

lane = Table(
    "lane",
    metadata,
    own_id(),
    Column("tenant_id", Id, nullable=False),
    Column("stream_id", Id, nullable=False),
    Column("domain", String(255), nullable=False),  # recipient domain, A-label
    Column("site", String(255)),  # null until a worker has resolved the domain
    # The pool that an operator chose for mail that waited; 0: none, as for all mail that is accepted. A pool
    # that is no more, or is closed to such mail by now, is as none.
    Column("pool_id", Id, nullable=False, server_default="0"),
    UniqueConstraint("tenant_id", "stream_id", "domain", "pool_id"),
)

recipient = Table(
    "recipient",
    metadata,
    own_id(),
    Column("message_id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("lane_id", Id, nullable=False),
    Column("address", String(400), nullable=False),  # forward-path as it goes on the wire
    Column("kind", String(3), nullable=False),  # to | cc | bcc
    Column("state", String(10), nullable=False),
    Column("wait_reason", String(20)),  # null in a final state
    when("due_at"),
    when("first_due_at"),  # what retries are counted from
    when("expires_at", null=True),  # the sender's own deadline; null: the schedule's
    Column("size_bytes", Integer, nullable=False),  # of the content, for claims by bytes
    Column("attempts", Integer, nullable=False),  # counted ones
    Column("holder", Id),  # incarnation that leases it; null unless leased
    Column("attempt_id", Id),  # the open attempt; null unless leased
    Column("cancel_wanted", Boolean, nullable=False),  # settle obeys it unless delivered
    Column("in_doubt", Boolean, nullable=False),  # some attempt may have delivered unheard
    Column("version", Integer, nullable=False),  # one more with every event
    Column("last_reply", Text),  # the peer's last words or our reason; null before the first try
    Column("retry_of", Id),  # the recipient this sends again; null otherwise
    # When its submitter wants a DSN (RFC 3461 §4.1), words between commas; empty: not said, which means
    # FAILURE; null: none is owed, as by HTTP or about a null reverse-path
    Column("notify", String(30)),
    Column("orcpt", String(520)),  # "type;address", decoded (RFC 3461 §4.2); null: not said
    when("settled_at", null=True),  # null until final
    # The address in the form that all its spellings share; null: it is written so
    Column("folded", String(400)),
    Index(None, "message_id"),
    Index("ix_recipient_folded", "tenant_id", "folded",
          sqlite_where=text("folded IS NOT NULL AND settled_at IS NULL"),
          postgresql_where=text("folded IS NOT NULL AND settled_at IS NULL")),
    # Newest first by its last column, so that a page of an address with a million messages stays cheap.
    Index(None, "tenant_id", "address", "message_id"),
    Index("ix_recipient_queued", "lane_id", "id", sqlite_where=text("state = 'queued'"),
          postgresql_where=text("state = 'queued'")),
    Index("ix_recipient_deferred", "due_at", sqlite_where=text("state = 'deferred'"),
          postgresql_where=text("state = 'deferred'")),
    # Beside the one above: what waits in a lane is counted, requeued and bounced without looking at others.
    Index("ix_recipient_deferred_lane", "lane_id", "id", sqlite_where=text("state = 'deferred'"),
          postgresql_where=text("state = 'deferred'")),
    Index("ix_recipient_held_lane", "lane_id", "id", sqlite_where=text("state = 'held'"),
          postgresql_where=text("state = 'held'")),
    Index("ix_recipient_expiring", "expires_at",
          sqlite_where=text("expires_at IS NOT NULL AND settled_at IS NULL"),
          postgresql_where=text("expires_at IS NOT NULL AND settled_at IS NULL")),
    Index("ix_recipient_leased", "holder", sqlite_where=text("state = 'leased'"),
          postgresql_where=text("state = 'leased'")),
)  # fmt: skip

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("key", String(256), primary_key=True),
    Column("body_sha256", LargeBinary, nullable=False),  # of the raw request body
    Column("message_id", Id, nullable=False),
    Column("response", Text, nullable=False),  # the 202's JSON body, replayed as it was
    when("created_at"),
)

notice = Table(
    "notice",
    metadata,
    # A DSN that is owed to a submitter, written in the transaction of the change that it tells of.
    Column("recipient_id", Id, primary_key=True, autoincrement=False),
    Column("kind", String(10), primary_key=True),  # failed | delayed | relayed (RFC 3464 §2.3.3)
    Column("tenant_id", Id, nullable=False),
    Column("message_id", Id, nullable=False),
    Column("state", String(10), nullable=False),  # due | sent | dropped
    Column("reason", String(40)),  # why it was dropped; null otherwise
    Column("sent_as", Id),  # the message that carries it; null until sent, and once that was dropped
    when("created_at"),
    Index("ix_notice_due", "recipient_id", sqlite_where=text("state = 'due'"),
          postgresql_where=text("state = 'due'")),
    Index(None, "message_id"),
)  # fmt: skip

feedback = Table(
    "feedback",
    metadata,
    # What was heard of a recipient after its message left; beside its state, which is final.
    Column("recipient_id", Id, primary_key=True, autoincrement=False),
    Column("type", String(20), primary_key=True),  # an event word: complained, unsubscribed, auto_replied ...
    when("at"),
)
