"""What this worker saw of greylisting, told to the database, and what all workers together learnt of it.

Noted in memory as attempts end; the lease thread tells the database about once a second and reads what
others learnt. Whoever judges a refusal reads without a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from mailer.policy import greylisting
from mailer.policy.disposition import is_greylisting
from mailer.policy.greylisting import Greylisted, Habit, Sighting
from mailer.policy.outcome import Accepted, Outcome, Refused
from mailer.policy.sites import SiteRules
from mailer.queue import greylists
from mailer.queue.claim import Claimed
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_LEARN_SECONDS = 5.0
_ANEW_SECONDS = 3600.0  # all is read again, so that what was forgotten goes
_OVERLAP = timedelta(minutes=5)  # others' commits and clocks may be that late
_IN_USE_SECONDS = 24 * 3600.0  # a site in use need not be told so more often
_MOST_SITES = 10_000
_MOST_SIGHTINGS = 100  # of one site; more would say the same


class GreylistBook:
    """`synchronise` by one thread, which may wait; the rest from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        rules: SiteRules | None = None,
    ) -> None:
        """rules: say what a refusal means; None: the shipped ones."""
        self._store = store
        self._judge = (rules or SiteRules()).judge
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, Habit] = {}
        self._seen: dict[str, list[Sighting]] = {}  # not yet told
        self._used: dict[str, float] = {}  # when it was told last that a site is in use
        self._learned_to: datetime | None = None
        self._learn_at = self._anew_at = 0.0

    def habit(self, site: str) -> Habit | None:
        """What a site's greylisting takes; None: nobody knows."""
        return self._known.get(site)

    def recalled(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        """The same, with where and when they were greylisted before. Raises StoreUnavailable."""
        met = greylists.met(self._store, [c.recipient_id for c in claimed if c.attempts])
        if not met:
            return claimed
        return [replace(c, greylisted=met[c.recipient_id]) if c.recipient_id in met else c for c in claimed]

    def note(self, claimed: Claimed, site: str, outcome: Outcome) -> None:
        """What an attempt says of the site's greylisting, if anything."""
        met = claimed.greylisted
        before = met if met is not None and met.site == site else None
        now = self._now()
        match outcome:
            case Accepted() if before is not None and not greylisting.is_too_old(before.first_at, now):
                until = before.last_at - before.first_at
                self._see(site, Sighting(now - before.first_at, True, until), now)
            case Refused():
                since = None if before is None else before.first_at
                if is_greylisting(self._judge(outcome, site), since, now):
                    self._see(site, _refused_again(before, now), now)
            case _:
                pass

    def _see(self, site: str, sighting: Sighting | None, now: datetime) -> None:
        with self._lock:
            if sighting is None:
                self._use(site)
                return
            if site not in self._seen and len(self._seen) >= _MOST_SITES:
                return
            told = self._seen.setdefault(site, [])
            if len(told) < _MOST_SIGHTINGS:
                told.append(sighting)
            # Here at once; what the others saw comes with the next look at the database.
            learnt = greylisting.learn(self._known.get(site), sighting, now)
            if learnt is not None:
                self._known[site] = learnt

    def _use(self, site: str) -> None:
        """A first refusal teaches nothing, but the memory is of use."""
        at = self._monotonic()
        if site in self._known and at - self._used.get(site, -_IN_USE_SECONDS) >= _IN_USE_SECONDS:
            self._used[site] = at
            self._seen.setdefault(site, [])

    # ---- the database --------------------------------------------------------------------------------

    def synchronise(self, now: datetime) -> None:
        """Tells what was seen and reads what is known; keeps it while the database is away."""
        with self._lock:
            seen, self._seen = self._seen, {}
        try:
            greylists.report(self._store, seen, now=now)
        except StoreUnavailable as error:
            _log.warning("greylists.not_told", sites=len(seen), error=str(error))
            self._put_back(seen)
            return
        if self._monotonic() < self._learn_at and not seen:
            return
        try:
            self._learn(now)
        except StoreUnavailable as error:
            _log.warning("greylists.not_read", error=str(error))

    def _put_back(self, seen: dict[str, list[Sighting]]) -> None:
        with self._lock:
            for site, sightings in seen.items():
                newer = self._seen.get(site, [])
                self._seen[site] = [*sightings, *newer][:_MOST_SIGHTINGS]

    def _learn(self, now: datetime) -> None:
        at = self._monotonic()
        self._learn_at = at + _LEARN_SECONDS
        anew = at >= self._anew_at
        if anew:
            greylists.forget(self._store, now=now)
        known = greylists.habits(self._store, since=None if anew else self._learned_to)
        self._learned_to = now - _OVERLAP
        with self._lock:
            if anew:
                self._anew_at = at + _ANEW_SECONDS
                self._used = {site: told for site, told in self._used.items() if site in known}
                self._known = known | {s: h for s, h in self._known.items() if s in self._seen}
                return
            # What was seen since it was told is not in what was read.
            self._known.update({s: h for s, h in known.items() if s not in self._seen})


def _refused_again(before: Greylisted | None, now: datetime) -> Sighting | None:
    return None if before is None else Sighting(now - before.first_at, False)
