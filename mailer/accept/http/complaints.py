"""What becomes of a fault in a request: the first one refuses it, or a dry run collects them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

from mailer.accept.submission import SubmissionError

Complain = Callable[[SubmissionError], None]
_P = ParamSpec("_P")
_T = TypeVar("_T")


def stop(error: SubmissionError) -> NoReturn:
    """The first fault is the answer."""
    raise error


def tried(complain: Complain, read: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T | None:
    """What `read` makes of the given; None if it could not, and that was no reason to stop."""
    try:
        return read(*given, **named)
    except SubmissionError as error:
        complain(error)
        return None


class Complaints:
    """All faults of a request, in order, one for a place: what follows from a fault is none of its own."""

    def __init__(self) -> None:
        self.found: list[SubmissionError] = []
        self._places: set[str] = set()
        self._broken: set[str] = set()

    def __call__(self, error: SubmissionError) -> None:
        if _field(error.pointer or "") not in self._broken:
            self._add(error)

    def leave_out(self, error: SubmissionError) -> None:
        """The whole field is not there, for what follows."""
        self._add(error)
        self._broken.add(_field(error.pointer or ""))

    def has_left_out(self, field: str) -> bool:
        return field in self._broken

    def _add(self, error: SubmissionError) -> None:
        place = error.pointer or ""
        if place not in self._places:
            self._places.add(place)
            self.found.append(error.bare())


def _field(pointer: str) -> str:
    return pointer.split("/", 2)[1] if pointer else ""
