"""The event log."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.client.answers.messages import EventPage
from mailer.client.call import Call, pairs


def page(*, after: int, limit: int, types: Sequence[str]) -> Call[EventPage]:
    return Call(
        method="GET",
        path="/v1/events",
        answer=EventPage,
        params=tuple(pairs(after=after, limit=limit, type=types)),
        repeatable=True,
    )
