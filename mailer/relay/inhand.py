"""What a worker holds claimed at this moment, by site; safe to use from its threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SMOOTHING = 0.1


@dataclass(slots=True)
class _Site:
    messages: int = 0
    transaction_seconds: float = 0.05  # a guess until the first answer; corrected quickly


class InHand:
    """Counts messages and octets from claim to settle, and how long a site's transactions take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sites: dict[str, _Site] = defaultdict(_Site)
        self._held: dict[int, tuple[str, int]] = {}
        self._bytes = 0

    def add(self, held: Iterable[tuple[int, str, int]]) -> None:
        """held: (attempt id, site, octets) of what was just claimed."""
        with self._lock:
            for attempt_id, site, size in held:
                self._held[attempt_id] = (site, size)
                self._bytes += size
                self._sites[site].messages += 1

    def drop(self, attempt_ids: Iterable[int]) -> None:
        """These are settled."""
        with self._lock:
            for attempt_id in attempt_ids:
                site, size = self._held.pop(attempt_id, (None, 0))
                if site is not None:
                    self._sites[site].messages -= 1
                    self._bytes -= size

    def took(self, attempt_id: int, seconds: float) -> None:
        """Learns how long a transaction at this attempt's site took."""
        with self._lock:
            site, _ = self._held.get(attempt_id, (None, 0))
            if site is not None:
                known = self._sites[site]
                known.transaction_seconds += _SMOOTHING * (seconds - known.transaction_seconds)

    def at(self, site: str) -> tuple[int, float]:
        """(messages in hand, average transaction seconds) at a site."""
        with self._lock:
            known = self._sites.get(site)
            return (known.messages, known.transaction_seconds) if known else (0, 0.05)

    def forget(self, sites: Iterable[str]) -> None:
        """Drops what was learnt about sites with nothing in hand."""
        with self._lock:
            for name in sites:
                known = self._sites.get(name)
                if known is not None and not known.messages:
                    del self._sites[name]

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

    def by_site(self) -> Mapping[str, int]:
        with self._lock:
            return {name: s.messages for name, s in self._sites.items() if s.messages}
