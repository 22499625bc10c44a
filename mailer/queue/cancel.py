"""Cancelling: what waits ends at once; what a worker holds is given a wish that its settle obeys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.events import FINAL_STATES, EventType, RecipientState
from mailer.ids import IdMaker
from mailer.queue import counting
from mailer.store import Store
from mailer.store.bare import Hot, as_json, bare, names_of
from mailer.store.tables import event_new, recipient
from mailer.store.types import to_microseconds

_WAITING = (RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.HELD)
_REASON = "cancelled before it was sent"
_TELL = Hot(bare(event_new).insert(), names_of(event_new, without="seq"))


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Recipient ids: ended now; being delivered, cancelled unless that succeeds; ended before."""

    cancelled: tuple[int, ...]
    under_way: tuple[int, ...]
    too_late: tuple[int, ...]


def cancel(
    store: Store, tenant_id: int, message_id: int, *, new_id: IdMaker, process_number: int, now: datetime
) -> Cancellation | None:
    """Cancels every recipient that is not final; None if the message is not the tenant's. May be repeated."""
    mine = (
        select(recipient.c.id, recipient.c.state, recipient.c.version, recipient.c.attempts)
        .where(recipient.c.message_id == message_id, recipient.c.tenant_id == tenant_id)
        .order_by(recipient.c.id)
        .with_for_update()
    )
    with store.write() as connection:
        rows = connection.execute(mine).all()
        if not rows:
            return None
        waiting = [row for row in rows if row.state in _WAITING]
        leased = [row.id for row in rows if row.state == RecipientState.LEASED]
        if leased:
            wish = update(recipient).where(recipient.c.id.in_(leased))
            connection.execute(wish.values(cancel_wanted=True))
        if waiting:
            _end(connection, tenant_id, message_id, waiting, new_id=new_id, now=now)
            used = {tenant_id: {"cancelled": len(waiting)}}
            counting.add(connection, used, process_number=process_number, now=now)
    return Cancellation(
        tuple(row.id for row in waiting),
        tuple(leased),
        tuple(row.id for row in rows if row.state in FINAL_STATES),
    )


def _end(
    connection: Connection,
    tenant_id: int,
    message_id: int,
    rows: Sequence[Any],
    *,
    new_id: IdMaker,
    now: datetime,
) -> None:
    ended = update(recipient).where(recipient.c.id.in_([row.id for row in rows]))
    connection.execute(
        ended.values(
            state=RecipientState.CANCELLED,
            wait_reason=None,
            version=recipient.c.version + 1,
            last_reply=_REASON,
            settled_at=now,
        )
    )
    told = [
        {
            "id": new_id(),
            "tenant_id": tenant_id,
            "type": EventType.CANCELLED,
            "message_id": message_id,
            "recipient_id": row.id,
            "version": row.version + 1,
            "at": to_microseconds(now),
            "data": as_json({"attempt": row.attempts, "reason": "cancelled"}),
        }
        for row in rows
    ]
    _TELL.many(connection, told)
