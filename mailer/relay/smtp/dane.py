"""A host's TLSA records by the DNS, and their cache (RFC 7672 §2.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import dns.rdatatype
from dns.rdtypes.ANY.TLSA import TLSA

from mailer import clock
from mailer.policy.tls import TlsaFound
from mailer.policy.tls_dane import Tlsa
from mailer.relay.hosts import Cache
from mailer.relay.smtp.lookup import Answer, Found, Lookup, NoAnswer, Nothing

_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = 3600.0
_FAILURE_SECONDS = 15.0


class DaneFinder:
    """Lives on one event loop. Without a resolver whose word for DNSSEC counts it asks nothing."""

    def __init__(self, lookup: Lookup, port: int, monotonic: Callable[[], float] = clock.monotonic) -> None:
        """port: of the mail servers; it is part of the records' names (RFC 6698 §3)."""
        self._lookup = lookup
        self._port = port
        self._known: Cache[TlsaFound] = Cache(monotonic)

    async def of(self, host: str) -> TlsaFound:
        """Nothing the network or a server does raises."""
        return await self._known.get(host, self._find)

    async def _find(self, host: str) -> tuple[TlsaFound, float]:
        """RFC 7672 §2.2.2: a host whose addresses are not secure, nor the alias that leads to them, has no
        DANE, and its TLSA records are not asked for: name servers that choke on such questions are found
        where there is no DNSSEC."""
        answers = await asyncio.gather(
            self._lookup.ask(host, dns.rdatatype.A), self._lookup.ask(host, dns.rdatatype.AAAA)
        )
        found = [answer for answer in answers if isinstance(answer, Found)]
        secure = [answer for answer in found if answer.is_secure]
        if not secure:
            silent = next((answer for answer in answers if isinstance(answer, NoAnswer)), None)
            if silent is not None:
                # Who can silence the resolver must not be able to take DANE away (RFC 7672 §2.1.2).
                return TlsaFound(host, failure=silent.cause), _FAILURE_SECONDS
            seconds = min((answer.ttl_seconds for answer in found), default=_FAILURE_SECONDS)
            if any(answer.canonical not in ("", host) for answer in found):
                return await self._at_alias(host, seconds)
            return TlsaFound(host), _bounded(seconds)
        return await self._at(host, secure[0].canonical or host)

    async def _at_alias(self, host: str, seconds: float) -> tuple[TlsaFound, float]:
        """RFC 7672 §2.2.2: of a host that is an alias which leads to where nothing is proven, its own name
        alone counts, if the alias itself is secure. seconds: how long it holds that it is not."""
        alias = await self._lookup.ask(host, dns.rdatatype.CNAME)
        match alias:
            case NoAnswer(cause):
                return TlsaFound(host, failure=cause), _FAILURE_SECONDS
            case Found() if alias.is_secure:
                return await self._at(host, host)
            case _:
                return TlsaFound(host), _bounded(min(seconds, _ttl(alias)))

    async def _at(self, host: str, canonical: str) -> tuple[TlsaFound, float]:
        """RFC 7672 §2.2.3: the name that the host is an alias of comes first."""
        seconds = _LONGEST_SECONDS
        for base in dict.fromkeys((canonical, host)):
            answer = await self._lookup.ask(f"_{self._port}._tcp.{base}", dns.rdatatype.TLSA)
            match answer:
                case NoAnswer(cause):
                    return TlsaFound(base, failure=cause), _FAILURE_SECONDS
                case Found(records) if answer.is_secure:
                    return TlsaFound(base, _read(records), is_secure=True), _bounded(answer.ttl_seconds)
                case _:
                    seconds = min(seconds, _ttl(answer))
        return TlsaFound(host), _bounded(seconds)


def _read(records: Sequence[object]) -> tuple[Tlsa, ...]:
    return tuple(Tlsa(r.usage, r.selector, r.mtype, bytes(r.cert)) for r in cast("Sequence[TLSA]", records))


def _ttl(answer: Answer) -> float:
    return answer.ttl_seconds if isinstance(answer, Found | Nothing) else _FAILURE_SECONDS


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS)
