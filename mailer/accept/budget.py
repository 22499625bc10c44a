"""Octets of messages being received that one process may hold at once, whatever door they come through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mailer.accept.submission import Fault, SubmissionError


class ByteBudget:
    """What all doors of a process hold together. Lives on one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.held_bytes = 0

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """A request's share, empty at first; given back when the block ends."""
        share = Hold(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.taken_bytes

    def take(self, octets: int) -> None:
        """Raises SubmissionError (BUSY): put off now rather than swapped out or killed later."""
        if self.held_bytes + octets > self._limit:
            raise SubmissionError(Fault.BUSY, "too many messages are being received at once; try again later")
        self.held_bytes += octets


class Hold:
    """What one request has taken of the budget."""

    __slots__ = ("_budget", "taken_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.taken_bytes = 0

    def grow_to(self, octets: int) -> None:
        """Raises SubmissionError (BUSY)."""
        if octets > self.taken_bytes:
            self._budget.take(octets - self.taken_bytes)
            self.taken_bytes = octets
