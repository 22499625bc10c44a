"""Whom to count by."""

from __future__ import annotations

import ipaddress


def network_of(peer: str) -> str:
    """The peer's IPv4 address, or its IPv6 /64: one customer has a whole one (RFC 4291 §2.5.1).

    peer  an IP address as text; anything else stands for itself
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return peer
