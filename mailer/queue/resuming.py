"""Sending again what an entry had stopped by mistake: each recipient is accepted anew (`retry_of`).

A final state never changes. What cannot be accepted any more (its stream is archived, its sending domain
revoked), or was sent again already, is left as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from mailer.events import RecipientState
from mailer.ids import IdMaker
from mailer.queue import again, stopping
from mailer.queue.again import NotAccepted
from mailer.queue.suppressionentries import AGAIN
from mailer.store import Store
from mailer.store.tables import message, recipient, suppressed

_AT_ONCE = 500


def send_again(store: Store, *, new_id: IdMaker, process_number: int, now: datetime) -> bool:
    """Does a piece of what is due; True if there is more to do now."""
    if not stopping.any_due(store, AGAIN, now=now):
        return False
    with store.write() as connection:
        for task in stopping.take(connection, AGAIN, now=now)[:1]:
            rows = _stopped_by(connection, task.first_id)
            _accept(connection, rows, new_id=new_id, process_number=process_number, now=now)
            done = delete(suppressed).where(suppressed.c.recipient_id.in_([row.id for row in rows]))
            connection.execute(done)
            if len(rows) < _AT_ONCE:
                stopping.finish(connection, task)
    return True


def _stopped_by(connection: Connection, entry_id: int) -> Sequence[Any]:
    stopped = (
        select(suppressed.c.recipient_id)
        .where(suppressed.c.suppression_id == entry_id)
        .order_by(suppressed.c.recipient_id)
        .limit(_AT_ONCE)
    )
    found = (
        select(recipient)
        .join(message, message.c.id == recipient.c.message_id)
        .where(recipient.c.id.in_(stopped.scalar_subquery()))
        .order_by(recipient.c.id)
        # Retention passes over a message that is locked, and does not drop it with its new recipients.
        .with_for_update(read=True, of=message)
    )
    return connection.execute(found).all()


def _accept(
    connection: Connection, rows: Sequence[Any], *, new_id: IdMaker, process_number: int, now: datetime
) -> None:
    by_message: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        if row.state == RecipientState.SUPPRESSED:
            by_message[row.message_id].append(row)
    for message_id, stopped in sorted(by_message.items()):
        try:
            again.accept_anew(
                connection, message_id, stopped, new_id=new_id, process_number=process_number, now=now
            )
        except NotAccepted:
            continue  # its events say that it was suppressed, which is what became of it
