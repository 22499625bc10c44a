"""Where a domain's mail goes: the MX look-up of RFC 5321 §5.1, cached and coalesced."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar, cast

import dns.rdatatype
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from mailer import clock
from mailer.outward import addresses
from mailer.policy.outcome import Unroutable
from mailer.policy.sites import SiteRules
from mailer.relay.smtp.lookup import Found, Lookup, NoAnswer, Nothing

_SHORTEST_SECONDS = 1.0  # a TTL of 0 would ask once a message in a burst
_LONGEST_SECONDS = 3600.0
_LONGEST_NEGATIVE_SECONDS = 300.0
_FAILURE_SECONDS = 15.0  # RFC 2308 §7.1 allows up to five minutes for a server failure
_MOST_CACHED = 20_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One host of an MX set. preference: lower is tried first (RFC 5321 §5.1)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class MxSet:
    """The hosts that take a domain's mail, by preference then name, and the site they make up.

    is_secure  DNSSEC proves that these are the domain's hosts
    edition    of the rules that the site is by
    """

    site: str
    exchanges: tuple[Exchange, ...]
    is_secure: bool = False
    edition: object = field(default=None, compare=False, repr=False)


class HostFinder(Protocol):
    """What the carrier asks; both never raise for what the DNS does."""

    async def find(self, domain: str) -> MxSet | Unroutable: ...

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable: ...

    def known_site(self, domain: str) -> str | None: ...


_V = TypeVar("_V")


class Cache(Generic[_V]):
    """Values with a time to live; one look-up at a time for a key. `peek` may be called by any thread."""

    def __init__(self, monotonic: Callable[[], float], most: int = _MOST_CACHED) -> None:
        self._monotonic = monotonic
        self._most = most
        self._held: dict[str, tuple[float, _V]] = {}
        self._asking: dict[str, asyncio.Task[_V]] = {}

    def peek(self, key: str) -> _V | None:
        """What was last found, however old."""
        entry = self._held.get(key)
        return entry[1] if entry else None

    def forget(self, key: str) -> None:
        """The next one who asks looks it up."""
        self._held.pop(key, None)

    def exchange(self, key: str, value: _V) -> None:
        """Keeps `value` instead for the rest of the time; on the event loop only."""
        entry = self._held.get(key)
        if entry is not None:
            self._held[key] = (entry[0], value)

    async def get(self, key: str, look_up: Callable[[str], Awaitable[tuple[_V, float]]]) -> _V:
        entry = self._held.get(key)
        if entry is not None and entry[0] > self._monotonic():
            return entry[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._fill(key, look_up))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: one caller that gives up does not take the answer from the others.
        return await asyncio.shield(task)

    async def _fill(self, key: str, look_up: Callable[[str], Awaitable[tuple[_V, float]]]) -> _V:
        value, seconds = await look_up(key)
        self._held.pop(key, None)  # so that it moves to the young end
        while len(self._held) >= self._most:
            self._held.pop(next(iter(self._held)), None)
        self._held[key] = (self._monotonic() + seconds, value)
        return value


class MxFinder:
    """Finds MX sets and the addresses that may be dialled.

    own_names       names we go by: an MX set that contains one is cut there (mail would loop)
    own_addresses   likewise, as `ipaddress` prints them
    allow_private   do not refuse private, loopback and other special addresses
    rules           which sites MX sets make up
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        own_names: Set[str] = frozenset(),
        own_addresses: Set[str] = frozenset(),
        allow_private: bool = False,
        rules: SiteRules | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._lookup = lookup
        self._own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self._own_addresses = frozenset(own_addresses)
        self._allow_private = allow_private
        self._rules = rules or SiteRules()
        self._sets: Cache[MxSet | Unroutable] = Cache(monotonic)
        self._hosts: Cache[tuple[str, ...] | Unroutable] = Cache(monotonic)

    async def find(self, domain: str) -> MxSet | Unroutable:
        """The MX set of a domain (A-label, lower case); another object once other rules are in force."""
        found = await self._sets.get(domain, self._find)
        if isinstance(found, MxSet) and found.edition is not self._rules.edition:
            found = self._placed(found)
            self._sets.exchange(domain, found)
        return found

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        """Addresses of a host that may be dialled, IPv6 and IPv4 in turn."""
        found = await self._hosts.get(host, self._addresses)
        return found or Unroutable("5.4.4", f"no address for the host {host}")

    def known_site(self, domain: str) -> str | None:
        """The site a domain was last seen to belong to; no I/O, any thread."""
        found = self._sets.peek(domain)
        if not isinstance(found, MxSet):
            return None
        return found.site if found.edition is self._rules.edition else self._placed(found).site

    async def _find(self, domain: str) -> tuple[MxSet | Unroutable, float]:
        answer = await self._lookup.ask(domain, dns.rdatatype.MX)
        match answer:
            case NoAnswer(cause):
                return Unroutable("4.4.3", f"no answer for the MX of {domain}: {cause}"), _FAILURE_SECONDS
            case Nothing(name_exists=False):
                return Unroutable("5.1.2", f"the domain {domain} does not exist"), _negative(answer)
            case Nothing():
                found, seconds = await self._implicit(domain, _negative(answer))
                return _as_secure(found, answer.is_secure), seconds
            case Found(records, ttl):
                found = self._cut(domain, cast("Sequence[MX]", records))
                return _as_secure(found, answer.is_secure), _positive(ttl)

    async def _implicit(self, domain: str, seconds: float) -> tuple[MxSet | Unroutable, float]:
        """Without MX records the domain's own address is its MX, preference 0 (RFC 5321 §5.1)."""
        if await self._hosts.get(domain, self._addresses) == ():
            return Unroutable("5.1.2", f"the domain {domain} has neither MX nor address"), seconds
        return self._without_us(domain, [Exchange(0, domain)]), seconds

    def _cut(self, domain: str, records: Sequence[MX]) -> MxSet | Unroutable:
        named = [Exchange(r.preference, _host(r)) for r in records]
        exchanges = [x for x in named if x.host]
        if not exchanges:
            # RFC 7505 §3: one MX of "." says that the domain takes no mail, at once and for good.
            return Unroutable("5.1.10", f"the domain {domain} accepts no mail (null MX)")
        return self._without_us(domain, exchanges)

    def _without_us(self, domain: str, exchanges: Sequence[Exchange]) -> MxSet | Unroutable:
        """RFC 5321 §5.1: where we are in the set, only hosts better than us may be tried."""
        ours = [x.preference for x in exchanges if x.host in self._own_names]
        left = [x for x in exchanges if not ours or x.preference < min(ours)]
        if not left:
            return Unroutable("5.4.6", f"the best MX host of {domain} is ourselves")
        left.sort(key=lambda x: (x.preference, x.host))
        return self._placed(MxSet("", tuple(left)))

    def _placed(self, found: MxSet) -> MxSet:
        """The same set, its site by the rules in force."""
        edition = self._rules.edition  # before they are asked: should they change meanwhile, it is done again
        site = self._rules.site([x.host for x in found.exchanges])
        return replace(found, site=site, edition=edition)

    async def _addresses(self, host: str) -> tuple[tuple[str, ...] | Unroutable, float]:
        """Empty: the host surely has no address."""
        six, four = await asyncio.gather(
            self._lookup.ask(host, dns.rdatatype.AAAA), self._lookup.ask(host, dns.rdatatype.A)
        )
        both = (six, four)
        found = [a for a in both if isinstance(a, Found)]
        if found:
            in_turn = _interleave([_texts(a.records) for a in found])
            return self._allowed(host, in_turn), _positive(min(a.ttl_seconds for a in found))
        for silent in both:
            if isinstance(silent, NoAnswer):
                cause = f"no answer for the addresses of {host}: {silent.cause}"
                return Unroutable("4.4.3", cause), _FAILURE_SECONDS
        ttl = min(_negative(a) for a in both if isinstance(a, Nothing))
        return (), ttl

    def _allowed(self, host: str, found: Sequence[str]) -> tuple[str, ...] | Unroutable:
        if any(addresses.is_own(a, self._own_addresses) for a in found):
            return Unroutable("5.4.6", f"the host {host} is ourselves")
        if self._allow_private:
            return tuple(found)
        refusals = {a: addresses.refusal(a, self._own_addresses) for a in found}
        allowed = tuple(a for a in found if refusals[a] is None)
        if allowed:
            return allowed
        why = "; ".join(r for r in refusals.values() if r)
        return Unroutable("5.4.4", f"the host {host} has only addresses that must not be dialled: {why}")


def _as_secure(found: MxSet | Unroutable, is_secure: bool) -> MxSet | Unroutable:
    return replace(found, is_secure=True) if is_secure and isinstance(found, MxSet) else found


def _host(record: MX) -> str:
    """The exchange without its final dot, lower case; "" for the null MX."""
    return record.exchange.to_text(omit_final_dot=True).lower().removeprefix(".")


def _texts(records: Iterable[object]) -> list[str]:
    return [r.address for r in records if isinstance(r, A | AAAA)]


def _interleave(lists: Sequence[Sequence[str]]) -> list[str]:
    return [a for group in itertools.zip_longest(*lists) for a in group if a is not None]


def _positive(ttl: float) -> float:
    return min(max(ttl, _SHORTEST_SECONDS), _LONGEST_SECONDS)


def _negative(answer: Nothing) -> float:
    return min(max(answer.ttl_seconds, _SHORTEST_SECONDS), _LONGEST_NEGATIVE_SECONDS)
