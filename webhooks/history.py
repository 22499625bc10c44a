"""What was told to an endpoint: every attempt, what waits; and trying again what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from mailer.store import Store
from mailer.store.tables import webhook_attempt, webhook_callback

_C = webhook_callback.c
_A = webhook_attempt.c
_DROPPED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Callback:
    """One event for one endpoint.

    event_number  in the tenant's log; None for a test
    state         due | held (being called) | delivered | given_up
    due_at        of the next attempt; None when none follows
    attempt_count  made so far
    settled_at    None until delivered or given up
    """

    id: int
    event_number: int | None
    state: str
    due_at: datetime | None
    attempt_count: int
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST.

    status  of the answer; None without one
    cause   why there was none, or what was wrong with it; None for a 2xx
    state   of the callback now
    """

    id: int
    callback_id: int
    event_number: int | None
    state: str
    at: datetime
    duration_ms: int
    status: int | None
    cause: str | None


def attempts(connection: Connection, endpoint_id: int, *, before: int | None, limit: int) -> list[Attempt]:
    """Newest first, of those with ids below `before`."""
    found = (
        select(webhook_attempt, _C.event_number, _C.state)
        .join(webhook_callback, _C.id == _A.callback_id)
        .where(_A.endpoint_id == endpoint_id)
        .order_by(_A.id.desc())
        .limit(limit)
    )
    if before is not None:
        found = found.where(_A.id < before)
    return [
        Attempt(
            row.id, row.callback_id, row.event_number or None, row.state, row.at, row.duration_ms,
            row.status, row.cause,
        )
        for row in connection.execute(found)
    ]  # fmt: skip


def callbacks(
    connection: Connection, endpoint_id: int, *, state: str | None, before: int | None, limit: int
) -> list[Callback]:
    """Newest first, of those with ids below `before`."""
    found = _of(endpoint_id).order_by(_C.id.desc()).limit(limit)
    if state is not None:
        found = found.where(_C.state == state)
    if before is not None:
        found = found.where(_C.id < before)
    return [_callback(row) for row in connection.execute(found)]


def retry(connection: Connection, endpoint_id: int, callback_id: int, *, now: datetime) -> Callback | None:
    """Due now, if it waits or was given up; None if the endpoint has no such callback.

    Attempts are counted on: after the schedule's end it is tried once, and given up again.
    """
    again = update(webhook_callback).where(
        _C.id == callback_id, _C.endpoint_id == endpoint_id, _C.state.in_(["due", "given_up"])
    )
    connection.execute(again.values(state="due", due_at=now, settled_at=None))
    row = connection.execute(_of(endpoint_id).where(_C.id == callback_id)).first()
    return None if row is None else _callback(row)


def drop_callbacks(store: Store, endpoint_id: int, *, most: int = _DROPPED_AT_ONCE) -> int:
    """Drops up to `most` callbacks of an endpoint that is no more, with their attempts; returns how many."""
    some = select(_C.id).where(_C.endpoint_id == endpoint_id).limit(most).with_for_update(skip_locked=True)
    with store.write() as connection:
        ids: Sequence[int] = connection.execute(some).scalars().all()
        if ids:
            connection.execute(delete(webhook_attempt).where(_A.callback_id.in_(ids)))
            connection.execute(delete(webhook_callback).where(_C.id.in_(ids)))
    return len(ids)


def _of(endpoint_id: int) -> Select[Any]:
    return select(webhook_callback).where(_C.endpoint_id == endpoint_id)


def _callback(row: Any) -> Callback:
    return Callback(
        row.id, row.event_number or None, row.state, row.due_at if row.settled_at is None else None,
        row.attempts, row.created_at, row.settled_at,
    )  # fmt: skip
