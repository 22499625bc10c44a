"""Cancelling: what waits ends at once; what a worker holds is given a wish that its settle obeys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from mailer.events import FINAL_STATES, EventType, RecipientState
from mailer.ids import IdMaker
from mailer.queue import ending
from mailer.queue.chosen import chosen
from mailer.queue.ending import Ending
from mailer.store import Store
from mailer.store.tables import recipient

_CANCELLED = Ending(
    RecipientState.CANCELLED, EventType.CANCELLED, "cancelled", "cancelled before it was sent"
)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Recipient ids: ended now; being delivered, cancelled unless that succeeds; ended before."""

    cancelled: tuple[int, ...]
    under_way: tuple[int, ...]
    too_late: tuple[int, ...]


def cancel(
    store: Store,
    tenant_id: int,
    message_id: int,
    *,
    only: Collection[int] = (),
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> Cancellation | None:
    """Cancels every recipient that is not final, `only` these if any are named. May be repeated.

    None if the message is not the tenant's. Raises NotOfMessage.
    """
    mine = (
        select(*ending.COLUMNS)
        .where(recipient.c.message_id == message_id, recipient.c.tenant_id == tenant_id)
        .order_by(recipient.c.id)
        .with_for_update()
    )
    with store.write() as connection:
        rows: Sequence[Any] = connection.execute(mine).all()
        if not rows:
            return None
        rows = chosen(rows, only)
        waiting = [row for row in rows if row.state in ending.WAITING_STATES]
        leased = [row.id for row in rows if row.state == RecipientState.LEASED]
        if leased:
            wish = update(recipient).where(recipient.c.id.in_(leased))
            connection.execute(wish.values(cancel_wanted=True))
        if waiting:
            ending.end_waiting(
                connection, waiting, _CANCELLED, new_id=new_id, process_number=process_number, now=now
            )
    return Cancellation(
        tuple(row.id for row in waiting),
        tuple(leased),
        tuple(row.id for row in rows if row.state in FINAL_STATES),
    )
