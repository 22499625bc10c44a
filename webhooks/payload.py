"""The body of a callback: the event as `GET /v1/events` shows it, under its type and time."""

from __future__ import annotations

import msgspec

from mailer.shown import Event, event_id, instant

TEST = "test"  # the type of a callback that was asked for; no event has it


def body_of(event: Event) -> bytes:
    """JSON in UTF-8; the same octets at every attempt."""
    return msgspec.json.encode(
        {"type": event.type, "timestamp": instant(event.at), "data": event.members()},
    )


def webhook_id(event: Event) -> str:
    """The same at every attempt and for every endpoint: what repeats are known by."""
    return event_id(event.id)
