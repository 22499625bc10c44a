"""Ceilings over time: so many in any second, minute, hour or day, wherever the window is laid.

A token is granted at one instant and spent, at a peer, at another. Each has a spell in which it may be
spent and is forfeited after it, so what was spent in a window was granted in a window a little longer,
and that one is held under the ceiling. What is lost by it is under-use, never excess:

    second         tokens are spaced, each to be spent at its own tenth of a second: 91 % of the ceiling
    minute         kept by half-seconds, to be spent within 3 seconds: 94 %
    hour, day      kept by 30 s and 10 min, to be spent within a minute: 97 % and 98 %

What is spent as it is granted, as at the doors, is counted by fiftieths of the window: 98 % (`tally`).

Times are whole microseconds of one clock, the database's, and never of a worker's. A clock that is set
back counts on from where it was, and where that is more than a window, as if it had come there now.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SECOND = 1_000_000
WINDOWS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_SHORT = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400} | WINDOWS
_RATE = re.compile(r"(\d{1,9})\s*/\s*([a-z]+)")
_WORD = {seconds: word for word, seconds in WINDOWS.items()}
_MOST = 1_000_000_000

_SLACK = 0.1  # seconds in which a token of a rate by the second may be spent


class LimitError(ValueError):
    """A limit that cannot be read; the text is one sentence."""


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """At most `count` in any window of `seconds`: 1, 60, 3600 or 86400."""

    seconds: int
    count: int

    def __post_init__(self) -> None:
        if self.seconds not in _WORD:
            raise LimitError(f"a window is a second, minute, hour or day, not {self.seconds} s")
        if not 1 <= self.count <= _MOST:
            raise LimitError(f"a limit is a number from 1 to {_MOST}, not {self.count}")

    @classmethod
    def parse(cls, text: str) -> Rate:
        """ "100/h", "5/s", "20/min", "10000/day". Raises LimitError."""
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or match[2] not in _SHORT:
            raise LimitError(f"{text!r} must be a number, / and s, min, h or d, as in 100/h")
        return cls(_SHORT[match[2]], int(match[1]))

    def __str__(self) -> str:
        return f"{self.count}/{self.window}"

    @property
    def window(self) -> str:
        """second | minute | hour | day"""
        return _WORD[self.seconds]

    @property
    def at_once(self) -> int:
        """Tokens that one lease holds: a second's, or one where it is less."""
        return max(1, self.count // self.seconds)


@dataclass(frozen=True, slots=True)
class Spell:
    """When a token may be spent: from <= t <= until, microseconds."""

    begins: int
    ends: int


ANY_TIME = Spell(0, 1 << 62)


def both(a: Spell, b: Spell) -> Spell:
    return Spell(max(a.begins, b.begins), min(a.ends, b.ends))


class Meter(Protocol):
    """What was granted of one rate, and what may be granted now.

    moved  its state differs from what was kept although nothing was taken
    """

    moved: bool

    def room(self, now: int) -> int:
        """Tokens that may be taken at `now`, at most a lease of them."""
        ...

    def take(self, count: int, now: int) -> list[Spell]:
        """Takes `count` tokens, no more than `room` says; when each may be spent."""
        ...

    def opens_at(self, now: int) -> int:
        """When there is room again; `now` while there is."""
        ...

    def used(self, now: int) -> int:
        """Tokens granted that count at `now`."""
        ...

    def state(self) -> Any:
        """As it is kept, JSON."""
        ...


def meter(rate: Rate, state: Any = None) -> Meter:
    """The meter of a rate, from the state that was kept of it. None: nothing was granted yet."""
    if rate.seconds == 1:
        return _Paced(rate, state)
    return Counted(rate, state, grain=_GRAINS[rate.seconds], lease=rate.at_once)


def tally(rate: Rate, state: Any = None) -> Counted:
    """As `meter`, of tokens that are spent at the instant they are granted, as many at once as there are."""
    return Counted(rate, state, grain=_Grain(rate.seconds * SECOND // _PARTS, 0), lease=rate.count)


class _Paced:
    """One token after the other, a fixed time apart (GCRA without burst); granted a second ahead at most.

    Spent within _SLACK of its turn: the tokens spent in a second had their turns in 1 + _SLACK seconds,
    and no more turns than the rate's count lie in so many.
    """

    def __init__(self, rate: Rate, state: Any) -> None:
        self._rate = rate
        self._apart = math.ceil(SECOND * (1 + _SLACK) / rate.count)
        self._next: int = 0 if state is None else int(state)
        self.moved = False

    def room(self, now: int) -> int:
        ahead = now + SECOND - max(self._next, now)
        return 0 if ahead <= 0 else min(self._rate.at_once, math.ceil(ahead / self._apart))

    def take(self, count: int, now: int) -> list[Spell]:
        first = max(self._next, now)
        turns = [first + i * self._apart for i in range(count)]
        self._next = first + count * self._apart
        return [Spell(turn, turn + int(_SLACK * SECOND)) for turn in turns]

    def opens_at(self, now: int) -> int:
        return max(now, self._next - SECOND + 1)

    def used(self, now: int) -> int:
        return max(0, math.ceil((self._next - now) / self._apart))

    def state(self) -> Any:
        return self._next


@dataclass(frozen=True, slots=True)
class _Grain:
    """slot: how finely grants are kept; life: how long a token may be spent. Microseconds."""

    slot: int
    life: int


_PARTS = 50  # of a window, by which what is spent at once is counted
_GRAINS = {
    60: _Grain(SECOND // 2, 3 * SECOND),
    3600: _Grain(30 * SECOND, 60 * SECOND),
    86400: _Grain(600 * SECOND, 60 * SECOND),
}


class Counted:
    """Grants by slot of time. What is spent in a window was granted in so many slots as the window and a
    token's life can touch, and no more than the rate's count is granted in so many.

    lease  most tokens that are taken at once
    """

    def __init__(self, rate: Rate, state: Any, *, grain: _Grain, lease: int) -> None:
        self._rate = rate
        self._lease = lease
        self._slot, self._life = grain.slot, grain.life
        self._slots = math.ceil((rate.seconds * SECOND + grain.life) / grain.slot) + 1
        self._granted: dict[int, int] = {int(slot): int(n) for slot, n in state or ()}
        self.moved = False

    def _slot_at(self, now: int) -> int:
        """Never before the last one that is known."""
        return max([now // self._slot, *self._granted])

    def _counting(self, now: int) -> dict[int, int]:
        """The grants that still count.

        Those of a clock that was ahead by more than a window count as if the last one were granted now: they
        would else forbid everything until the clock is there again, which may be a year.
        """
        ahead = max(self._granted, default=0) - now // self._slot
        if ahead > self._slots:
            self._granted = {slot - ahead: n for slot, n in self._granted.items()}
            self.moved = True
        oldest = self._slot_at(now) - self._slots
        return {slot: n for slot, n in self._granted.items() if slot > oldest}

    def used(self, now: int) -> int:
        return sum(self._counting(now).values())

    def room(self, now: int) -> int:
        return max(0, min(self._lease, self._rate.count - self.used(now)))

    def take(self, count: int, now: int) -> list[Spell]:
        self._granted = self._counting(now)
        slot = self._slot_at(now)
        self._granted[slot] = self._granted.get(slot, 0) + count
        return [Spell(0, now + self._life)] * count

    def give_back(self, count: int, now: int) -> None:
        """Of what was taken at this very `now`, and not spent."""
        self._granted[self._slot_at(now)] -= count

    def opens_at(self, now: int, wanted: int = 1) -> int:
        """When there is room for `wanted` tokens, no more than the rate's count."""
        counting = self._counting(now)
        excess = sum(counting.values()) - self._rate.count + wanted
        at = now
        for slot in sorted(counting):
            if excess <= 0:
                break
            excess -= counting[slot]
            at = max(now, (slot + self._slots) * self._slot)
        return at

    def state(self) -> Any:
        return sorted(self._granted.items())


def read_rates(values: Mapping[str, Any], prefix: str = "messages_per_") -> tuple[Rate, ...]:
    """The rates among `values`, by the names of their windows: messages_per_hour = 500. Raises LimitError."""
    rates = []
    for word, seconds in WINDOWS.items():
        count = values.get(prefix + word)
        if count is None:
            continue
        if not isinstance(count, int) or isinstance(count, bool):
            raise LimitError(f"{prefix}{word} must be a whole number")
        try:
            rates.append(Rate(seconds, count))
        except LimitError as error:
            raise LimitError(f"{prefix}{word}: {error}") from None
    return tuple(rates)


def as_values(rates: Sequence[Rate], prefix: str = "messages_per_") -> dict[str, int]:
    """The reverse of `read_rates`."""
    return {prefix + _WORD[rate.seconds]: rate.count for rate in sorted(rates)}
