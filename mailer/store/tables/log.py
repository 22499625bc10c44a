"""What is told and counted: the event log, callbacks, usage."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

event_new = Table(
    "event_new",
    metadata,
    # Given by the database at the insert: a later change of the same recipient can only be
    # inserted after the earlier one committed, so this order is causal whatever clocks say.
    Column("seq", Id, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("type", String(20), nullable=False),
    Column("message_id", Id),  # null for a rejected submission, or of a stream
    Column("recipient_id", Id),  # null for a rejected submission, or of a stream
    Column("version", Integer, nullable=False),  # the recipient's own counter: 1, 2, ...
    when("at"),
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
    when("at"),
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

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    own_id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", String(200), nullable=False),
    Column("event_types", Json, nullable=False),  # list of event words; empty: all
    Column("state", String(10), nullable=False),  # active | disabled (nothing is sent; what is due waits)
    Column("secret", LargeBinary, nullable=False),  # of its signatures, encrypted with the installation's
    Column("old_secret", LargeBinary),  # also signed with until old_until; null unless lately rotated
    when("old_until", null=True),
    when("created_at"),
    Index(None, "tenant_id"),
)

webhook_callback = Table(
    "webhook_callback",
    metadata,
    # One event to be told to one endpoint, written in the transaction that numbered the event; or a test.
    own_id(),
    Column("tenant_id", Id, nullable=False),
    Column("endpoint_id", Id, nullable=False),
    Column("event_number", BigInteger, nullable=False),  # in the tenant's log; 0: a test
    Column("state", String(10), nullable=False),  # due | held (by a caller) | delivered | given_up
    when("due_at"),
    Column("holder", Id),  # incarnation that calls now; null unless held
    Column("attempts", Integer, nullable=False),
    when("created_at"),
    when("settled_at", null=True),  # null until delivered or given up
    # By endpoint first: the backlog of one that is slow or disabled is in nobody's way.
    Index("ix_webhook_callback_due", "endpoint_id", "due_at", sqlite_where=text("state = 'due'"),
          postgresql_where=text("state = 'due'")),
    Index("ix_webhook_callback_held", "holder", sqlite_where=text("state = 'held'"),
          postgresql_where=text("state = 'held'")),
    Index(None, "endpoint_id", "id"),
)  # fmt: skip

webhook_attempt = Table(
    "webhook_attempt",
    metadata,
    own_id(),
    Column("callback_id", Id, nullable=False),
    Column("endpoint_id", Id, nullable=False),
    when("at"),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),  # HTTP status of the answer; null without one
    Column("cause", String(200)),  # why there was none, or what was wrong with it; null for a 2xx
    Index(None, "callback_id"),
    Index(None, "endpoint_id", "id"),
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
