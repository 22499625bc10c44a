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
    Column("site", String(400), primary_key=True),  # a place: "SITE", or "ip:IP|SITE" (policy/places.py)
    Column("incarnation_id", Id, primary_key=True, autoincrement=False),
    Column("connections", Integer, nullable=False),  # that this incarnation may hold open there
)

open_session = Table(
    "open_session",
    metadata,
    # As each worker last told, about once a second; for people to look at. Gone with the incarnation.
    Column("site", String(255), primary_key=True),
    Column("incarnation_id", Id, primary_key=True, autoincrement=False),
    Column("sessions", Integer, nullable=False),  # that it has open to the site, idle ones among them
)

site = Table(
    "site",
    metadata,
    Column("name", String(400), primary_key=True),  # of a place; the row is the lock over its permits
)

rate = Table(
    "rate",
    metadata,
    # What was granted under a ceiling over time; the row is also the lock under which its tokens are dealt.
    Column(
        "name", String(400), primary_key=True
    ),  # "site:IP|SITE", "provider:NAME", "tenant:ID", "key_messages:ID" ...
    Column("seconds", Integer, primary_key=True, autoincrement=False),  # the window
    Column("state", Json, nullable=False),  # a meter's (policy/limits.py)
    when("used_at"),
)

sending_limit = Table(
    "sending_limit",
    metadata,
    # What an operator allows a tenant, or a tenant itself a stream, to send over time; and what the doors
    # accept of a tenant.
    Column("subject", String(10), primary_key=True),  # tenant | stream | newcomer (a tenant) | accept (one)
    Column("subject_id", Id, primary_key=True, autoincrement=False),
    Column("rates", Json, nullable=False),  # object: messages_per_hour and the like to their counts
    when("changed_at"),
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

sts_policy = Table(
    "sts_policy",
    metadata,
    # MTA-STS policies as they were fetched (RFC 8461 §3.3), for all workers.
    Column("domain", String(255), primary_key=True),  # recipient domain, A-label
    Column("policy_id", String(32), nullable=False),  # of the TXT record at the fetch
    Column("mode", String(10), nullable=False),  # enforce | testing | none
    Column("mx", Json, nullable=False),  # list of host names and "*." patterns
    Column("max_age", Integer, nullable=False),  # seconds from fetched_at on
    Column("lines", Json, nullable=False),  # its text, as reports quote it (RFC 8460 §4.4)
    when("fetched_at"),
    Index(None, "fetched_at"),
)

tls_result = Table(
    "tls_result",
    metadata,
    # What became of TLS with the hosts of a recipient domain, a row a day and kind of session (RFC 8460 §4).
    Column("day", String(10), primary_key=True),  # UTC, "2026-11-24"
    Column("domain", String(255), primary_key=True),  # of the recipient: its owner gets the report
    Column(
        "kind_hash", String(44), primary_key=True
    ),  # base64 of a SHA-256 over all that follows but sessions
    Column("policy_type", String(16), nullable=False),  # sts | tlsa | no-policy-found
    Column("policy_domain", String(255), nullable=False),  # what the policy was published for
    Column("policy_lines", Json, nullable=False),  # as it was found: its lines, or TLSA records
    Column("result", String(40), nullable=False),  # success, or a word of RFC 8460 §4.3
    Column("mx_host", String(255), nullable=False),  # empty: it did not come to one
    Column("mx_ip", String(45), nullable=False),  # empty: it was not dialled
    Column("sending_ip", String(45), nullable=False),  # empty: not known
    Column("reason", String(200), nullable=False),  # more about a failure; empty for a success
    Column("sessions", Integer, nullable=False),
)

tls_host = Table(
    "tls_host",
    metadata,
    Column("host", String(255), primary_key=True),
    when("seen_at", null=True),  # last session over TLS; null: never
    when("failed_at", null=True),  # last failed handshake; null: never
    when("bdat_failed_at", null=True),  # when it handled BDAT badly last; null: never
)
