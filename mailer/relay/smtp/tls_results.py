"""What became of TLS with hosts, counted as reports tell it (RFC 8460 §4.3, §4.4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mailer.policy.tls import Published

SUCCESS = "success"
_MOST = 100_000  # kinds of results kept until they are stored; more are a flood, not a report
_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class TlsResult:
    """One kind of session. day: UTC, "2026-11-24".

    result      SUCCESS, or the word of RFC 8460 §4.3 for what failed
    host        MX host name; "" where it did not come to one
    address     its IP address; "" where it was not dialled
    sending_ip  "" where it is not known
    reason      more about a failure, for people
    """

    day: str
    published: Published
    result: str
    host: str = ""
    address: str = ""
    sending_ip: str = ""
    reason: str = ""


class TlsResults(Protocol):
    """Called on the event loop, once a session: must not wait for anything."""

    def note(
        self,
        published: Published,
        result: str,
        *,
        host: str = "",
        address: str = "",
        sending_ip: str = "",
        reason: str = "",
    ) -> None: ...


class CountedResults:
    """Counts in memory until `taken`; safe from any thread."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: dict[TlsResult, int] = {}

    def note(
        self,
        published: Published,
        result: str,
        *,
        host: str = "",
        address: str = "",
        sending_ip: str = "",
        reason: str = "",
    ) -> None:
        day = self._now().date().isoformat()
        words = reason[:_REASON_CHARS].replace("\0", "?")  # a peer's, which PostgreSQL would not take
        kind = TlsResult(day, published, result, host, address, sending_ip, words)
        with self._lock:
            if kind in self._counts or len(self._counts) < _MOST:
                self._counts[kind] = self._counts.get(kind, 0) + 1

    def taken(self) -> Mapping[TlsResult, int]:
        """Sessions by their kind since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts

    def give_back(self, counts: Mapping[TlsResult, int]) -> None:
        """They could not be stored."""
        with self._lock:
            for kind, sessions in counts.items():
                self._counts[kind] = self._counts.get(kind, 0) + sessions
