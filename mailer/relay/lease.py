"""A worker's hold on its own incarnation: beats, and knows by its own clock how stale it is."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from mailer.queue import incarnations
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)


class Lease:
    """Fresh while the last renewal began less than half a lease ago.

    The sweeper fences after a whole lease without a beat, so a worker that acts only while fresh is
    never dead in the sweeper's eyes at that moment, unless it is stopped between check and act; then
    the journal's line, written before the check, tells.
    """

    def __init__(
        self, store: Store, incarnation_id: int, *, seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self.incarnation_id = incarnation_id
        self.seconds = seconds
        self._monotonic = monotonic
        self._renewed_at = monotonic()
        self.fenced = False

    def is_fresh(self) -> bool:
        return not self.fenced and self._monotonic() - self._renewed_at < self.seconds / 2

    def renew(self) -> None:
        """Beats once. A database that does not answer leaves the lease to grow stale."""
        began = self._monotonic()
        try:
            incarnations.beat(self._store, self.incarnation_id)
        except incarnations.Fenced:
            if not self.fenced:
                _log.error("worker.fenced", incarnation_id=self.incarnation_id)
            self.fenced = True
        except StoreUnavailable as error:
            _log.warning("worker.not_renewed", incarnation_id=self.incarnation_id, error=str(error))
        else:
            self._renewed_at = began
