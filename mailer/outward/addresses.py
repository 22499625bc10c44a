"""Which addresses a stranger must not make us dial.

Anyone can point an MX or a callback's host at 127.0.0.1, at a router's inside, or at a metadata service;
what we connect to must be a public unicast address (the registries of RFC 6890), and not our own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Set
from ipaddress import IPv4Address, IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 §2.4: all that is allocated so far
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
# Blocks that `ipaddress` calls global in some Python releases: protocol assignments (RFC 6890 §2.2.2),
# 6to4 relays (RFC 7526 §5), documentation (RFC 9637 §6), segment routing (RFC 9602 §3).
# And one that looks public and is not: Azure's inside, which answers on every virtual machine of it
# (learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
_MORE_SPECIAL_4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv4Network("168.63.129.16/32"),
)
_MORE_SPECIAL_6 = (
    ipaddress.IPv6Network("2001::/23"),
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv6Network("5f00::/16"),
)


def refusal(address: str, own: Set[str] = frozenset()) -> str | None:
    """Why this address must not be dialled, in words; None if it may be.

    own  our own addresses, in the form `ipaddress` prints
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"{address!r} is no IP address"
    if str(parsed) in own:
        return f"{parsed} is ourselves"
    kind = _special4(parsed) if isinstance(parsed, IPv4Address) else _special6(parsed, own)
    return None if kind is None else f"{parsed} is {kind}"


def is_address(host: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def of_this_machine() -> frozenset[str]:
    """The addresses this machine connects from by default, as `ipaddress` prints them.

    Nothing is sent: connecting a UDP socket only asks the kernel for its route. An address behind NAT is
    not found, and that is right: the same public address may lead to another mail host inside.
    """
    found = set()
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.add(str(ipaddress.ip_address(probe.getsockname()[0])))
        except OSError:
            continue  # no route in this family, so no address of ours to mistake for a peer's
    return frozenset(found)


def is_own(address: str, own: Set[str]) -> bool:
    """Whether the address is one of ours, whatever form it is written in."""
    try:
        return str(ipaddress.ip_address(address)) in own
    except ValueError:
        return False


def _special4(address: IPv4Address) -> str | None:
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified:
        return "the unspecified address"
    # is_global is False for private use, 100.64.0.0/10 (RFC 6598 §7), documentation and reserved blocks.
    if not address.is_global or any(address in net for net in _MORE_SPECIAL_4):
        return "not a public address"
    return None


def _special6(address: IPv6Address, own: Set[str]) -> str | None:
    if address.is_loopback:
        return "a loopback address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_link_local or address.is_site_local:
        return "a link-local or site-local address"
    if address in _NAT64:
        # Real on networks with IPv6 only (DNS64, RFC 6147 §5); as good as the IPv4 address inside.
        inner = refusal(str(IPv4Address(int(address) & 0xFFFF_FFFF)), own)
        return None if inner is None else f"NAT64 of an address that must not be dialled ({inner})"
    if address.ipv4_mapped or address.sixtofour or address.teredo:
        # No mail host is published in these forms; they only hide an IPv4 address.
        return "an IPv4 address in disguise"
    if address not in _GLOBAL_UNICAST or not address.is_global:
        return "not a public address"
    return "not a public address" if any(address in net for net in _MORE_SPECIAL_6) else None
