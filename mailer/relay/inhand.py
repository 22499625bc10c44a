"""What a worker holds claimed at this moment, by place (policy/places.py); safe to use from its threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailer.policy.turns import NOBODY, Party

_SMOOTHING = 0.1
_NONE: tuple[None, Party, int] = (None, NOBODY, 0)


@dataclass(slots=True)
class _Place:
    messages: int = 0
    transaction_seconds: float = 0.05  # a guess until the first answer; corrected quickly
    of_party: dict[Party, int] = field(default_factory=dict)

    def drop(self, party: Party) -> None:
        self.messages -= 1
        left = self.of_party[party] - 1
        if left:
            self.of_party[party] = left
        else:
            del self.of_party[party]


class InHand:
    """Counts messages and octets from claim to settle, and how long a place's transactions take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = defaultdict(_Place)
        self._held: dict[int, tuple[str, Party, int]] = {}
        self._bytes = 0

    def add(self, held: Iterable[tuple[int, str, Party, int]]) -> None:
        """held: (attempt id, place, whose, octets) of what was just claimed."""
        with self._lock:
            for attempt_id, place, party, size in held:
                self._held[attempt_id] = (place, party, size)
                self._bytes += size
                known = self._places[place]
                known.messages += 1
                known.of_party[party] = known.of_party.get(party, 0) + 1

    def drop(self, attempt_ids: Iterable[int]) -> None:
        """These are settled."""
        with self._lock:
            for attempt_id in attempt_ids:
                place, party, size = self._held.pop(attempt_id, _NONE)
                if place is not None:
                    self._places[place].drop(party)
                    self._bytes -= size

    def took(self, attempt_id: int, seconds: float) -> None:
        """Learns how long a transaction at this attempt's place took."""
        with self._lock:
            place = self.place_of(attempt_id)
            if place is not None:
                known = self._places[place]
                known.transaction_seconds += _SMOOTHING * (seconds - known.transaction_seconds)

    def at(self, place: str) -> tuple[int, float]:
        """(messages in hand, average transaction seconds) at a place."""
        with self._lock:
            known = self._places.get(place)
            return (known.messages, known.transaction_seconds) if known else (0, 0.05)

    def of_party(self, party: Party, place: str) -> int:
        """Messages of one party in hand at a place."""
        with self._lock:
            known = self._places.get(place)
            return known.of_party.get(party, 0) if known else 0

    def forget(self, places: Iterable[str]) -> None:
        """Drops what was learnt about places with nothing in hand."""
        with self._lock:
            for name in places:
                known = self._places.get(name)
                if known is not None and not known.messages:
                    del self._places[name]

    def place_of(self, attempt_id: int) -> str | None:
        """The place an attempt was claimed for; None: it is not held."""
        return self._held.get(attempt_id, _NONE)[0]

    def attempts(self) -> frozenset[int]:
        """The attempts held now."""
        with self._lock:
            return frozenset(self._held)

    @property
    def messages(self) -> int:
        return len(self._held)

    @property
    def bytes(self) -> int:
        return self._bytes

    def by_place(self) -> Mapping[str, int]:
        with self._lock:
            return {name: s.messages for name, s in self._places.items() if s.messages}
