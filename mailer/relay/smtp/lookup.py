"""DNS questions as values: found, nothing there, or no answer (dnspython's asynchronous resolver)."""

from __future__ import annotations

import asyncio
import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.flags
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
    """Records of the type asked for, after aliases were followed. ttl_seconds: the chain's smallest.

    is_secure  a resolver that we trust says that DNSSEC proves them (RFC 4035 §3.2.3), aliases included
    canonical  the name at the end of the aliases, without its final dot; "" where that was not kept
    """

    records: tuple[dns.rdata.Rdata, ...]
    ttl_seconds: float
    is_secure: bool = False
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A sure no (RFC 2308 §2). name_exists: the name has records of another type (NODATA).

    is_secure  as of Found; kept where the name exists
    """

    name_exists: bool
    ttl_seconds: float
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """SERVFAIL, a timeout, nobody reachable: nothing is known."""

    cause: str


Answer = Found | Nothing | NoAnswer


class Trust(enum.StrEnum):
    """Whose word for DNSSEC counts: anybody on the way to a resolver could forge it (RFC 7672 §2.1.1)."""

    LOOPBACK = "loopback"  # of resolvers on this machine, if all are
    ALL = "all"  # of any: the way to them is guarded by other means
    NONE = "none"


# Docker's resolver only passes on what another one says, over the network.
_NOT_VALIDATING = frozenset({"127.0.0.11"})


class Lookup:
    """Asks the named resolvers, or those of the system when none are named.

    is_trusted  the answers' word for DNSSEC counts; without it nothing is secure
    """

    def __init__(
        self, resolvers: Sequence[str] = (), *, seconds: float = 10.0, trust: Trust = Trust.LOOPBACK
    ) -> None:
        """resolvers: "host:port" or "host", addresses only, IPv6 in brackets.

        Raises ValueError for an address that is none.
        """
        self._resolver = dns.asyncresolver.Resolver(configure=not resolvers)
        if resolvers:
            self._resolver.nameservers = [nameserver(text) for text in resolvers]
        self._resolver.lifetime = seconds
        # One silent resolver must leave time for the next one, and for TCP after a truncated answer.
        self._resolver.timeout = seconds / 3
        # RFC 6891 §6.2.5 leaves the size to us; 1232 octets pass every path unfragmented.
        self._resolver.use_edns(0, 0, 1232)
        self.is_trusted = _is_trusted(self._resolver.nameservers, trust)
        if self.is_trusted:
            self._resolver.flags = dns.flags.RD | dns.flags.AD  # RFC 6840 §5.7: AD without the signatures

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
            is_secure = self.is_trusted and bool(answer.response.flags & dns.flags.AD)
            return Nothing(name_exists=True, ttl_seconds=_ttl(answer.response), is_secure=is_secure)
        return Found(
            tuple(answer.rrset),
            float(answer.chaining_result.minimum_ttl),
            is_secure=self.is_trusted and bool(answer.response.flags & dns.flags.AD),
            canonical=answer.canonical_name.to_text(omit_final_dot=True).lower(),
        )

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


def _is_trusted(nameservers: Sequence[object], trust: Trust) -> bool:
    if trust is not Trust.LOOPBACK:
        return trust is Trust.ALL
    addresses = [str(getattr(server, "address", server)) for server in nameservers]
    return bool(addresses) and all(_is_validating(address) for address in addresses)


def _is_validating(address: str) -> bool:
    try:
        is_here = ipaddress.ip_address(address).is_loopback
    except ValueError:  # a URL: DNS over HTTPS
        return False
    return is_here and address not in _NOT_VALIDATING


def nameserver(text: str) -> dns.nameserver.Nameserver:
    """From "host:port" or "host"; raises ValueError for a host that is no address."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    address = ipaddress.ip_address(host)  # a resolver's name would need a resolver
    return dns.nameserver.Do53Nameserver(str(address), int(port) if port else 53)
