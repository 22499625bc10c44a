"""Fan-out: events get their numbers, one fan-out at a time per shard, without gaps per tenant.

A state change appends its event unnumbered, so no writer waits for a counter. Here the new ones are
numbered in the order of their insertion, which is causal per recipient, and copied into the log. What
follows an event (callback rows) is written in the same transaction by `also`, which gets the rows as they
are stored: instants in microseconds, data as JSON text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, literal_column, select

from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import event, event_new, event_shard, tenant_log

SHARD = 0  # one shard until tenants are spread over several

Also = Callable[[Connection, Sequence[dict[str, Any]]], None]

_FRESH = bare(event_new)
_NAMES = names_of(event_new)
_NEW = Hot(select(*(_FRESH.c[name] for name in _NAMES)).order_by(_FRESH.c.seq).limit(bindparam("most")))
_ANY = Hot(select(_FRESH.c.seq).limit(literal_column("1")))
_LOG = Hot(bare(event).insert(), names_of(event))
_TAKEN = Hot(delete(_FRESH).where(dialect.OneOf(_FRESH.c.seq, "done")))
_LOCK = select(event_shard.c.shard).where(event_shard.c.shard == SHARD).with_for_update(skip_locked=True)


def fan_out(store: Store, *, most: int = 1000, also: Also | None = None) -> int:
    """Numbers up to `most` new events; returns how many. 0 also when another process is at it."""
    if not _any_new(store):
        return 0
    with store.write() as connection:
        if connection.execute(_LOCK).first() is None:
            return 0
        rows = [dict(zip(_NAMES, row, strict=True)) for row in _NEW.rows(connection, {"most": most})]
        if not rows:
            return 0
        numbered = _number(connection, rows)
        _LOG.many(connection, numbered)
        if also:
            also(connection, numbered)
        _TAKEN.run(connection, {"done": dialect.listed(connection, [row["seq"] for row in rows])})
        return len(rows)


def _any_new(store: Store) -> bool:
    """A look without the write lock, so that an idle installation writes nothing."""
    with store.read() as connection:
        return bool(_ANY.rows(connection, {}))


def _number(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_tenant: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_tenant[row["tenant_id"]].append({k: v for k, v in row.items() if k != "seq"})
    numbered = []
    for tenant_id in sorted(by_tenant):
        mine = by_tenant[tenant_id]
        first = _advance(connection, tenant_id, len(mine)) - len(mine) + 1
        numbered += [row | {"number": first + i} for i, row in enumerate(mine)]
    return numbered


def _advance(connection: Connection, tenant_id: int, by: int) -> int:
    """The last number of the tenant's log after `by` more."""
    ((last,),) = _ADVANCE.rows(connection, {"tenant_id": tenant_id, "last_number": by})
    return int(last)


def _advancing() -> Hot:
    row = bare(tenant_log)
    new = dialect.upsert(row)
    grown = {"last_number": row.c.last_number + new.excluded.last_number}
    raised = new.on_conflict_do_update(index_elements=["tenant_id"], set_=grown)
    return Hot(raised.returning(row.c.last_number), names_of(tenant_log, without="first_number"))


_ADVANCE = _advancing()
