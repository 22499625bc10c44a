"""The memory of who speaks TLS, and who fails at BDAT, which all workers and restarts share by the database.

The event loop reads and notes in memory only; a worker thread stores the notes and reads those of the
others from time to time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from mailer.queue import tlshosts
from mailer.queue.tlshosts import TlsHost
from mailer.relay.smtp.tls import REMEMBERED, RecentTls
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_REFRESH_SECONDS = 60.0
_SEEN_AGAIN_SECONDS = 24 * 3600.0  # a host seen today need not be stored again for each session


class StoredTls:
    """Implements relay.smtp.tls.TlsMemory. `synchronise` is called by one thread that may wait."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._memory = RecentTls()
        self._lock = threading.Lock()
        self._notes: dict[str, TlsHost] = {}
        self._bdat_notes: dict[str, datetime] = {}
        self._stored: dict[str, datetime] = {}
        self._refresh_at = 0.0

    def seen_with_tls(self, host: str, now: datetime) -> bool:
        return self._memory.seen_with_tls(host, now)

    def failed_before(self, host: str, now: datetime) -> bool:
        return self._memory.failed_before(host, now)

    def note_tls(self, host: str, now: datetime) -> None:
        had_failed = self._memory.failed_before(host, now)
        self._memory.note_tls(host, now)
        last = self._stored.get(host)
        if had_failed or last is None or (now - last).total_seconds() >= _SEEN_AGAIN_SECONDS:
            self._stored[host] = now
            with self._lock:
                self._notes[host] = TlsHost(seen_at=now, failed_at=None)

    def note_failure(self, host: str, now: datetime) -> None:
        self._memory.note_failure(host, now)
        with self._lock:
            self._notes[host] = TlsHost(seen_at=None, failed_at=now)

    def bdat_failed_before(self, host: str, now: datetime) -> bool:
        return self._memory.bdat_failed_before(host, now)

    def note_bdat_failure(self, host: str, now: datetime) -> None:
        self._memory.note_bdat_failure(host, now)
        with self._lock:
            self._bdat_notes[host] = now

    def synchronise(self, now: datetime) -> None:
        """Stores what was noted and learns what others noted; keeps its notes while the database is away."""
        with self._lock:
            notes, self._notes = self._notes, {}
            bdat_notes, self._bdat_notes = self._bdat_notes, {}
        try:
            tlshosts.note(self._store, notes)
            tlshosts.note_bdat(self._store, bdat_notes)
        except StoreUnavailable as error:
            _log.warning("tls_memory.not_stored", hosts=len(notes), error=str(error))
            with self._lock:
                self._notes = notes | self._notes
                self._bdat_notes = bdat_notes | self._bdat_notes
            return
        if self._monotonic() >= self._refresh_at:
            self._refresh_at = self._monotonic() + _REFRESH_SECONDS
            self._learn(now)

    def _learn(self, now: datetime) -> None:
        try:
            known = tlshosts.recent(self._store, since=now - REMEMBERED)
        except StoreUnavailable as error:
            _log.warning("tls_memory.not_read", error=str(error))
            return
        for host, facts in known.items():
            if facts.seen_at is not None and not self._memory.seen_with_tls(host, now):
                self._memory.note_tls(host, facts.seen_at)
            if facts.failed_at is not None and not self._memory.failed_before(host, now):
                self._memory.note_failure(host, facts.failed_at)
            if facts.bdat_failed_at is not None and not self._memory.bdat_failed_before(host, now):
                self._memory.note_bdat_failure(host, facts.bdat_failed_at)
