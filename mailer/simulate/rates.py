"""What several IPs learn of sites: the governor's records, and how many messages a turn may bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailer.policy import pace as learner
from mailer.policy.governor import Record, govern
from mailer.policy.sites import SiteRules
from mailer.simulate.hearing import Ear
from mailer.simulate.provider import Heard

_MOST_CONNECTIONS = 10


@dataclass(slots=True)
class _Place:
    """One IP at one site. credit: messages that its rate has earned since `credited_at`, in seconds."""

    ear: Ear
    record: Record = field(default_factory=Record)
    credit: float = 0.0
    credited_at: float = 0.0


class Rates:
    def __init__(self, sites: SiteRules) -> None:
        self._sites = sites
        self._places: dict[tuple[str, str], _Place] = {}

    def closed_until(self, ip: str, site: str, now: datetime) -> datetime | None:
        """Until when nothing leaves from there for the site; None: mail may, if only the one that asks."""
        pace = self._place(ip, site).record.pace
        if not pace.is_shut or pace.is_probe_due(now):
            return None
        return max((at for at in (pace.suspended_until, pace.probe_until) if at is not None), default=None)

    def leaves(self, ip: str, site: str, now: datetime) -> None:
        """A message does; if it is to ask, it is alone."""
        place = self._place(ip, site)
        if place.record.pace.is_shut:
            place.record = replace(place.record, pace=learner.probe(place.record.pace, now))

    def take(self, ip: str, site: str, wanted: int, now: float) -> int:
        """How many of so many messages may go now."""
        place = self._place(ip, site)
        pace = place.record.pace
        if pace.is_shut:
            return min(wanted, 1)
        if pace.rate is None:
            place.credit, place.credited_at = 0.0, now
            return wanted
        earned = (now - place.credited_at) * pace.rate / 3600.0
        place.credit, place.credited_at = min(place.credit + earned, pace.rate), now
        room = min(int(place.credit), wanted)
        place.credit -= room
        return room

    def learn(self, ip: str, site: str, heard: Sequence[Heard], now: datetime) -> None:
        """From what messages heard that were sent together."""
        place = self._place(ip, site)
        seen, _ = place.ear.sort(heard)
        most = self._sites.connections(site, _MOST_CONNECTIONS)
        place.record = govern(place.record, seen, now, most=most)

    def _place(self, ip: str, site: str) -> _Place:
        key = ip, site
        if key not in self._places:
            self._places[key] = _Place(Ear(self._sites, site))
        return self._places[key]
