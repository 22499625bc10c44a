"""The process's budget of octets, as the listener asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mailer.accept.budget import ByteBudget, Hold
from mailer.accept.submission import SubmissionError
from mailer.listener import Busy


class Room:
    """What SMTP sessions hold counts together with what HTTP requests do."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget

    @contextmanager
    def hold(self) -> Iterator[_Share]:
        with self._budget.hold() as hold:
            yield _Share(hold)


class _Share:
    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    def grow_to(self, octets: int) -> None:
        """Raises Busy."""
        try:
            self._hold.grow_to(octets)
        except SubmissionError as error:
            raise Busy from error
