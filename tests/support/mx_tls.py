"""A carrier in live mode whose MX hosts are all on loopback, and what is known of their TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from mailer import clock
from mailer.policy.outcome import Unroutable
from mailer.policy.sites import SiteRules
from mailer.policy.tls import TlsaFound
from mailer.policy.tls_dane import Tlsa
from mailer.policy.tls_sts import StsMode, StsPolicy
from mailer.relay.hosts import Exchange, MxSet
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.settings import Mode
from mailer.relay.smtp.sts import StsFinder
from mailer.relay.smtp.tls import RecentTls, TlsContexts
from mailer.relay.smtp.tls_policies import TlsParts, TlsPolicies
from mailer.relay.smtp.tls_results import CountedResults
from tests.support.chains import Holder, trusting
from tests.support.smtp_client import NotedJournal, settings

MX = "mx.example.net"


@dataclass
class World:
    """What the DNS and the web would say. The MX set of every domain is `hosts`, the best one first.

    elsewhere         by host, where it is; others are at 127.0.0.1
    tlsa, unanswered  by host: its secure records, and why there is no answer
    sts               by domain
    """

    hosts: Sequence[str] = (MX,)
    elsewhere: dict[str, tuple[str, ...] | Unroutable] = field(default_factory=dict)
    is_secure: bool = True
    tlsa: dict[str, Sequence[Tlsa]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    sts: dict[str, StsPolicy] = field(default_factory=dict)
    rules: SiteRules = field(default_factory=SiteRules)
    results: CountedResults = field(default_factory=lambda: CountedResults(clock.now))
    memory: RecentTls = field(default_factory=RecentTls)
    sets: dict[str, MxSet] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # domains whose MTA-STS policy was asked for

    async def find(self, domain: str) -> MxSet | Unroutable:
        found = tuple(Exchange(10 * n, host) for n, host in enumerate(self.hosts, 1))
        return self.sets.setdefault(domain, MxSet(f"mx:{self.hosts[0]}", found, self.is_secure))

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        return self.elsewhere.get(host, ("127.0.0.1",))

    def known_site(self, domain: str) -> str | None:
        return None

    @property
    def counted(self) -> dict[tuple[str, str, str], int]:
        """Sessions by policy type, recipient domain and result."""
        found: dict[tuple[str, str, str], int] = {}
        for kind, sessions in self.results.taken().items():
            key = (str(kind.published.type), kind.published.recipient, kind.result)
            found[key] = found.get(key, 0) + sessions
        return found


class _Sts:
    def __init__(self, world: World) -> None:
        self._world = world

    async def of(self, domain: str) -> StsPolicy | None:
        self._world.asked.append(domain)
        return self._world.sts.get(domain)

    async def close(self) -> None:
        """Nothing is fetched."""


class _Dane:
    def __init__(self, world: World) -> None:
        self._world = world

    async def of(self, host: str) -> TlsaFound:
        if host in self._world.unanswered:
            return TlsaFound(host, failure=self._world.unanswered[host])
        records = tuple(self._world.tlsa.get(host, ()))
        return TlsaFound(host, records, is_secure=bool(records))


def policy(mode: StsMode = StsMode.ENFORCE, mx: str = MX) -> StsPolicy:
    return StsPolicy(mode=mode, mx=(mx,), max_age=86400, lines=("version: STSv1", f"mode: {mode}"))


@asynccontextmanager
async def carrier_in(world: World, port: int, *roots: Holder, **more: Any) -> AsyncIterator[SmtpCarrier]:
    """roots: who is trusted as the web's authorities are."""
    policies = TlsPolicies(cast(StsFinder, _Sts(world)), cast(DaneFinder, _Dane(world)), world.rules)
    parts = TlsParts(
        memory=world.memory, contexts=TlsContexts(trusting(*roots)), policies=policies, results=world.results
    )
    carrier = SmtpCarrier(settings(mode=Mode.LIVE, port=port, **more), world, NotedJournal(), tls=parts)
    try:
        yield carrier
    finally:
        await carrier.close(grace_seconds=0)
