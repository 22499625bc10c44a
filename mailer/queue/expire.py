"""Expiring: a message that waited past its sender's deadline ends, without another try."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, literal_column, select

from mailer.events import EventType, RecipientState
from mailer.ids import IdMaker
from mailer.queue import ending
from mailer.queue.ending import Ending
from mailer.store import Store
from mailer.store.tables import recipient

EXPIRE_AT_ONCE = 1000
_EXPIRED = Ending(
    RecipientState.EXPIRED,
    EventType.EXPIRED,
    "deadline_passed",
    "its sender's deadline passed before it could be sent",
)
_OVERDUE = (
    select(*ending.COLUMNS)
    .where(
        recipient.c.expires_at <= bindparam("now"),
        # Written out: a partial index is used only for a condition that can be read.
        literal_column("expires_at IS NOT NULL AND settled_at IS NULL"),
        recipient.c.state.in_(ending.WAITING_STATES),
    )
    .order_by(recipient.c.id)
    .limit(bindparam("most"))
)


def expire_overdue(
    store: Store, *, new_id: IdMaker, process_number: int, now: datetime, most: int = EXPIRE_AT_ONCE
) -> int:
    """Ends waiting recipients whose own deadline has passed; returns how many.

    Those a worker holds are settled by it: the policy of outcomes knows the deadline, too.
    """
    limits = {"now": now, "most": most}
    with store.read() as connection:
        if connection.execute(_OVERDUE, limits | {"most": 1}).first() is None:
            return 0
    with store.write() as connection:
        rows = connection.execute(_OVERDUE.with_for_update(skip_locked=True), limits).all()
        if rows:
            ending.end_waiting(
                connection, rows, _EXPIRED, new_id=new_id, process_number=process_number, now=now
            )
        return len(rows)
