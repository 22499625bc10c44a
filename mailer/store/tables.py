"""Every table and column: what it means, its unit, and when it is null.

States are the words of mailer/events.py. `*_at` are instants, `*_bytes` octets. An id is made by
mailer/ids.py unless said otherwise.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mailer.store.types import Id, Instant, Json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=False)


def _when(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, Instant, nullable=null)


# ---- who may send -------------------------------------------------------------------------------

tenant = Table(
    "tenant",
    metadata,
    _id(),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", String(20), nullable=False),  # active | suspended (nothing is accepted)
    _when("created_at"),
)

stream = Table(
    "stream",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("kind", String(20), nullable=False),  # transactional | broadcast
    Column("in_doubt", String(20), nullable=False),  # retry | give-up: what follows an unheard final dot
    _when("created_at"),
    UniqueConstraint("tenant_id", "name"),
)

sending_domain = Table(
    "sending_domain",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(255), nullable=False, unique=True),  # A-label, lower case
    Column("return_path_domain", String(255), nullable=False),  # host of our reverse-paths
    Column("state", String(20), nullable=False),  # active | revoked
    _when("created_at"),
)

dkim_key = Table(
    "dkim_key",
    metadata,
    _id(),
    Column("domain_id", Id, ForeignKey("sending_domain.id"), nullable=False),
    Column("selector", String(63), nullable=False),
    Column("algorithm", String(20), nullable=False),  # rsa-sha256 | ed25519-sha256
    Column("private_key", LargeBinary, nullable=False),  # PEM, encrypted with the installation's secret
    Column("public_key", Text, nullable=False),  # base64 as published in p= (RFC 6376 §3.6.1)
    Column("state", String(20), nullable=False),  # active | retired
    _when("created_at"),
    UniqueConstraint("domain_id", "selector"),
)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),  # SHA-256 of the 256-bit secret
    Column("scopes", Json, nullable=False),  # list of scope words
    _when("created_at"),
    _when("expires_at", null=True),  # null: never
    _when("revoked_at", null=True),  # null: still good
)

# ---- what was accepted ----------------------------------------------------------------------------

content = Table(
    "content",
    metadata,
    _id(),
    Column("headers", LargeBinary, nullable=False),  # CRLF lines, without the per-recipient prefix
    Column("body", LargeBinary),  # CRLF; null when body_file holds it
    Column("body_file", String(64)),  # SHA-256 (hex) that names the file; null when body holds it
    Column("body_hash", String(44), nullable=False),  # base64 of the relaxed body hash (RFC 6376 §3.7)
    Column("size_bytes", Integer, nullable=False),  # headers, blank line and body
    Column("is_8bit", Boolean, nullable=False),
    Column("needs_utf8", Boolean, nullable=False),  # header addresses without an ASCII form
    Index("ix_content_body_file", "body_file", sqlite_where=text("body_file IS NOT NULL"),
          postgresql_where=text("body_file IS NOT NULL")),
)  # fmt: skip

message = Table(
    "message",
    metadata,
    _id(),
    Column("tenant_id", Id, nullable=False),
    Column("stream_id", Id, nullable=False),
    Column("content_id", Id, nullable=False),
    Column("domain_id", Id, nullable=False),  # the sending domain whose keys sign
    Column("return_path_domain", String(255), nullable=False),
    Column("header_from", String(320), nullable=False),  # addr-spec
    Column("subject", Text, nullable=False),
    Column("rfc_message_id", String(320), nullable=False),  # with angle brackets
    Column("mail_from", String(320)),  # the submitter's reverse-path, for DSNs; null by HTTP
    Column("door", String(10), nullable=False),  # http | smtp
    Column("recipient_count", Integer, nullable=False),
    Column("tags", Json, nullable=False),  # list of words
    Column("metadata", Json, nullable=False),  # object of strings
    _when("accepted_at"),
    _when("due_at"),  # first due time: send time, else acceptance
    Index(None, "tenant_id", "id"),
)

lane = Table(
    "lane",
    metadata,
    _id(),
    Column("tenant_id", Id, nullable=False),
    Column("stream_id", Id, nullable=False),
    Column("domain", String(255), nullable=False),  # recipient domain, A-label
    Column("site", String(255)),  # null until a worker has resolved the domain
    UniqueConstraint("tenant_id", "stream_id", "domain"),
)

recipient = Table(
    "recipient",
    metadata,
    _id(),
    Column("message_id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("lane_id", Id, nullable=False),
    Column("address", String(400), nullable=False),  # forward-path as it goes on the wire
    Column("kind", String(3), nullable=False),  # to | cc | bcc
    Column("state", String(10), nullable=False),
    Column("wait_reason", String(20)),  # null in a final state
    _when("due_at"),
    _when("first_due_at"),  # what retries are counted from
    _when("expires_at", null=True),  # the sender's own deadline; null: the schedule's
    Column("size_bytes", Integer, nullable=False),  # of the content, for claims by bytes
    Column("attempts", Integer, nullable=False),  # counted ones
    Column("holder", Id),  # incarnation that leases it; null unless leased
    Column("attempt_id", Id),  # the open attempt; null unless leased
    Column("cancel_wanted", Boolean, nullable=False),  # settle obeys it unless delivered
    Column("in_doubt", Boolean, nullable=False),  # some attempt may have delivered unheard
    Column("version", Integer, nullable=False),  # one more with every event
    Column("last_reply", Text),  # the peer's last words or our reason; null before the first try
    Column("retry_of", Id),  # the recipient this sends again; null otherwise
    _when("settled_at", null=True),  # null until final
    Index(None, "message_id"),
    Index("ix_recipient_queued", "lane_id", "id", sqlite_where=text("state = 'queued'"),
          postgresql_where=text("state = 'queued'")),
    Index("ix_recipient_deferred", "due_at", sqlite_where=text("state = 'deferred'"),
          postgresql_where=text("state = 'deferred'")),
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
    _when("created_at"),
)

# ---- who works --------------------------------------------------------------------------------------

incarnation = Table(
    "incarnation",
    metadata,
    _id(),
    Column("role", String(20), nullable=False),  # http | worker | sweeper | ...
    Column("host", String(64), nullable=False),  # identity of the journal folder's host
    Column("pid", Integer, nullable=False),
    Column("process_number", Integer, nullable=False),  # leased for ids, see mailer/ids.py
    Column("state", String(10), nullable=False),  # live | ended (left in order) | fenced (declared dead)
    _when("started_at"),
    _when("ended_at", null=True),  # null while live
    Index("ix_incarnation_live", "id", sqlite_where=text("state = 'live'"),
          postgresql_where=text("state = 'live'")),
)  # fmt: skip

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("incarnation_id", Id, primary_key=True, autoincrement=False),
    Column("beats", BigInteger, nullable=False),  # grows while the process lives; no clock is involved
)

permit = Table(
    "permit",
    metadata,
    Column("site", String(255), primary_key=True),
    Column("incarnation_id", Id, primary_key=True, autoincrement=False),
    Column("connections", Integer, nullable=False),  # that this incarnation may hold open to the site
)

site = Table(
    "site",
    metadata,
    Column("name", String(255), primary_key=True),  # the row is the lock under which permits are dealt
)

attempt = Table(
    "attempt",
    metadata,
    _id(),
    Column("recipient_id", Id, nullable=False),
    Column("message_id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("incarnation_id", Id, nullable=False),
    Column("state", String(10), nullable=False),
    _when("opened_at"),
    _when("closed_at", null=True),  # null while open
    Column("outcome", String(20)),  # accepted | refused | broken | unroutable | unsuitable | not_tried
    Column("phase", String(12)),  # where it ended; null unless refused or broken
    Column("code", Integer),  # reply code; null without a reply
    Column("status", String(12)),  # enhanced status; null if the peer gave none
    Column("reply", Text),  # the peer's words, or the cause
    Column("site", String(255)),
    Column("host", String(255)),
    Column("address", String(60)),
    Column("egress_ip", String(45)),
    Column("tls", String(100)),  # null in clear
    Column("steps", Json),  # the conversation: [[ms, who, line], ...]
    Column("late_code", Integer),  # answer that came after the attempt was given up; evidence only
    Column("late_reply", Text),
    Index(None, "message_id"),
    Index("ix_attempt_open", "incarnation_id", sqlite_where=text("state = 'open'"),
          postgresql_where=text("state = 'open'")),
)  # fmt: skip

tls_host = Table(
    "tls_host",
    metadata,
    Column("host", String(255), primary_key=True),
    _when("seen_at", null=True),  # last session over TLS; null: never
    _when("failed_at", null=True),  # last failed handshake; null: never
)

# ---- what is told -----------------------------------------------------------------------------------

event_new = Table(
    "event_new",
    metadata,
    # Given by the database at the insert: a later change of the same recipient can only be
    # inserted after the earlier one committed, so this order is causal whatever clocks say.
    Column("seq", Id, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("type", String(20), nullable=False),
    Column("message_id", Id),  # null for a rejected submission
    Column("recipient_id", Id),  # null for a rejected submission
    Column("version", Integer, nullable=False),  # the recipient's own counter: 1, 2, ...
    _when("at"),
    Column("data", Json, nullable=False),
    sqlite_autoincrement=True,
)

event = Table(
    "event",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, ... without gaps, a tenant
    Column("id", Id, nullable=False),
    Column("type", String(20), nullable=False),
    Column("message_id", Id),
    Column("recipient_id", Id),
    Column("version", Integer, nullable=False),
    _when("at"),
    Column("data", Json, nullable=False),
    Index(None, "message_id"),
)

tenant_log = Table(
    "tenant_log",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("last_number", BigInteger, nullable=False),
    Column("first_number", BigInteger, nullable=False, server_default="1"),  # retention dropped those before
)

event_shard = Table(
    "event_shard",
    metadata,
    Column(
        "shard", Integer, primary_key=True, autoincrement=False
    ),  # its row lock makes one fan-out at a time
)

usage = Table(
    "usage",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since 1970, UTC
    # Each process counts in its own row, so that no two ever wait for one.
    Column("process_number", Integer, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False, server_default="0"),  # recipients
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("bounced", BigInteger, nullable=False, server_default="0"),
    Column("expired", BigInteger, nullable=False, server_default="0"),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),
    Column("suppressed", BigInteger, nullable=False, server_default="0"),
    Column("attempts", BigInteger, nullable=False, server_default="0"),  # counted ones
    Column("sent_bytes", BigInteger, nullable=False, server_default="0"),  # content of delivered recipients
)

folded = Table(
    "folded",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("state", String(10), primary_key=True),  # a final state
    Column("recipients", BigInteger, nullable=False),  # rows that retention dropped
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(50), primary_key=True),
    Column("value", Text, nullable=False),  # "log_epoch": changes when a backup is restored
)
