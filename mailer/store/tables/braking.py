"""How streams' mail is received, what follows for them, and how much new tenants may send."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from mailer.store.tables.columns import metadata, when
from mailer.store.types import Id

brake_count = Table(
    "brake_count",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False, index=True),  # since 1970, UTC
    # Each process counts in its own row, so that no two ever wait for one; 0: what is heard afterwards.
    Column("process_number", Integer, primary_key=True, autoincrement=False),
    Column("delivered", BigInteger, nullable=False, server_default="0"),  # recipients
    Column("bounced", BigInteger, nullable=False, server_default="0"),  # hard ones: the address is at fault
    Column("complained", BigInteger, nullable=False, server_default="0"),
)

brake = Table(
    "brake",
    metadata,
    # A stream that is ill received; one that is not has no row.
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),
    Column("mark", String(10), nullable=False),  # warn | pause (mailer/policy/brake.py)
    Column("reason", String(500), nullable=False),  # of the mark, with figures
    when("since"),  # of the mark
    Column("hold_id", Id),  # the hold that pauses it; null: it is not held, an override may be in force
    when("until", null=True),  # of that hold; null without one
)

newcomer = Table(
    "newcomer",
    metadata,
    # A new tenant's daily cap, which is its allowance `newcomer` in `sending_limit`; trusted, it has no row.
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("first_cap", Integer, nullable=False),  # messages in any 24 hours, at the beginning
    Column("cap", Integer, nullable=False),  # now
    Column("day", Integer, nullable=False),  # days since 1970, UTC: the last one that is not judged
)

brake_override = Table(
    "brake_override",
    metadata,
    # Until then the stream is not held, whatever its mark.
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("stream_id", Id, primary_key=True, autoincrement=False),  # 0: all streams of the tenant
    when("until"),
    Column("reason", String(500), nullable=False),
    Column("set_by", String(200), nullable=False),
    when("set_at"),
)
