"""Ids are 63-bit and sort by time: milliseconds (41 bits), process number (10), counter (12).

The process number is leased from the database, so two processes never make the same id. Small
integers keep index pages small, and a return-path token of an id and a MAC fits 30 octets.
For people an id is shown with the kind in front: msg_01hq3k..., in Crockford's base32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

EPOCH_MS = 1_704_067_200_000  # 2024-01-01; 41 bits last until 2093
PROCESS_NUMBERS = 1 << 10
_PER_MS = 1 << 12
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE = {c: i for i, c in enumerate(_ALPHABET)} | {"i": 1, "l": 1, "o": 0}
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_SHIFTS = (50, 40, 30, 20, 10, 0)
_LENGTH = 13


class MalformedId(ValueError):
    """The text is not an id of the wanted kind."""


class IdMaker:
    """Makes ids for one process; safe to call from any thread.

    The time part never goes back, also when the wall clock does.
    """

    def __init__(self, process_number: int, wall_ms: Callable[[], int]) -> None:
        if not 0 <= process_number < PROCESS_NUMBERS:
            raise ValueError(f"process number must lie in 0..{PROCESS_NUMBERS - 1}, got {process_number}")
        self._process = process_number << 12
        self._wall_ms = wall_ms
        self._last_ms = 0
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            ms = self._wall_ms() - EPOCH_MS
            if ms > self._last_ms:
                self._last_ms, self._count = ms, 0
            else:
                self._count += 1
                if self._count == _PER_MS:
                    # Borrow from the future rather than wait: 4,096 ids a millisecond are
                    # only passed in bursts, and the clock catches up at once.
                    self._last_ms, self._count = self._last_ms + 1, 0
            return self._last_ms << 22 | self._process | self._count


def first_id_at(ms: int) -> int:
    """The smallest id that any process could make at `ms` milliseconds since 1970."""
    return max(0, ms - EPOCH_MS) << 22


def made_ms(value: int) -> int:
    """Milliseconds since 1970 at which an id was made, by its maker's clock."""
    return (value >> 22) + EPOCH_MS


def show(kind: str, value: int) -> str:
    """`show("msg", 5)` is "msg_0000000000005"."""
    # Two digits at a time: an acceptance shows several ids, and this is most of what that costs.
    digits = "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
    return f"{kind}_{_ALPHABET[value >> 60]}{digits}"


def parse(kind: str, text: str) -> int:
    """The id behind `text`; raises MalformedId."""
    head, _, digits = text.partition("_")
    if head != kind or len(digits) != _LENGTH:
        raise MalformedId(f"not a {kind}_ id")
    value = 0
    for c in digits.lower():
        if c not in _VALUE:
            raise MalformedId(f"not a {kind}_ id")
        value = value * 32 + _VALUE[c]
    if value >= 1 << 63:
        raise MalformedId(f"not a {kind}_ id")
    return value
