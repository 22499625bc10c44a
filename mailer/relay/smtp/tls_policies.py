"""What the MX hosts of a domain must prove, from what the DNS, the web and our own rules say of them.

Asked once a message, so what was found is kept for half a minute; the look-ups have caches of their own.
Once other rules are in force the MX set is another object, and what was found for the old one is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mailer import clock
from mailer.policy.sites import SiteRules
from mailer.policy.tls import (
    NOTHING_WANTED,
    Barred,
    Demand,
    Facts,
    TlsaFound,
    Wanted,
    Wish,
    demand_of,
    strictest,
)
from mailer.relay.hosts import MxSet
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.sts import StsFinder
from mailer.relay.smtp.tls import RecentTls, TlsContexts, TlsMemory
from mailer.relay.smtp.tls_results import CountedResults, TlsResults

_KEPT_SECONDS = 30.0
_MOST = 20_000

Demands = Mapping[str, Demand | Barred]  # by MX host


@dataclass(frozen=True, slots=True)
class _Kept:
    found: MxSet
    until: float
    demands: Demands


class TlsPolicies:
    """Lives on one event loop; `close` ends it."""

    def __init__(
        self,
        sts: StsFinder,
        dane: DaneFinder,
        rules: SiteRules,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._sts = sts
        self._dane = dane
        self._rules = rules
        self._monotonic = monotonic
        self._kept: dict[tuple[str, Wanted], _Kept] = {}

    async def demands(self, domain: str, found: MxSet, wanted: Wanted) -> Demands:
        """By host of `found`, the MX set of `domain`. Nothing the network or a server does raises."""
        kept = self._kept.get((domain, wanted))
        if kept is not None and kept.found is found and kept.until > self._monotonic():
            return kept.demands
        demands = await self._demands(domain, found, wanted)
        while len(self._kept) >= _MOST:
            self._kept.pop(next(iter(self._kept)))
        self._kept[domain, wanted] = _Kept(found, self._monotonic() + _KEPT_SECONDS, demands)
        return demands

    async def close(self) -> None:
        """Ends what is being fetched."""
        await self._sts.close()

    async def _demands(self, domain: str, found: MxSet, wanted: Wanted) -> Demands:
        hosts = [exchange.host for exchange in found.exchanges]
        of_domain = Wanted(self._rules.tls_of(domain), "domain-rule")
        wants = {host: strictest((wanted, of_domain, self._by_rule(host))) for host in hosts}
        if all(want.wish is Wish.OPTIONAL for want in wants.values()):
            # Nothing that could be found matters, and a fetch that fails would be counted for a report: of
            # the very mail that bears the last one, too (RFC 8460 §5.3).
            facts = Facts(domain=domain, sts=None, is_mx_secure=found.is_secure)
            return {host: demand_of(host, None, facts, want) for host, want in wants.items()}
        sts, records = await asyncio.gather(
            self._sts.of(domain), self._tlsa(hosts if found.is_secure else ())
        )
        facts = Facts(domain=domain, sts=sts, is_mx_secure=found.is_secure)
        return {host: demand_of(host, records.get(host), facts, want) for host, want in wants.items()}

    async def _tlsa(self, hosts: Sequence[str]) -> Mapping[str, TlsaFound]:
        """Only for a secure MX set: whoever can forge that need not forge TLSA records (RFC 7672 §2.2.1)."""
        return dict(zip(hosts, await asyncio.gather(*map(self._dane.of, hosts)), strict=True))

    def _by_rule(self, host: str) -> Wanted:
        rule = self._rules.provider_of(host)
        return NOTHING_WANTED if rule is None else Wanted(Wish(rule.tls or ""), "provider-rule")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsParts:
    """What a carrier has for TLS.

    policies  what MX hosts must prove; None: nothing beside what messages come with
    results   counts what became of it
    """

    memory: TlsMemory = field(default_factory=RecentTls)
    contexts: TlsContexts = field(default_factory=TlsContexts)
    policies: TlsPolicies | None = None
    results: TlsResults = field(default_factory=partial(CountedResults, clock.now))
