"""Callbacks as the queue's keepers see them: the dead release theirs, old ones go, all are recounted.

Who makes, claims and settles them is not known here (the package `webhooks` does); their rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, case, delete, func, literal_column, or_, select, update

from mailer.ids import first_id_at
from mailer.store import Store
from mailer.store.tables import (
    event,
    incarnation,
    tenant_log,
    webhook_attempt,
    webhook_callback,
    webhook_endpoint,
)

_C = webhook_callback.c
_A = webhook_attempt.c
_IS_DUE = _C.state == literal_column("'due'")  # written out, as the partial indexes say it
_IS_HELD = _C.state == literal_column("'held'")
_LIVE_HOLDER = (
    select(incarnation.c.id).where(incarnation.c.id == _C.holder, incarnation.c.state == "live").exists()
)
_RECENT = timedelta(hours=1)


def release_abandoned(store: Store) -> int:
    """What dead incarnations held is due again, its due time as it was; returns how many.

    Whoever was called may be called again. No attempt is counted: nobody knows whether there was one.
    """
    with store.read() as connection:
        if connection.execute(select(_C.id).where(_IS_HELD, ~_LIVE_HOLDER).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        freed = update(webhook_callback).where(_IS_HELD, ~_LIVE_HOLDER)
        return connection.execute(freed.values(state="due", holder=None)).rowcount


def drop_callbacks(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops callbacks made before then, with their attempts; returns how many.

    Also those that are due still: of a disabled endpoint, for any other has come to its end by then.
    """
    old = (
        select(_C.id)
        .where(_C.id < first_id_at(int(before.timestamp() * 1000)), ~_IS_HELD)
        .order_by(_C.id)
        .limit(most)
    )
    return _drop(store, old)


def drop_orphaned(store: Store, *, most: int = 1000) -> int:
    """Drops callbacks whose endpoint was deleted; returns how many."""
    with store.read() as connection:
        gone = connection.execute(_orphaned_endpoints()).scalars().all()
    return sum(drop_of_endpoint(store, endpoint_id, most=most) for endpoint_id in gone)


def drop_of_endpoint(store: Store, endpoint_id: int, *, most: int = 1000) -> int:
    """Drops callbacks of an endpoint that is no more; returns how many."""
    return _drop(store, select(_C.id).where(_C.endpoint_id == endpoint_id).order_by(_C.id).limit(most))


def _drop(store: Store, which: Select[tuple[int]]) -> int:
    with store.read() as connection:
        if connection.execute(which.limit(1)).first() is None:
            return 0
    with store.write() as connection:
        ids = connection.execute(which.with_for_update(skip_locked=True)).scalars().all()
        connection.execute(delete(webhook_attempt).where(_A.callback_id.in_(ids)))
        connection.execute(delete(webhook_callback).where(_C.id.in_(ids)))
        return len(ids)


def _orphaned_endpoints() -> Select[int]:
    """Walks the index from endpoint to endpoint, however many callbacks each has."""
    walk = select(func.min(_C.endpoint_id).label("endpoint_id")).cte("walk", recursive=True)
    after = select(func.min(_C.endpoint_id)).where(_C.endpoint_id > walk.c.endpoint_id).scalar_subquery()
    walk = walk.union_all(select(after).where(walk.c.endpoint_id.is_not(None)))
    there = select(webhook_endpoint.c.id).where(webhook_endpoint.c.id == walk.c.endpoint_id).exists()
    return select(walk.c.endpoint_id).where(walk.c.endpoint_id.is_not(None), ~there)


# ---- counted -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallbackGauges:
    """due: of active endpoints, their time has come. attempts: of the last hour, by what was answered."""

    due: int
    oldest_due_seconds: float
    attempts: Mapping[str, int]


RESULTS = ("2xx", "3xx", "4xx", "5xx", "none")


def gauges(store: Store, *, now: datetime) -> CallbackGauges:
    """For metrics, read from the rows that are the truth."""
    late = (
        select(func.count(), func.min(_C.due_at))
        .join(webhook_endpoint, webhook_endpoint.c.id == _C.endpoint_id)
        .where(_IS_DUE, _C.due_at <= now, webhook_endpoint.c.state == "active")
    )
    hundreds = _A.status - _A.status % 100
    since = first_id_at(int((now - _RECENT).timestamp() * 1000))
    tried = select(hundreds, func.count()).where(_A.id >= since).group_by(hundreds)
    with store.read() as connection:
        due, oldest = connection.execute(late).one()
        answered = {
            "none" if status is None else f"{status // 100}xx": n
            for status, n in connection.execute(tried).all()
        }
    age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return CallbackGauges(due, age, {result: answered.get(result, 0) for result in RESULTS})


# ---- recounted ---------------------------------------------------------------------------------------------


def _of_no_event() -> Select[tuple[int]]:
    """A test is number 0; what retention dropped from the log's start was there."""
    kept = select(event.c.number).where(event.c.tenant_id == _C.tenant_id, event.c.number == _C.event_number)
    known = or_(
        _C.event_number == 0,
        kept.exists(),
        and_(_C.event_number >= 1, _C.event_number < tenant_log.c.first_number),
    )
    return (
        select(_C.id)
        .outerjoin(tenant_log, tenant_log.c.tenant_id == _C.tenant_id)
        .where(~func.coalesce(known, False))
    )


def _told_twice() -> Select[tuple[int]]:
    """Number 0 may be told as often as somebody asks."""
    return (
        select(func.max(_C.id))
        .where(_C.event_number > 0)
        .group_by(_C.endpoint_id, _C.event_number)
        .having(func.count() > 1)
    )


def _held_by_the_unknown() -> Select[tuple[int]]:
    known = select(incarnation.c.id).where(incarnation.c.id == _C.holder).exists()
    in_order = case((_C.state == "held", known), else_=_C.holder.is_(None))
    return select(_C.id).where(~in_order)


def _attempts_miscounted() -> Select[tuple[int]]:
    noted = select(func.count()).where(_A.callback_id == _C.id).correlate(webhook_callback).scalar_subquery()
    return select(_C.id).where(noted != _C.attempts)


CHECKS: Mapping[str, Callable[[], Select[tuple[int]]]] = {
    "every callback tells an event of the log": _of_no_event,
    "no endpoint has two callbacks of one event": _told_twice,
    "callbacks being called are held by a known incarnation, others by nobody": _held_by_the_unknown,
    "attempts of callbacks are on record": _attempts_miscounted,
}
