"""The client that waits: one method a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, Unpack

import httpx

from mailer.client.answers.messages import (
    Accepted,
    Cancelled,
    Event,
    EventPage,
    ExplainedMessage,
    Message,
    Retried,
)
from mailer.client.call import USUAL, Patience
from mailer.client.calls import events, messages
from mailer.client.letters import Letter
from mailer.client.transport import Wires, with_key


class Mailer:
    """The API of one server, with one key. Safe to share between threads; close it, or use `with`."""

    def __init__(
        self,
        api_key: str,
        base_url: str = "http://127.0.0.1:8025",
        *,
        timeout: float = 30.0,
        patience: Patience = USUAL,
        http: httpx.Client | None = None,
    ) -> None:
        """http: a client of your own, say for a proxy or a test, with its own base_url and timeout."""
        made = http or httpx.Client(base_url=base_url, timeout=timeout)
        made.headers.update(with_key(api_key))
        self._wires = Wires(made, patience)
        self.messages = Messages(self._wires)
        self.events = Events(self._wires)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wires.close()


class _Part:
    def __init__(self, wires: Wires) -> None:
        self._wires = wires


class Messages(_Part):
    def send(self, *, idempotency_key: str | None = None, **letter: Unpack[Letter]) -> Accepted:
        """The message is on disk when this returns."""
        return self._wires.make(messages.send(letter, idempotency_key))

    def get(self, message_id: str) -> Message:
        return self._wires.make(messages.get(message_id))

    def explain(self, message_id: str) -> ExplainedMessage:
        """Why it is where it is, and until when."""
        return self._wires.make(messages.explain(message_id))

    def cancel(self, message_id: str) -> Cancelled:
        return self._wires.make(messages.cancel(message_id))

    def retry(self, message_id: str) -> Retried:
        return self._wires.make(messages.retry(message_id))


class Events(_Part):
    def page(self, *, after: int = 0, limit: int = 100, types: Sequence[str] = ()) -> EventPage:
        return self._wires.make(events.page(after=after, limit=limit, types=types))

    def since(self, after: int = 0, *, types: Sequence[str] = ()) -> Iterator[Event]:
        """All events after that number that there are now, in order."""
        while True:
            page = self.page(after=after, limit=1000, types=types)
            yield from page.events
            if page.next_after == after:
                return
            after = page.next_after
