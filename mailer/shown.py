"""How an event is shown to its tenant, wherever that is: in `GET /v1/events` and in callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailer import ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the tenant's log.

    number        in the log; None until it is numbered, and of an event that is in no log (a test)
    type          an event word
    message_id    None for a rejected submission, and of what happens to a stream; as is recipient_id
    version       the recipient's own count of its events: 1, 2, ...
    """

    number: int | None
    id: int
    type: str
    at: datetime
    message_id: int | None
    recipient_id: int | None
    version: int
    data: Mapping[str, Any]

    def members(self) -> dict[str, object]:
        """As JSON: the members that `accept.http.shapes.Event` has, in its order."""
        return {
            "number": self.number,
            "id": event_id(self.id),
            "type": self.type,
            "at": instant(self.at),
            "message_id": None if self.message_id is None else ids.show("msg", self.message_id),
            "recipient_id": None if self.recipient_id is None else ids.show("rcpt", self.recipient_id),
            "version": self.version,
            "data": dict(self.data),
        }


def event_id(value: int) -> str:
    return ids.show("evt", value)


def instant(at: datetime) -> str:
    """UTC with milliseconds and Z (RFC 3339 §5.6)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
