"""The one connect to hosts that a stranger named: no name is resolved twice, no address goes unjudged."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from ipaddress import IPv4Network, IPv6Network

import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

from mailer.outward import addresses

Network = IPv4Network | IPv6Network
Resolve = Callable[[str], Awaitable[Sequence[str]]]  # a name's addresses; empty: there are none, or no answer

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class NotAllowed(httpcore.ConnectError):
    """The host has an address that must not be dialled; nothing was."""


class NotFound(httpcore.ConnectError):
    """The host's name has no address, or nobody answered for it."""


class Guard:
    """Which addresses may be dialled: public ones that are not ours, and what the operator allows beside.

    own       our own addresses, as `ipaddress` prints them
    networks  allowed although they are not public
    """

    def __init__(self, *, own: Set[str] = frozenset(), networks: Iterable[Network] = ()) -> None:
        self._own = own
        self._networks = tuple(networks)

    def refusal(self, address: str) -> str | None:
        """Why this address must not be dialled, in words; None if it may be."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return f"{address!r} is no IP address"
        if any(parsed in network for network in self._networks):
            return None
        return addresses.refusal(address, self._own)


async def system_addresses(host: str) -> Sequence[str]:
    """What this machine itself resolves the name to, its hosts file included."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # unknown, no answer, or no name at all
        return ()
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class GuardedConnect(AsyncNetworkBackend):
    """httpcore's connect. TLS follows on it with the host's own name, whatever address was dialled."""

    def __init__(self, guard: Guard, resolve: Resolve = system_addresses) -> None:
        self._guard = guard
        self._resolve = resolve
        self._dial = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connected to an address that was judged. Raises NotAllowed, NotFound, httpcore's errors.

        One bad address among good ones refuses the host: a name that is half inside is either a mistake
        of its owner or an attempt. `timeout` is for all addresses together.
        """
        found = await self._addresses_of(host)
        refusals = [why for why in map(self._guard.refusal, found) if why is not None]
        if refusals:
            raise NotAllowed("; ".join(refusals))
        try:
            async with asyncio.timeout(timeout):
                return await self._first(found, port, local_address, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout("no address of the host answered in time") from None

    async def _addresses_of(self, host: str) -> Sequence[str]:
        if addresses.is_address(host):
            return [host]
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            return ["127.0.0.1", "::1"]  # RFC 6761 §6.3: whatever the DNS would say
        found = _in_turn(await self._resolve(host))
        if not found:
            raise NotFound("the host name has no address")
        return found

    async def _first(
        self,
        found: Sequence[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> AsyncNetworkStream:
        """The first address that answers; the last one's error if none does."""
        for address in found[:-1]:
            try:
                return await self._dial.connect_tcp(address, port, None, local_address, socket_options)
            except httpcore.ConnectError:
                continue  # its neighbour may answer
        return await self._dial.connect_tcp(found[-1], port, None, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Never: no URL leads there."""
        raise NotAllowed("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _in_turn(found: Sequence[str]) -> list[str]:
    """IPv6 and IPv4 in turn, so that a family without a route costs one try."""
    six = [address for address in found if ":" in address]
    four = [address for address in found if ":" not in address]
    return [a for pair in itertools.zip_longest(six, four) for a in pair if a is not None]
