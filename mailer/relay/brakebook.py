"""Streams that the brake warns of or holds, as this worker knows them: their mail does not overflow.

What all processes counted together is judged elsewhere (queue/brake.py); here it is only read.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from mailer.queue import brake
from mailer.queue.braking import StreamKey
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_FRESH_SECONDS = 10.0  # it is judged once a minute


class BrakeBook:
    """`synchronise` by a thread that may wait, `is_marked` by the claimer's."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._marked: frozenset[StreamKey] = frozenset()
        self._read_at: float | None = None

    def synchronise(self) -> None:
        """Reads them anew every ten seconds; what was known stays in use while the database is away."""
        now = self._monotonic()
        if self._read_at is not None and now - self._read_at < _FRESH_SECONDS:
            return
        self._read_at = now
        try:
            self._marked = brake.marked(self._store)
        except StoreUnavailable as error:
            _log.warning("brake.not_read", error=str(error))

    def is_marked(self, tenant_id: int, stream_id: int) -> bool:
        return (tenant_id, stream_id) in self._marked
