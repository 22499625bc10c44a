"""What a worker knows of ceilings over time: which hold for a lane, and which have no room just now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mailer.policy.allowing import Ceiling, Ceilings
from mailer.policy.fairness import NOWHERE, ReadyLane
from mailer.policy.limits import Rate
from mailer.policy.sites import SiteRules
from mailer.queue import allowances
from mailer.queue.metering import Tolls
from mailer.store import Store

_FRESH_SECONDS = 2.0


class LimitBook:
    """Asked by the claimer's thread; `refresh` reads what was set for tenants and streams meanwhile."""

    def __init__(self, store: Store, rules: SiteRules, *, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._ceilings = Ceilings(rules=rules)
        self._read_at: float | None = None
        self._closed: dict[str, tuple[Sequence[Rate], float]] = {}

    def refresh(self, *, ahead: bool = False) -> None:
        """Raises StoreUnavailable. ahead: also what will soon be old."""
        now = self._monotonic()
        lasts = _FRESH_SECONDS / 2 if ahead else _FRESH_SECONDS
        if self._read_at is not None and now - self._read_at < lasts:
            return
        found = allowances.all_of(self._store)
        self._ceilings = replace(
            self._ceilings,
            by_tenant={a.subject_id: a.rates for a in found if a.subject == "tenant"},
            by_stream={a.subject_id: a.rates for a in found if a.subject == "stream"},
            by_newcomer={a.subject_id: a.rates for a in found if a.subject == "newcomer"},
        )
        self._closed = {name: kept for name, kept in self._closed.items() if kept[1] > now}
        self._read_at = now

    def sort(
        self, lanes: Iterable[ReadyLane], also: Callable[[ReadyLane], Sequence[Ceiling]]
    ) -> tuple[list[ReadyLane], Tolls | None]:
        """The lanes that no ceiling holds up at this moment, and the tolls of those that have some.

        A lane of a pool is asked about by IP.

        also  further ceilings of a lane
        """
        now = self._monotonic()
        rates: dict[str, Sequence[Rate]] = {}
        of_lane: dict[int, Sequence[str]] = {}
        of_way: dict[tuple[int, int], Sequence[str]] = {}
        free = []
        for lane in lanes:
            if lane.egress_id == NOWHERE:  # nothing of it is sent
                free.append(lane)
                continue
            ruled = self._ceilings.over(
                tenant_id=lane.tenant_id, stream_id=lane.stream_id, site=lane.site, egress=lane.egress
            )
            over = (*ruled, *also(lane))
            if any(self._is_closed(ceiling, now) for ceiling in over):
                continue
            free.append(lane)
            if over:
                names = [ceiling.name for ceiling in over]
                if lane.egress_id:
                    of_way[lane.lane_id, lane.egress_id] = names
                else:
                    of_lane[lane.lane_id] = names
                rates |= {ceiling.name: ceiling.rates for ceiling in over}
        if not rates:
            return free, None
        return free, Tolls(rates=rates, of_lane=of_lane, of_way=of_way, monotonic=self._monotonic)

    def is_closed(self, site: str, egress: str, also: Sequence[Ceiling]) -> bool:
        """Whether a ceiling leaves no room at a site for an IP of ours, whoever sends."""
        over = (*self._ceilings.over_site(site, egress), *also)
        now = self._monotonic()
        return any(self._is_closed(ceiling, now) for ceiling in over)

    def _is_closed(self, ceiling: Ceiling, now: float) -> bool:
        """It was found without room, and is still the same limit."""
        rates, opens_at = self._closed.get(ceiling.name, ((), 0.0))
        return opens_at > now and rates == ceiling.rates

    def learn(self, tolls: Tolls) -> None:
        """Until a ceiling that a claim found without room has some again, its lanes are let be."""
        self._closed |= {name: (tolls.rates[name], at) for name, at in tolls.closed.items()}

    def opens_in(self) -> float | None:
        """Seconds until the first of the ceilings that were found closed opens; None: all are open."""
        now = self._monotonic()
        times = [at - now for _, at in self._closed.values() if at > now]
        return min(times, default=None)
