"""Which ceilings over time hold for a recipient: its site's, its provider's, its tenant's, its stream's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailer.policy.limits import Rate
from mailer.policy.sites import SiteRules


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A limit by the name under which all workers count.

    place  file and line of its rule, or for whom it was set
    """

    name: str
    rates: tuple[Rate, ...]
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """All that is limited over time.

    by_tenant, by_stream  what a tenant, or a stream, may send, by id
    by_newcomer           what a tenant may send while it is new, beside that
    """

    rules: SiteRules = field(default_factory=SiteRules)
    by_tenant: Mapping[int, Sequence[Rate]] = field(default_factory=dict)
    by_stream: Mapping[int, Sequence[Rate]] = field(default_factory=dict)
    by_newcomer: Mapping[int, Sequence[Rate]] = field(default_factory=dict)

    def over(self, *, tenant_id: int, stream_id: int, site: str, egress: str = "") -> tuple[Ceiling, ...]:
        """Those that hold for what a stream sends to a site from one of our addresses ("": the only one)."""
        return (*self.over_site(site, egress), *self._over_sender(tenant_id, stream_id))

    def over_site(self, site: str, egress: str = "") -> tuple[Ceiling, ...]:
        rule = self.rules.rule_of(site)
        if rule is None:
            return ()
        found = []
        if rule.rates:
            found.append(Ceiling(f"site:{egress}|{site}", rule.rates, rule.place))
        if rule.together:
            found.append(Ceiling(f"provider:{rule.name}", rule.together, rule.place))
        return tuple(found)

    def _over_sender(self, tenant_id: int, stream_id: int) -> tuple[Ceiling, ...]:
        found = []
        if of_tenant := self.by_tenant.get(tenant_id):
            found.append(Ceiling(f"tenant:{tenant_id}", tuple(of_tenant), "set for the tenant"))
        if of_newcomer := self.by_newcomer.get(tenant_id):
            found.append(Ceiling(f"newcomer:{tenant_id}", tuple(of_newcomer), "of a new tenant"))
        if of_stream := self.by_stream.get(stream_id):
            found.append(Ceiling(f"stream:{stream_id}", tuple(of_stream), "set for the stream"))
        return tuple(found)


def learnt(name: str, per_hour: float) -> Ceiling:
    """A rate that was found by trying. By the minute where that is a number, so that an hour's mail does not
    go out in a burst."""
    a_minute = int(per_hour / 60)
    rate = Rate(60, a_minute) if a_minute >= 10 else Rate(3600, max(1, int(per_hour)))
    return Ceiling(name, (rate,), "learnt")
