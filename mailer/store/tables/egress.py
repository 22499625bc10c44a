"""What mail goes out from: egress IPs, the pools they make up, who uses which, and how warm each is."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, text

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id

egress_ip = Table(
    "egress_ip",
    metadata,
    own_id(),
    Column("ipv4", String(15), unique=True),  # null: it sends by IPv6 only
    Column("ipv6", String(39), unique=True),  # as RFC 5952 writes it; null: it sends by IPv4 only
    Column("helo", String(255), nullable=False),  # name given in EHLO from here
    Column("state", String(10), nullable=False),  # active | draining (only what must stay on it) | off
    when("created_at"),
)

egress_host = Table(
    "egress_host",
    metadata,
    # What the workers of a host found out about an egress IP when they looked last.
    Column("egress_id", Id, ForeignKey("egress_ip.id"), primary_key=True, autoincrement=False),
    Column("host", String(64), primary_key=True),  # its name and the beginning of its identity
    Column("ipv4_here", Boolean, nullable=False),  # the address is on this host; false without one
    Column("ipv6_here", Boolean, nullable=False),
    Column("ipv4_name", String(255)),  # forward-confirmed name of the PTR record; null: none was found
    Column("ipv6_name", String(255)),
    when("checked_at"),
)

ip_pool = Table(
    "ip_pool",
    metadata,
    own_id(),
    Column("name", String(60), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),  # transactional | broadcast
    Column("tenant_id", Id, ForeignKey("tenant.id")),  # the only tenant that may use it; null: any
    Column("overflow_id", Id, ForeignKey("ip_pool.id")),  # takes what has no room here; null: it waits
    Column("is_default", Boolean, nullable=False),  # of the streams of its kind that nothing else maps
    when("created_at"),
    Index("ix_ip_pool_default", "kind", unique=True, sqlite_where=text("is_default"),
          postgresql_where=text("is_default")),
)  # fmt: skip

pool_member = Table(
    "pool_member",
    metadata,
    Column("pool_id", Id, ForeignKey("ip_pool.id"), primary_key=True, autoincrement=False),
    Column("egress_id", Id, ForeignKey("egress_ip.id"), primary_key=True, autoincrement=False),
    Column(
        "weight", Integer, nullable=False
    ),  # share of the pool's mail; 0: only what the others cannot take
)

pool_use = Table(
    "pool_use",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenant.id"), primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),  # 0: all its streams that have none
    Column("pool_id", Id, ForeignKey("ip_pool.id"), nullable=False),
)

egress_stay = Table(
    "egress_stay",
    metadata,
    # A deferred recipient whose next try depends on the IP of the last one; no row: any IP will do.
    Column("recipient_id", Id, primary_key=True, autoincrement=False),
    Column("egress_id", Id, nullable=False),  # the IP of the last try
    Column("is_pinned", Boolean, nullable=False),  # greylisted: the same again; false: another one
    Column("is_changed", Boolean, nullable=False),  # its IP was changed once, which is the most
)

warmup_plan = Table(
    "warmup_plan",
    metadata,
    # An egress IP that is being warmed up, or was; no row: it never needed to be.
    Column("egress_id", Id, ForeignKey("egress_ip.id"), primary_key=True, autoincrement=False),
    Column("plan", String(40), nullable=False),  # a name in policy/data/warmup.toml
    Column("target_per_day", Integer),  # messages a day at which it is warm; null: when the plan ends
    Column("state", String(10), nullable=False),  # running | held (does not advance) | stopped (no caps)
    Column("reason", String(200)),  # why an operator holds or stopped it; null otherwise
    when("started_at"),
)

_COUNTS = ("used", "delivered", "deferred", "bounced", "blocked", "complained")


def _counts() -> list[Column[int]]:
    return [Column(name, Integer, nullable=False) for name in _COUNTS]


warmup = Table(
    "warmup",
    metadata,
    Column("egress_id", Id, ForeignKey("egress_ip.id"), primary_key=True, autoincrement=False),
    Column("provider", String(60), primary_key=True),  # as in sites.toml; "other": all that have no rule
    Column("stage", Integer, nullable=False),  # 0, 1, ...; one more than the last: warm
    Column("cap", Integer),  # messages of this day at most; null: warm
    Column("day", Integer, nullable=False),  # days since 1970, UTC; what the counts are of
    *_counts(),  # used: reserved for offers, never above the cap; the others are what was heard of them
    Column("judged", Integer, nullable=False),  # of `used`, those that today's step back already answered for
    Column("last_day", Integer),  # last day on which it was used; null: never
    Column("verdict", String(10), nullable=False),  # green | yellow | red: of the last day, or of this one
    Column("reason", String(200), nullable=False),  # why it stands where it stands
    Column(
        "hour", Integer, nullable=False, server_default="0"
    ),  # since 1970, of the last look; 0: none today
    # What had been heard on this day when that hour was first looked at.
    *(
        Column(f"{name}_before", Integer, nullable=False, server_default="0")
        for name in ("delivered", "deferred", "bounced", "blocked", "complained")
    ),
)

warmup_day = Table(
    "warmup_day",
    metadata,
    # Days that are over.
    Column("egress_id", Id, ForeignKey("egress_ip.id"), primary_key=True, autoincrement=False),
    Column("provider", String(60), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("stage", Integer, nullable=False),
    Column("cap", Integer),
    *_counts(),
    Column("verdict", String(10), nullable=False),
    Column("reason", String(200), nullable=False),
)
