"""What operators and tenants do to mail that waits."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, text

from mailer.store.tables.columns import metadata, own_id, when
from mailer.store.types import Id, Json

hold = Table(
    "hold",
    metadata,
    # While it is in force nothing that meets all its conditions is claimed; a null condition is none.
    own_id(),
    Column("tenant_id", Id),
    Column("stream", String(100)),  # a stream's name
    Column("domain", String(255)),  # of recipients, A-label
    Column("site", String(255)),
    Column("message_id", Id),
    Column("recipient_id", Id),
    Column("owner_id", Id),  # the tenant that placed it and may release it; null: the operator
    Column("placed_by", String(200), nullable=False),  # an API key's id, or who gave the command
    Column("reason", String(500), nullable=False),
    when("placed_at"),
    when("until", null=True),  # when it ends by itself; null: never
    when("ended_at", null=True),  # null while it is in force
    Index("ix_hold_in_force", "id", sqlite_where=text("ended_at IS NULL"),
          postgresql_where=text("ended_at IS NULL")),
)  # fmt: skip

action = Table(
    "action",
    metadata,
    # Who did what to mail that waits, when, and to how many; never changed.
    own_id(),
    when("at"),
    # hold | release | lapse | requeue | move | bounce | warn | override | clear
    Column("kind", String(10), nullable=False),
    Column("owner_id", Id),  # the tenant that did it; null: the operator
    Column("done_by", String(200), nullable=False),
    Column("wanted", Json, nullable=False),  # the conditions, by name
    Column("reason", String(500), nullable=False),
    Column("hold_id", Id),  # null unless it is about a hold
    when("until", null=True),  # of the hold
    Column("status", String(12)),  # of a bounce
    Column("target", String(100)),  # the stream that was moved to, or "pool:" and the pool's name
    Column("recipients", Integer, nullable=False),  # that were changed, or, of a hold, waited there
    Index(None, "owner_id", "id"),
)
