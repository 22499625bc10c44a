"""The hosts an attempt may offer its mail to, in the order of trying (RFC 5321 §5.1)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mailer.policy.egress import Egress
from mailer.policy.outcome import Unroutable
from mailer.policy.routing import Route
from mailer.policy.tls import ANYTHING, NOTHING_WANTED, Barred, Wanted
from mailer.relay.hosts import HostFinder, MxSet
from mailer.relay.smtp.session import Target
from mailer.relay.smtp.settings import Mode, SmtpSettings
from mailer.relay.smtp.tls_policies import Demands, TlsPolicies

_SHUNNED_SECONDS = 60.0
_MOST_SHUNNED = 10_000


@dataclass(frozen=True, slots=True)
class Choice:
    """A target and its preference; lower is tried first. barred: why it must not get this mail."""

    preference: int
    target: Target
    barred: Barred | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """choices in the order of trying; never empty."""

    site: str
    choices: tuple[Choice, ...]

    def leaving_from(self, egress: Egress | None) -> Plan:
        """The same, from there."""
        if egress is None:
            return self
        moved = (replace(c, target=replace(c.target, egress=egress)) for c in self.choices)
        return Plan(self.site, tuple(moved))

    @property
    def best(self) -> list[Target]:
        """The targets that are as good as the first one: a session to any of them will do."""
        first = self.choices[0].preference
        return [c.target for c in self.choices if c.preference == first and c.barred is None]


class Planner:
    """Routes first, then MX sets; hosts that could not be reached lately come last, whatever their
    preference (RFC 5321 §4.5.4.1 advises to remember them)."""

    def __init__(
        self,
        settings: SmtpSettings,
        finder: HostFinder,
        *,
        draw: Callable[[], float],
        monotonic: Callable[[], float],
        tls: TlsPolicies | None = None,
    ) -> None:
        """tls: what MX hosts must prove; None: nothing."""
        self._tls = tls
        self._settings = settings
        self._finder = finder
        self._draw = draw
        self._monotonic = monotonic
        self._by_route = {route: _route_plan(route) for route in settings.routes.routes}
        self._shunned: dict[str, float] = {}

    def site_of(self, domain: str) -> str | None:
        """The site by route or by the last look-up; no I/O, any thread."""
        route = self._settings.routes.match(domain)
        return route.site if route is not None else self._finder.known_site(domain)

    async def plan(self, domain: str, wanted: Wanted = NOTHING_WANTED) -> Plan | Unroutable:
        """wanted: what the sender wants of TLS with MX hosts."""
        route = self._settings.routes.match(domain)
        if route is not None:
            return self._by_route[route]
        if self._settings.mode is Mode.SANDBOX:
            return Unroutable("4.4.4", f"sandbox: no route for {domain}, and no MX is looked up")
        found = await self._finder.find(domain)
        if isinstance(found, Unroutable):
            return found
        return self._mx_plan(found, await self._tls.demands(domain, found, wanted) if self._tls else {})

    async def addresses(self, target: Target) -> Sequence[str] | Unroutable:
        """Where a target can be dialled, recently unreachable addresses last."""
        if target.from_route:
            found = await _system_addresses(target)
        else:
            found = await self._finder.addresses(target.host)
        return found if isinstance(found, Unroutable) else sorted(found, key=self._is_shunned)

    def shun(self, target: Target, address: str) -> None:
        """This address could not be reached: others first for a minute."""
        until = self._monotonic() + _SHUNNED_SECONDS
        for name in (target.host, address):
            self._shunned.pop(name, None)
            while len(self._shunned) >= _MOST_SHUNNED:
                del self._shunned[next(iter(self._shunned))]
            self._shunned[name] = until

    def welcome(self, target: Target, address: str) -> None:
        """It was reached."""
        if self._shunned:
            self._shunned.pop(target.host, None)
            self._shunned.pop(address, None)

    def _is_shunned(self, name: str) -> bool:
        return self._shunned.get(name, 0.0) > self._monotonic()

    def _mx_plan(self, found: MxSet, demands: Demands) -> Plan:
        """Equal preferences in random order, to spread the load (RFC 5321 §5.1)."""
        keyed = [
            (self._is_shunned(x.host), x.preference, self._draw() if len(found.exchanges) > 1 else 0.0, x)
            for x in found.exchanges
        ]
        keyed.sort(key=lambda k: k[:3])
        return Plan(
            found.site,
            tuple(self._choice(preference, x.host, demands) for _, preference, _, x in keyed),
        )

    def _choice(self, preference: int, host: str, demands: Demands) -> Choice:
        demand = demands.get(host, ANYTHING)
        if isinstance(demand, Barred):
            return Choice(preference, Target(host, self._settings.port), demand)
        return Choice(preference, Target(host, self._settings.port, demand=demand))


def _route_plan(route: Route) -> Plan:
    target = Target(route.host, route.port, route.tls, route.username, route.password, from_route=True)
    return Plan(route.site, (Choice(0, target),))


async def _system_addresses(target: Target) -> Sequence[str] | Unroutable:
    """A smart host is named by the operator: /etc/hosts counts, and any address may be dialled."""
    try:
        return [str(ipaddress.ip_address(target.host))]
    except ValueError:
        pass  # a name, then
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return Unroutable("4.4.3", f"the smart host {target.host} has no address: {error}")
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
