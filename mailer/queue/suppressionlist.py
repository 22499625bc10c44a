"""A tenant's list, and the operator's: looked through, added to, removed from, and persons erased from it.

Whose list it is, is an argument everywhere: a tenant's id, or EVERYBODY for the entries of the operator,
which stop mail of all tenants and are the operator's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, update

from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Target
from mailer.queue import suppressionentries as entries
from mailer.queue.suppressionentries import AGAIN, Entry
from mailer.store import Store, dialect
from mailer.store.tables import stream, suppressed, suppression, suppression_review


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries; None: any.

    prefix  what addresses begin with, in the form of the key; domains have no address
    """

    reason: str | None = None
    stream: str | None = None
    domain: str | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """entries: rows of `suppression`, and `stream`, its name. next_after: None at the end."""

    entries: Sequence[Any]
    next_after: int | None


_ROWS = select(suppression, stream.c.name.label("stream")).outerjoin(
    stream, stream.c.id == suppression.c.stream_id
)


def page(
    store: Store, tenant_id: int, wanted: Wanted, *, after: int | None, limit: int, now: datetime
) -> Page:
    """Entries in force, the newest first; of a search by prefix in the order of ids, too."""
    c = suppression.c
    found = _in_force(_meant(_ROWS.where(c.tenant_id == tenant_id), wanted), now)
    if after is not None:
        found = found.where(c.id < after)
    with store.read() as connection:
        rows = connection.execute(found.order_by(c.id.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    return Page(rows[:limit], rows[limit - 1].id if more else None)


def _meant(found: Select[Any], wanted: Wanted) -> Select[Any]:
    c = suppression.c
    if wanted.reason is not None:
        found = found.where(c.reason == wanted.reason)
    if wanted.stream is not None:
        found = found.where(stream.c.name == wanted.stream)
    if wanted.domain is not None:
        found = found.where(c.domain == wanted.domain)
    if wanted.prefix:
        found = found.where(dialect.StartsWith(c.address, wanted.prefix))
    return found


def _in_force(found: Select[Any], now: datetime) -> Select[Any]:
    c = suppression.c
    return found.where(or_(c.expires_at.is_(None), c.expires_at > now))


def one(store: Store, tenant_id: int, entry_id: int, *, now: datetime) -> Any:
    """The entry; None if the list has none of this id in force."""
    c = suppression.c
    found = _in_force(_ROWS.where(c.tenant_id == tenant_id, c.id == entry_id), now)
    with store.read() as connection:
        return connection.execute(found).first()


def standing(store: Store, tenant_id: int, key_hash: str, stream_id: int, *, now: datetime) -> Any:
    """The entry of this key; None if there is none in force."""
    c = suppression.c
    found = _ROWS.where(c.key_hash == key_hash, c.tenant_id == tenant_id, c.stream_id == stream_id)
    with store.read() as connection:
        return connection.execute(_in_force(found, now)).first()


def add(store: Store, entry: Entry, *, new_id: IdMaker) -> tuple[Any, bool]:
    """The entry as it stands then, and whether it was made now: one that stood is left as it was."""
    with store.write() as connection:
        entries.own(connection, [entry.tenant_id])
        made = entries.add(connection, [entry], new_id) == 1
    target = entry.target
    return standing(store, entry.tenant_id, target.key_hash, entry.stream_id, now=entry.created_at), made


@dataclass(frozen=True, slots=True)
class Removed:
    """send_again: recipients that it stopped, and that are accepted anew within seconds."""

    send_again: int


def remove(
    store: Store, tenant_id: int, entry_id: int, *, send_again: bool, new_id: IdMaker, now: datetime
) -> Removed | None:
    """Nothing is stopped for it any more; None if the list has no such entry.

    What is remembered of its recipient goes too: whoever removes it starts anew.
    """
    c = suppression.c
    with store.write() as connection:
        gone = delete(suppression).where(c.tenant_id == tenant_id, c.id == entry_id).returning(c.id)
        if connection.execute(gone).first() is None:
            return None
        if not send_again:
            return Removed(0)
        stopped = select(func.count()).where(suppressed.c.suppression_id == entry_id)
        number = connection.execute(stopped).scalar_one()
        if number:
            entries.order(connection, AGAIN, tenant_id, (entry_id, entry_id), new_id=new_id, now=now)
        return Removed(number)


def erase(store: Store, target: Target) -> int:
    """The address is not to be read any more in any list; mail to it is stopped as before. How many
    entries."""
    with store.write() as connection:
        return sum(_erase(connection, table, target) for table in (suppression, suppression_review))


def _erase(connection: Connection, table: Any, target: Target) -> int:
    erased = update(table).where(table.c.key_hash == target.key_hash)
    return connection.execute(erased.values(address=None, domain=None, words=None)).rowcount


def drop_expired(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops entries that were over before then; returns how many."""
    c = suppression.c
    old = select(c.tenant_id, c.id).where(c.expires_at < before).limit(most)
    with store.read() as connection:
        found = connection.execute(old).all()
    if not found:
        return 0
    with store.write() as connection:
        gone = delete(suppression).where(c.id.in_([row.id for row in found]), c.expires_at < before)
        return connection.execute(gone.where(c.tenant_id.in_({row.tenant_id for row in found}))).rowcount
