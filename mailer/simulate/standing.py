"""What a provider thinks of an IP: how much more it sends than before, whether to people that there are, and
how they take it.

A day on which an IP goes beyond what the provider expects of it, by one of the three, costs it its standing
for a time: all its mail is refused, and for twice as long where that was so within the last week.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.simulate.behaviour import Answer, Hours, Moment

DAY = 86_400.0
_MEMORY_DAYS = 30
_AGAIN_WITHIN = 7 * DAY
_MOST_DOUBLINGS = 4
_LEAST_ANSWERS = 50  # fewer tell nothing of a list
_LEAST_COMPLAINTS = 3
_BY_CHANCE = 3.0  # standard deviations


@dataclass(slots=True)
class _Book:
    """What is known of one IP. best: taken on the days of its memory, by number."""

    day: int = 0
    taken: int = 0
    unknown: int = 0
    complained: int = 0
    best: dict[int, int] = field(default_factory=dict)
    lost_until: float = float("-inf")
    losses: int = 0


@dataclass(slots=True, kw_only=True)
class Standing:
    """free        messages a day that it takes of anybody
    growth      so many times its best day of the last 30 an IP may send
    unknown     part of its mail that may go to unknown recipients
    complaints  part of what was taken that may be complained about
    lasts       seconds
    shift       seconds by which its day begins after the script's
    """

    free: int
    growth: float
    unknown: float
    complaints: float
    lasts: float
    shift: float
    phase: Phase
    reply: Reply
    hours: Hours
    is_limit: bool = False
    _books: dict[str, _Book] = field(default_factory=dict)

    def introduce(self, ip: str, per_day: int, now: float) -> None:
        """It has been sent so much a day by that IP for long."""
        book = self._book(ip, now)
        book.best = {book.day - back: per_day for back in range(1, _MEMORY_DAYS + 1)}

    def room(self, ip: str, now: float) -> int | None:
        """Messages that would be taken now without a thought; None: the IP has no standing."""
        book = self._book(ip, now)
        if now < book.lost_until:
            return None
        return max(self._expected(book) - book.taken, 0)

    def answer(self, at: Moment) -> Answer | None:
        if at.phase is not self.phase or not self.hours.hold(at.now):
            return None
        return self.reply if at.now < self._book(at.ip, at.now).lost_until else None

    def accepted(self, ip: str, now: float, count: int) -> None:
        book = self._book(ip, now)
        book.taken += count
        if book.taken > self._expected(book):
            self._lose(book, now)

    def unknown_asked(self, ip: str, now: float, count: int) -> None:
        """So many recipients that there are not were asked for."""
        book = self._book(ip, now)
        book.unknown += count
        answers = book.unknown + book.taken
        if answers >= _LEAST_ANSWERS and _is_over(book.unknown, self.unknown * answers):
            self._lose(book, now)

    def complained(self, ip: str, now: float, count: int) -> None:
        """So many people complained."""
        book = self._book(ip, now)
        book.complained += count
        if book.complained >= _LEAST_COMPLAINTS and _is_over(book.complained, self.complaints * book.taken):
            self._lose(book, now)

    def _book(self, ip: str, now: float) -> _Book:
        book = self._books.setdefault(ip, _Book(day=self._day(now)))
        today = self._day(now)
        if today > book.day:
            book.best[book.day] = book.taken
            book.best = {day: n for day, n in book.best.items() if day >= today - _MEMORY_DAYS}
            book.day, book.taken, book.unknown, book.complained = today, 0, 0, 0
        return book

    def _day(self, now: float) -> int:
        return int((now - self.shift) // DAY)

    def _expected(self, book: _Book) -> int:
        return max(self.free, int(self.growth * max(book.best.values(), default=0)))

    def _lose(self, book: _Book, now: float) -> None:
        if now < book.lost_until or not self.hours.hold(now):
            return
        book.losses = book.losses + 1 if now - book.lost_until < _AGAIN_WITHIN else 0
        book.lost_until = now + self.lasts * 2 ** min(book.losses, _MOST_DOUBLINGS)


def _is_over(count: int, expected: float) -> bool:
    """By more than chance: four unknown recipients of fifty tell nothing of a list with one in a hundred."""
    return count > expected + _BY_CHANCE * math.sqrt(expected)
