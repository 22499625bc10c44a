"""Who asks, where no key says it: the address behind the servers before us, and how often it may ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

from mailer.listener import network_of

Network = IPv4Network | IPv6Network
_PEERS_KEPT = 10_000
_UNKNOWN = "unknown"


def peer_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """The last address on the way to us that is none of `proxies`. Never raises.

    X-Forwarded-For is read from its end: what stands before the first address that is not ours was written by
    whoever has that address, and may be anything.
    """
    client = scope.get("client")
    at = _address(client[0]) if client else None
    if at is None:
        return _UNKNOWN
    said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    for text in reversed(said.decode("latin-1").split(",")):
        before = _address(text.strip())
        if before is None or not any(at in network for network in proxies):
            break
        at = before
    return str(at)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Turnstile:
    """How often a peer (of IPv6: a /64) may ask. Lives on one event loop; forgets whom it saw longest ago."""

    def __init__(self, monotonic: Callable[[], float], *, burst: float, per_second: float) -> None:
        self._monotonic = monotonic
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Seconds until this peer may ask again; 0: now."""
        bucket = self._bucket(peer)
        return max(0.0, (1.0 - bucket.left) / self._per_second)

    def charge(self, peer: str, turns: float = 1.0) -> None:
        """It did ask."""
        self._bucket(peer).left -= turns

    def _bucket(self, peer: str) -> _Bucket:
        network, now = network_of(peer), self._monotonic()
        bucket = self._buckets.setdefault(network, _Bucket(self._burst, now))
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets.move_to_end(network)
        if len(self._buckets) > _PEERS_KEPT:
            self._buckets.popitem(last=False)
        return bucket
