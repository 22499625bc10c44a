"""DNS questions as values: found, nothing there, or no answer (dnspython's asynchronous resolver)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

# RFC 2308 §5: a negative answer without a SOA should not be cached; a few seconds bridge one batch.
_NO_SOA_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """Records of the type asked for, after aliases were followed. ttl_seconds: the chain's smallest."""

    records: tuple[dns.rdata.Rdata, ...]
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class Nothing:
    """A sure no (RFC 2308 §2). name_exists: the name has records of another type (NODATA)."""

    name_exists: bool
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """SERVFAIL, a timeout, nobody reachable: nothing is known."""

    cause: str


Answer = Found | Nothing | NoAnswer


class Lookup:
    """Asks the named resolvers, or those of the system when none are named."""

    def __init__(self, resolvers: Sequence[str] = (), *, seconds: float = 10.0) -> None:
        """resolvers: "host:port" or "host", addresses only, IPv6 in brackets.

        Raises ValueError for an address that is none.
        """
        self._resolver = dns.asyncresolver.Resolver(configure=not resolvers)
        if resolvers:
            self._resolver.nameservers = [_nameserver(text) for text in resolvers]
        self._resolver.lifetime = seconds
        # One silent resolver must leave time for the next one, and for TCP after a truncated answer.
        self._resolver.timeout = seconds / 3
        # RFC 6891 §6.2.5 leaves the size to us; 1232 octets pass every path unfragmented.
        self._resolver.use_edns(0, 0, 1232)

    async def ask(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        """Nothing the network or a server does raises."""
        try:
            absolute = dns.name.from_text(name)
        except dns.exception.DNSException:  # what cannot be asked cannot exist (RFC 1035 §2.3.4)
            return Nothing(name_exists=False, ttl_seconds=_NO_SOA_SECONDS)
        try:
            answer = await self._resolver.resolve(absolute, rdtype, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            return Nothing(name_exists=False, ttl_seconds=_negative_ttl(error, absolute))
        except (dns.exception.DNSException, OSError) as error:
            return NoAnswer(f"{type(error).__name__}: {error}")
        if answer.rrset is None:
            return Nothing(name_exists=True, ttl_seconds=_ttl(answer.response))
        return Found(tuple(answer.rrset), float(answer.chaining_result.minimum_ttl))

    async def addresses(self, host: str) -> Sequence[str]:
        """Every address of the host; empty: there is none, or nobody answered."""
        asked = (self.ask(host, dns.rdatatype.AAAA), self.ask(host, dns.rdatatype.A))
        answers = [a for a in await asyncio.gather(*asked) if isinstance(a, Found)]
        return [r.address for a in answers for r in a.records if isinstance(r, A | AAAA)]


def _negative_ttl(error: dns.resolver.NXDOMAIN, name: dns.name.Name) -> float:
    responses: dict[dns.name.Name, dns.message.Message] = error.responses()  # type: ignore[no-untyped-call]
    return _ttl(responses[name]) if name in responses else _NO_SOA_SECONDS


def _ttl(response: dns.message.Message) -> float:
    """The SOA's word on how long a no holds (RFC 2308 §5)."""
    if not isinstance(response, dns.message.QueryMessage) or not response.authority:
        return _NO_SOA_SECONDS
    return float(response.resolve_chaining().minimum_ttl)


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    address = ipaddress.ip_address(host)  # a resolver's name would need a resolver
    return dns.nameserver.Do53Nameserver(str(address), int(port) if port else 53)
