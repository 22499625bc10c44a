"""The conversation of one attempt, as it is kept and shown."""

from __future__ import annotations

from collections.abc import Callable

from mailer.protocol.reply import Reply
from mailer.relay.carrier import Step

_MOST_STEPS = 500  # a peer that trickles lines must not fill the database


class Transcript:
    """Lines said and heard, in milliseconds since the attempt began."""

    __slots__ = ("_began", "_monotonic", "steps")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self.steps: list[Step] = []

    def said(self, *lines: str) -> None:
        self._add("us", lines)

    def heard(self, reply: Reply) -> None:
        self._add("peer", reply.as_heard())

    def note(self, text: str) -> None:
        """What happened beside the dialogue."""
        self._add("note", (text,))

    @property
    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._monotonic() - self._began

    def _add(self, who: str, lines: list[str] | tuple[str, ...]) -> None:
        at = (self._monotonic() - self._began) * 1000
        steps = self.steps
        if len(steps) < _MOST_STEPS:
            for line in lines:
                steps.append(Step(at, who, line))
