"""Which egress addresses are on this host, and which have a forward-confirmed name (RFC 8601 §2.7.3).

An address is on this host if a socket can be bound to it. Its name is that of its PTR record, provided that
the name leads back to the address: many receivers take no mail over IPv6 from an address without one.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import dns.exception
import dns.resolver
import structlog

from mailer.policy.egress import Egress
from mailer.queue.egress import HostFacts
from mailer.relay.smtp.lookup import nameserver

_log = structlog.get_logger(__name__)

_RECHECK_SECONDS = 3600.0
_FAILED_AGAIN_SECONDS = 60.0
_LOOKUP_SECONDS = 10.0


def is_on_this_host(address: str) -> bool:
    """Whether mail can leave from this address here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return True
    return False


class Resolver(Protocol):
    """Answers as texts; empty: there are none. Raises TimeoutError: nobody knows."""

    def __call__(self, name: str, kind: str) -> Sequence[str]: ...


def asking(resolvers: Sequence[str]) -> Resolver:
    """A resolver that waits, for threads. resolvers: as for Lookup; empty: those of this host."""
    own = dns.resolver.Resolver(configure=not resolvers)
    if resolvers:
        own.nameservers = [nameserver(text) for text in resolvers]
    own.lifetime = _LOOKUP_SECONDS

    def ask(name: str, kind: str) -> Sequence[str]:
        try:
            return [r.to_text() for r in own.resolve(name, kind, search=False)]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise TimeoutError(str(error)) from error

    return ask


def confirmed_name(address: str, ask: Resolver) -> str | None:
    """The name of an address's PTR record that leads back to it; None: there is none.

    Raises TimeoutError: the DNS gave no answer.
    """
    parsed = ipaddress.ip_address(address)
    kind = "AAAA" if parsed.version == 6 else "A"
    for name in ask(parsed.reverse_pointer, "PTR"):
        if any(ipaddress.ip_address(back) == parsed for back in ask(name, kind)):
            return name.rstrip(".").lower()
    return None


class Presence:
    """What this host knows of the egress IPs: looked up by its own thread, read by all.

    trusts_all  IPv6 is used without a confirmed name: in a sandbox nothing leaves, and loopback has none
    """

    def __init__(
        self,
        ask: Resolver,
        *,
        trusts_all: bool,
        monotonic: Callable[[], float],
        is_here: Callable[[str], bool] = is_on_this_host,
    ) -> None:
        self._ask = ask
        self._trusts_all = trusts_all
        self._monotonic = monotonic
        self._is_here = is_here
        self._here: dict[str, bool] = {}
        self._watched: frozenset[str] = frozenset()
        self._names: dict[str, tuple[str | None, float]] = {}  # and when it is looked up again
        self._lock = threading.Lock()

    def watch(self, addresses: Iterable[str]) -> None:
        """Names of these are looked up as well: the addresses that the system chooses."""
        self._watched = frozenset(addresses)

    def is_ipv6_trusted(self) -> bool:
        """Whether mail may leave over IPv6 by the system's choice: from a watched address with a name."""
        return self._trusts_all or any(":" in a and self._name(a) is not None for a in self._watched)

    def look(self, egresses: Iterable[Egress]) -> None:
        """Which addresses are here; quick, done by whoever reads the tables."""
        addresses = {a for e in egresses for a in (e.ipv4, e.ipv6) if a is not None}
        self._here = {address: self._is_here(address) for address in addresses}

    def look_up(self) -> bool:
        """Asks for names whose time has come; may wait for the DNS. True if one is other than before."""
        now, changed = self._monotonic(), False
        for address in (*self._here, *self._watched):
            name, again = self._names.get(address, (None, 0.0))
            if now < again and address in self._names:
                continue
            try:
                found, lasts = confirmed_name(address, self._ask), _RECHECK_SECONDS
            except TimeoutError as error:
                # What was confirmed before stays so: the DNS being away says nothing of the address.
                _log.warning("egress.name_unknown", address=address, error=str(error))
                found, lasts = name, _FAILED_AGAIN_SECONDS
            with self._lock:
                self._names[address] = (found, now + lasts)
            changed |= found != name
        return changed

    def usable(self, egress: Egress) -> tuple[str | None, str | None]:
        """Its IPv4 and IPv6 address as far as mail may leave from them here."""
        ipv4, ipv6 = egress.ipv4, egress.ipv6
        return (
            ipv4 if ipv4 is not None and self._here.get(ipv4, False) else None,
            ipv6 if ipv6 is not None and self._here.get(ipv6, False) and self._is_trusted(ipv6) else None,
        )

    def _is_trusted(self, address: str) -> bool:
        return self._trusts_all or self._name(address) is not None

    def _name(self, address: str | None) -> str | None:
        return None if address is None else self._names.get(address, (None, 0.0))[0]

    def facts(self, egresses: Iterable[Egress]) -> list[HostFacts]:
        """What is told to the operator."""
        return [
            HostFacts(
                egress_id=e.id,
                ipv4_here=e.ipv4 is not None and self._here.get(e.ipv4, False),
                ipv6_here=e.ipv6 is not None and self._here.get(e.ipv6, False),
                ipv4_name=self._name(e.ipv4),
                ipv6_name=self._name(e.ipv6),
            )
            for e in egresses
        ]
