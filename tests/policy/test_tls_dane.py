"""Which TLSA records count, and which chains match them (RFC 7672 §3)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from mailer import clock
from mailer.policy.tls_dane import Mismatch, Tlsa, authenticate, usable
from tests.support.chains import Holder, authority, host

NOW = clock.now()
MX = ("mx.example.org",)
ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
LEAF = host("mx.example.org", issuer=MIDDLE)
OTHER = host("mx.example.org", issuer=MIDDLE)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")


def ders(*holders: Holder) -> list[bytes]:
    return [holder.der for holder in holders]


def result(found: int | Mismatch) -> int | str:
    return found.result if isinstance(found, Mismatch) else found


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (Tlsa(3, 1, 1, b"x" * 32), True),
        (Tlsa(2, 0, 2, b"x" * 64), True),
        (Tlsa(3, 0, 0, b"x"), True),
        (Tlsa(0, 0, 1, b"x" * 32), False),
        (Tlsa(1, 1, 1, b"x" * 32), False),
        (Tlsa(3, 2, 1, b"x" * 32), False),
        (Tlsa(3, 1, 3, b"x" * 32), False),
        (Tlsa(3, 1, 1, b"x" * 31), False),
    ],
)
def test_only_usages_two_and_three_count(record: Tlsa, counts: bool) -> None:
    """RFC 7672 §3.1.3."""
    assert bool(usable([record])) is counts


def test_records_come_once_and_in_one_order() -> None:
    one, two = LEAF.tlsa(3, 1, 1), MIDDLE.tlsa(2, 0, 1)

    assert usable([one, two, one]) == usable([two, one]) == (two, one)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_the_servers_own_certificate_matches_by_usage_three(selector: int, matching: int) -> None:
    assert authenticate(ders(LEAF), [LEAF.tlsa(3, selector, matching)], MX, NOW) == 3


def test_usage_three_asks_for_no_name_and_no_date() -> None:
    """RFC 7672 §3.1.1."""
    old = host("else.example.net", until=NOW - timedelta(days=400))

    assert authenticate(ders(old), [old.tlsa(3, 1, 1)], MX, NOW) == 3


def test_another_certificate_does_not_match() -> None:
    found = authenticate(ders(OTHER, MIDDLE), [LEAF.tlsa(3, 1, 1)], MX, NOW)

    assert isinstance(found, Mismatch)
    assert (found.result, found.cause) == (
        "validation-failure",
        "no TLSA record matches the certificate (3 1 1)",
    )


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("issuer", [MIDDLE, ROOT])
def test_an_issuer_in_the_chain_matches_by_usage_two(issuer: Holder, matching: int) -> None:
    chain = ders(LEAF, MIDDLE, ROOT)

    assert authenticate(chain, [issuer.tlsa(2, 0, matching)], MX, NOW) == 2
    assert authenticate(chain, [issuer.tlsa(2, 1, matching)], MX, NOW) == 2


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (ROOT.tlsa(2, 0, 0), 2),  # the whole certificate stands in the record
        (ROOT.tlsa(2, 0, 1), "certificate-not-trusted"),
        (ROOT.tlsa(2, 1, 0), "certificate-not-trusted"),
        (LEAF.tlsa(2, 1, 1), "certificate-not-trusted"),  # the server is not its own issuer
    ],
)
def test_an_issuer_that_was_not_sent(record: Tlsa, expected: int | str) -> None:
    assert result(authenticate(ders(LEAF, MIDDLE), [record], MX, NOW)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("mx.example.org",), 2),
        (("else.example.org", "mx.example.org"), 2),
        (("else.example.org",), "certificate-host-mismatch"),
    ],
)
def test_usage_two_asks_for_a_name(names: tuple[str, ...], expected: int | str) -> None:
    """RFC 7672 §3.2.2."""
    assert result(authenticate(ders(LEAF, MIDDLE), [MIDDLE.tlsa(2, 0, 1)], names, NOW)) == expected


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (host("*.example.org", issuer=MIDDLE), 2),
        (host("*.mx.example.org", issuer=MIDDLE), "certificate-host-mismatch"),
        (host(issuer=MIDDLE, common_name="MX.example.org"), 2),
        (host("a.example.org", issuer=MIDDLE, common_name="mx.example.org"), "certificate-host-mismatch"),
        (host(*MX, issuer=MIDDLE, until=NOW - timedelta(hours=1)), "certificate-expired"),
        (host(*MX, issuer=ROOT), "certificate-not-trusted"),
        (host(*MX, issuer=MIDDLE, extensions=[(UNKNOWN, True)]), "certificate-not-trusted"),
        (host(*MX, issuer=MIDDLE, extensions=[(UNKNOWN, False)]), 2),
    ],
)
def test_what_a_certificate_below_a_known_issuer_must_be(leaf: Holder, expected: int | str) -> None:
    assert result(authenticate(ders(leaf, MIDDLE), [MIDDLE.tlsa(2, 0, 1)], MX, NOW)) == expected


def test_a_host_is_no_issuer() -> None:
    """RFC 5280 §4.2.1.9: who has a certificate of the domain's issuer must not make more."""
    thief = host("else.example.org", issuer=MIDDLE)
    forged = host(*MX, issuer=thief)

    found = authenticate(ders(forged, thief, MIDDLE), [MIDDLE.tlsa(2, 0, 1)], MX, NOW)

    assert result(found) == "certificate-not-trusted"


def test_a_path_length_is_kept() -> None:
    short = authority("short", path_length=0)
    below = authority("below", short)
    leaf = host(*MX, issuer=below)

    found = authenticate(ders(leaf, below, short), [short.tlsa(2, 0, 1)], MX, NOW)

    assert result(found) == "certificate-not-trusted"


def test_a_namesake_of_the_issuer_signs_nothing() -> None:
    """The name of the issuer is not enough: its key counts."""
    namesake = authority("middle", ROOT)
    forged = host(*MX, issuer=namesake)

    found = authenticate(ders(forged, namesake, MIDDLE), [MIDDLE.tlsa(2, 0, 1)], MX, NOW)

    assert result(found) == "certificate-not-trusted"


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_no_octets_do_more_than_fail(chain: list[bytes]) -> None:
    found = authenticate(chain, [LEAF.tlsa(3, 1, 1), MIDDLE.tlsa(2, 0, 0)], MX, NOW)

    assert result(found) == "validation-failure"
