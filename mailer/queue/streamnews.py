"""What is told of streams, and of no message of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailer.events import EventType
from mailer.queue.braking import StreamKey
from mailer.queue.pieces import Means
from mailer.queue.telling import tell
from mailer.shown import instant
from mailer.store.bare import as_json
from mailer.store.types import to_microseconds


@dataclass(frozen=True, slots=True)
class Change:
    """What is told of a stream, and why. until: of a pause."""

    key: StreamKey
    stream: str
    type: EventType
    reason: str
    until: datetime | None = None


def tell_of(connection: Connection, means: Means, changed: Change, now: datetime) -> None:
    """The event of a stream's change, for its tenant."""
    facts = {
        "stream": changed.stream,
        "reason": changed.reason,
        "until": None if changed.until is None else instant(changed.until),
    }
    row = {
        "id": means.new_id(),
        "tenant_id": changed.key[0],
        "type": changed.type,
        "message_id": None,
        "recipient_id": None,
        "version": 1,
        "at": to_microseconds(now),
        "data": as_json({name: value for name, value in facts.items() if value is not None}),
    }
    tell(connection, [row])
