"""Who works, and what was tried."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

incarnation = Table(
    "incarnation",
    metadata,
    own_id(),
    Column("role", String(20), nullable=False),  # http | worker | sweeper | ...
    Column("host", String(64), nullable=False),  # identity of the journal folder's host
    Column("pid", Integer, nullable=False),
    Column("process_number", Integer, nullable=False),  # leased for ids, see mailer/ids.py
    Column("state", String(10), nullable=False),  # live | ended (left in order) | fenced (declared dead)
    when("started_at"),
    when("ended_at", null=True),  # null while live
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
    own_id(),
    Column("recipient_id", Id, nullable=False),
    Column("message_id", Id, nullable=False),
    Column("tenant_id", Id, nullable=False),
    Column("incarnation_id", Id, nullable=False),
    Column("state", String(10), nullable=False),
    when("opened_at"),
    when("closed_at", null=True),  # null while open
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
    when("seen_at", null=True),  # last session over TLS; null: never
    when("failed_at", null=True),  # last failed handshake; null: never
)
