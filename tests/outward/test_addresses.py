"""RFC 6890: what a stranger must not make us dial."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.outward.addresses import is_own, of_this_machine, refusal

OWN = frozenset({"198.41.0.4", "2001:503:ba3e::2:30"})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:9.9.9.9",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:909:909::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "198.41.0.4",
        "2001:503:ba3e:0:0:0:2:30",
        "64:ff9b::c629:4",
        "mx.example.net",
        "",
    ],
)
def test_special_and_own_addresses_are_refused(address: str) -> None:
    assert refusal(address, OWN) is not None


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "172.32.0.1", "100.128.0.1", "2620:fe::fe", "64:ff9b::909:909"]
)
def test_public_addresses_are_dialled(address: str) -> None:
    assert refusal(address, OWN) is None


@given(st.ip_addresses(v=4))
def test_no_form_of_a_refused_address_is_dialled(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    forms = [
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1),
    ]

    assert [refusal(str(form)) for form in forms].count(None) == 0
    assert (refusal(str(address)) is None) == (
        refusal(str(ipaddress.IPv6Address(0x64FF9B << 96 | number))) is None
    )


def test_the_addresses_of_this_machine_are_known_as_own() -> None:
    own = of_this_machine()

    assert [address for address in own if not is_own(address, own)] == []


@pytest.mark.parametrize("form", ["2001:503:BA3E::2:30", "2001:503:ba3e:0:0:0:2:30", "198.41.0.4"])
def test_an_own_address_is_known_in_every_form(form: str) -> None:
    assert is_own(form, OWN)
    assert not is_own("mx.example.net", OWN)
