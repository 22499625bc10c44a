"""How a recipient that waits ends without an attempt: row, event, DSN owed and tenant's usage at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, update

from mailer.events import EventType, RecipientState
from mailer.ids import IdMaker
from mailer.policy import notices
from mailer.queue import counting
from mailer.queue.owing import Owed, owe
from mailer.queue.telling import tell
from mailer.store.bare import as_json
from mailer.store.tables import recipient
from mailer.store.types import to_microseconds

WAITING_STATES = (RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.HELD)
# What `end_waiting` needs of a row.
COLUMNS = (
    recipient.c.id,
    recipient.c.tenant_id,
    recipient.c.message_id,
    recipient.c.state,
    recipient.c.version,
    recipient.c.attempts,
    recipient.c.notify,
)


class Waiting(NamedTuple):
    """What `end_waiting` needs of a row, where it was not read with COLUMNS."""

    id: int
    tenant_id: int
    message_id: int
    version: int
    attempts: int
    notify: str | None


@dataclass(frozen=True, slots=True)
class Ending:
    """state: final. reason: a word for the event. words: a sentence kept as the recipient's last reply.

    status  enhanced status for the event; None: it has none
    facts   more for the event
    """

    state: RecipientState
    event: EventType
    reason: str
    words: str
    status: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def end_waiting(
    connection: Connection,
    rows: Sequence[Any],
    ending: Ending,
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> None:
    """Ends `rows`, one or more, which this transaction has locked in one of WAITING_STATES."""
    ended = update(recipient).where(recipient.c.id.in_([row.id for row in rows]))
    connection.execute(
        ended.values(
            state=ending.state,
            wait_reason=None,
            version=recipient.c.version + 1,
            last_reply=ending.words,
            settled_at=now,
        )
    )
    said = {"reason": ending.reason, **({"status": ending.status} if ending.status else {}), **ending.facts}
    told = [
        {
            "id": new_id(),
            "tenant_id": row.tenant_id,
            "type": ending.event,
            "message_id": row.message_id,
            "recipient_id": row.id,
            "version": row.version + 1,
            "at": to_microseconds(now),
            "data": as_json({"attempt": row.attempts, **said}),
        }
        for row in rows
    ]
    tell(connection, told)
    kinds = [(row, notices.owed(row.notify, ending.event)) for row in rows]
    dsns = [Owed(row.id, kind, row.tenant_id, row.message_id) for row, kind in kinds if kind]
    owe(connection, dsns, now=now)
    used = {
        tenant_id: {str(ending.state): n} for tenant_id, n in Counter(row.tenant_id for row in rows).items()
    }
    counting.add(connection, used, process_number=process_number, now=now)
