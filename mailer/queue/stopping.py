"""What a new entry does to mail that waits: scheduled, deferred, held or queued, it ends as suppressed.

Whoever makes an entry leaves a task (suppressionentries.py). Recipients of an address are found by its
index, those of a domain along its lanes; whether they are stopped is then asked of the list as it stands,
so that a stream's own entry spares other streams, and one that was removed meanwhile stops nobody. What a
worker holds, or another transaction has locked, is looked at again until it is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, literal_column, or_, select, update

from mailer.events import RecipientState
from mailer.ids import IdMaker
from mailer.policy.suppressionkey import What
from mailer.queue import ending, suppressing
from mailer.queue.pieces import IS
from mailer.queue.suppressing import EVERY_STREAM, EVERYBODY, Asked, Suppressing
from mailer.queue.suppressionentries import STOP, order
from mailer.store import Store, dialect
from mailer.store.tables import lane, recipient, suppression, suppression_task, tenant

_TASKS = 100  # of one transaction
_ENTRIES = 500
_RECIPIENTS = 500
_AGAIN_AFTER = timedelta(seconds=2)
_COLUMNS = (*ending.COLUMNS, recipient.c.address, lane.c.stream_id)
_STATES = [*(str(state) for state in ending.WAITING_STATES), str(RecipientState.LEASED)]
_IS_LEASED = recipient.c.state == literal_column("'leased'")


@dataclass(slots=True)
class _Page:
    """Entries to look at, and the ids of recipients that they may cover."""

    entries: Sequence[Any]
    found: dict[int, int]  # recipient to entry
    is_cut: bool = False  # there may be more


def any_due(store: Store, kind: str, *, now: datetime) -> bool:
    due = select(suppression_task.c.id).where(
        suppression_task.c.due_at <= now, suppression_task.c.kind == kind
    )
    with store.read() as connection:
        return connection.execute(due.limit(1)).first() is not None


def stop_waiting(store: Store, means: Suppressing, *, new_id: IdMaker, now: datetime) -> bool:
    """Does a piece of the tasks that are due; True if there is more to do now."""
    if not any_due(store, STOP, now=now):
        return False
    with store.write() as connection:
        tasks = take(connection, STOP, now=now)
        spent = 0
        for task in tasks:
            spent += _work(connection, task, means, new_id=new_id, now=now)
            if spent >= _ENTRIES:
                break
        return bool(tasks)


def take(connection: Connection, kind: str, *, now: datetime) -> Sequence[Any]:
    """Tasks that are due, of which no other sweeper has any."""
    c = suppression_task.c
    due = select(suppression_task).where(c.due_at <= now, c.kind == kind).order_by(c.due_at, c.id)
    return connection.execute(due.limit(_TASKS).with_for_update(skip_locked=True)).all()


def finish(connection: Connection, task: Any) -> None:
    connection.execute(delete(suppression_task).where(suppression_task.c.id == task.id))


def _work(connection: Connection, task: Any, means: Suppressing, *, new_id: IdMaker, now: datetime) -> int:
    """A page of a task's entries; how many there were."""
    c = suppression.c
    wanted = (
        select(c.id, c.what, c.address, c.domain, c.stream_id)
        .where(c.tenant_id == task.tenant_id, c.id.between(task.first_id, task.last_id))
        .where(or_(c.expires_at.is_(None), c.expires_at > now))
        .order_by(c.id)
        .limit(_ENTRIES)
    )
    page = _Page(connection.execute(wanted).all(), {})
    _find(connection, task.tenant_id, page)
    left = _stop(connection, page, means, new_id=new_id, now=now)
    for entry_id in sorted(left):
        _look_again(connection, task, entry_id, new_id=new_id, now=now)
    if page.is_cut:
        return len(page.entries)  # the same page again
    if len(page.entries) < _ENTRIES:
        finish(connection, task)
    else:
        moved = update(suppression_task).where(suppression_task.c.id == task.id)
        connection.execute(moved.values(first_id=page.entries[-1].id + 1))
    return len(page.entries)


def _look_again(connection: Connection, task: Any, entry_id: int, *, new_id: IdMaker, now: datetime) -> None:
    """A task of its own for an entry that did not come to an end: one at a time."""
    c = suppression_task.c
    same = select(c.id).where(
        c.tenant_id == task.tenant_id,
        c.kind == STOP,
        c.first_id == entry_id,
        c.last_id == entry_id,
        c.due_at > now,
        c.due_at <= now + _AGAIN_AFTER,
    )
    if connection.execute(same.limit(1)).first() is None:
        order(connection, STOP, task.tenant_id, (entry_id, entry_id), new_id=new_id, now=now + _AGAIN_AFTER)


def _find(connection: Connection, tenant_id: int, page: _Page) -> None:
    tenants = _tenants(connection) if tenant_id == EVERYBODY else [tenant_id]
    by_stream: dict[int, dict[str, int]] = defaultdict(dict)
    for entry in page.entries:
        if entry.domain is None:
            continue  # erased: whoever waits is met when it is claimed
        if entry.what == What.ADDRESS:
            by_stream[entry.stream_id][entry.address] = entry.id
        else:
            _find_domain(connection, tenants, entry, page)
    for stream_id, addresses in by_stream.items():
        _find_addresses(connection, tenants, stream_id, addresses, page)


def _tenants(connection: Connection) -> list[int]:
    return list(connection.execute(select(tenant.c.id)).scalars())


# Written out: a partial index is used only for a condition that can be read.
_WAITS: ColumnElement[bool] = literal_column("settled_at IS NULL")
_SPELLINGS = (
    (recipient.c.address, _WAITS),
    (recipient.c.folded, _WAITS & literal_column("folded IS NOT NULL")),
)


def _find_addresses(
    connection: Connection, tenants: Sequence[int], stream_id: int, addresses: dict[str, int], page: _Page
) -> None:
    wanted = {
        "tenants": dialect.listed(connection, tenants),
        "keys": dialect.listed(connection, list(addresses)),
    }
    for column, waits in _SPELLINGS:
        found = (
            select(recipient.c.id, column.label("key"))
            .where(dialect.OneOf(recipient.c.tenant_id, "tenants"), dialect.OneOf(column, "keys"), waits)
            .limit(_RECIPIENTS)
        )
        if stream_id != EVERY_STREAM:
            mine = lane.c.stream_id == stream_id
            found = found.join(lane, lane.c.id == recipient.c.lane_id).where(mine)
        rows = connection.execute(found, wanted).all()
        page.is_cut |= len(rows) == _RECIPIENTS
        page.found.update({row.id: addresses[row.key] for row in rows})


def _find_domain(connection: Connection, tenants: Sequence[int], entry: Any, page: _Page) -> None:
    named: ColumnElement[bool] = lane.c.domain == entry.domain
    if entry.what == What.SUBDOMAINS:
        named = or_(named, lane.c.domain.endswith(f".{entry.domain}", autoescape=True))
    meant = select(lane.c.id).where(dialect.OneOf(lane.c.tenant_id, "tenants"), named)
    if entry.stream_id != EVERY_STREAM:
        meant = meant.where(lane.c.stream_id == entry.stream_id)
    lanes = connection.execute(meant, {"tenants": dialect.listed(connection, tenants)}).scalars().all()
    if not lanes:
        return
    for is_so in (*IS.values(), _IS_LEASED):
        found = select(recipient.c.id).where(is_so, dialect.OneOf(recipient.c.lane_id, "lanes"))
        listed = {"lanes": dialect.listed(connection, lanes)}
        rows = connection.execute(found.limit(_RECIPIENTS), listed).scalars().all()
        page.is_cut |= len(rows) == _RECIPIENTS and is_so is not _IS_LEASED
        page.found.update(dict.fromkeys(rows, entry.id))


_HELD = (
    select(*_COLUMNS)
    .join(lane, lane.c.id == recipient.c.lane_id)
    .where(dialect.OneOf(recipient.c.id, "found"), recipient.c.state.in_(ending.WAITING_STATES))
    .order_by(recipient.c.id)
    .with_for_update(of=recipient, skip_locked=True)
)
_STILL_THERE = (
    select(recipient.c.id, recipient.c.tenant_id, recipient.c.address, lane.c.stream_id)
    .join(lane, lane.c.id == recipient.c.lane_id)
    .where(dialect.OneOf(recipient.c.id, "found"), recipient.c.state.in_(_STATES))
)


def _stop(
    connection: Connection, page: _Page, means: Suppressing, *, new_id: IdMaker, now: datetime
) -> set[int]:
    """Ends what is covered; returns the entries of which something is still under way."""
    if not page.found:
        return set()
    listed = {"found": dialect.listed(connection, list(page.found))}
    rows = connection.execute(_HELD, listed).all()
    stopped = _covered(connection, rows, means, now)
    suppressing.end(connection, rows, stopped, new_id=new_id, process_number=means.process_number, now=now)
    if page.is_cut and not stopped:
        page.is_cut = False  # nothing that was found is meant: it would be found again for ever
    under_way = connection.execute(_STILL_THERE, listed).all()
    return {page.found[recipient_id] for recipient_id in _covered(connection, under_way, means, now)}


def _covered(
    connection: Connection, rows: Iterable[Any], means: Suppressing, now: datetime
) -> dict[int, suppressing.Stop]:
    asked = [Asked(row.id, row.tenant_id, row.stream_id, row.address) for row in rows]
    return suppressing.stops(connection, means.keys, asked, now=now)
