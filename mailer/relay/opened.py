"""How many sessions this worker has open, told to the database about once a second, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from mailer.queue import opened
from mailer.queue.incarnations import Fenced
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)


class OpenSessions:
    """`see` by the event loop, `store` by a thread that may wait. Only what has changed is written."""

    def __init__(self, store: Store, me: int) -> None:
        self._store = store
        self._me = me
        self._seen: Mapping[str, int] = {}
        self._told: dict[str, int] = {}

    def see(self, sessions: Mapping[str, int]) -> None:
        """by site: those that are open now."""
        self._seen = dict(sessions)

    def store(self) -> None:
        """What could not be told is told the next time; of a fenced worker there is nothing to tell."""
        seen = self._seen
        changed = {
            site: seen.get(site, 0) for site in {*seen, *self._told} if seen.get(site) != self._told.get(site)
        }
        if not changed:
            return
        try:
            opened.report(self._store, self._me, changed)
        except StoreUnavailable as error:
            _log.warning("sessions.not_told", sites=len(changed), error=str(error))
        except Fenced:
            return  # the lease's thread finds out by itself
        else:
            self._told = dict(seen)
