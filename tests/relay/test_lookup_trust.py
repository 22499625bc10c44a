"""Whose word for DNSSEC counts (RFC 7672 §2.1.1), and how it is asked for (RFC 6840 §5.7)."""

from __future__ import annotations

import pytest
from dns.rdatatype import TLSA, A

from mailer.relay.hosts import MxFinder, MxSet
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.lookup import Found, Lookup, NoAnswer, Trust
from tests.support.dns_server import DnsServer, Zone

ZONE: Zone = {
    ("example.test", "MX"): ["10 mx.example.test."],
    ("mx.example.test", "A"): ["192.0.2.1"],
    ("_25._tcp.mx.example.test", "TLSA"): ["3 1 1 " + "ab" * 32],
    ("alias.test", "CNAME"): ["mx.example.test."],
    ("bare.test", "A"): ["192.0.2.1"],
    ("mute.test", "A"): ["192.0.2.1"],
}
FAULTS: dict[str | tuple[str, str], str] = {"_25._tcp.mute.test": "servfail"}


@pytest.mark.parametrize(
    ("resolvers", "trust", "trusted"),
    [
        (["127.0.0.1:53"], Trust.LOOPBACK, True),
        (["[::1]:53"], Trust.LOOPBACK, True),
        (["127.0.0.53"], Trust.LOOPBACK, True),
        (["127.0.0.1", "192.0.2.1"], Trust.LOOPBACK, False),
        (["192.0.2.1"], Trust.LOOPBACK, False),
        (["127.0.0.11"], Trust.LOOPBACK, False),  # Docker's, which does not validate
        (["192.0.2.1"], Trust.ALL, True),
        (["127.0.0.1"], Trust.NONE, False),
    ],
)
def test_resolvers_on_this_machine_are_believed_or_as_the_operator_says(
    resolvers: list[str], trust: Trust, trusted: bool
) -> None:
    assert Lookup(resolvers, trust=trust).is_trusted is trusted


@pytest.mark.parametrize(
    ("trust", "says", "secure"),
    [(Trust.LOOPBACK, True, True), (Trust.LOOPBACK, False, False), (Trust.NONE, True, False)],
)
async def test_an_answer_is_secure_where_both_say_so(trust: Trust, says: bool, secure: bool) -> None:
    async with DnsServer(ZONE, authentic=says) as dns:
        lookup = Lookup([dns.place], trust=trust)
        answer = await lookup.ask("mx.example.test", A)
        found = await MxFinder(lookup, allow_private=True).find("example.test")

    assert isinstance(answer, Found)
    assert isinstance(found, MxSet)
    assert (answer.is_secure, found.is_secure) == (secure, secure)


@pytest.mark.parametrize(
    ("host", "base", "records"),
    [
        ("mx.example.test", "mx.example.test", 1),
        ("alias.test", "mx.example.test", 1),
        ("bare.test", "bare.test", 0),
    ],
)
async def test_the_records_stand_at_what_a_host_is_an_alias_of(host: str, base: str, records: int) -> None:
    """RFC 7672 §2.2.3."""
    async with DnsServer(ZONE, authentic=True) as dns:
        found = await DaneFinder(Lookup([dns.place]), 25).of(host)

    assert (found.base, len(found.records), found.failure) == (base, records, None)
    assert found.is_secure == bool(records)


async def test_a_look_up_without_an_answer_is_a_failure_and_not_a_no() -> None:
    async with DnsServer(ZONE, authentic=True, faults=FAULTS) as dns:
        lookup = Lookup([dns.place], seconds=2.0)
        found = await DaneFinder(lookup, 25).of("mute.test")
        answer = await lookup.ask("_25._tcp.mute.test", TLSA)

    assert isinstance(answer, NoAnswer)
    assert found.failure == answer.cause


async def test_a_host_whose_address_is_not_secure_is_not_asked_for_tlsa() -> None:
    """RFC 7672 §2.2.2."""
    async with DnsServer(ZONE) as dns:
        found = await DaneFinder(Lookup([dns.place]), 25).of("mx.example.test")

    assert (found.records, found.failure) == ((), None)
    assert ("_25._tcp.mx.example.test", "TLSA") not in dns.asked


async def test_who_silences_the_resolver_does_not_take_dane_away() -> None:
    """RFC 7672 §2.1.2: without an address nothing is known, least of all that there is no DANE."""
    async with DnsServer(ZONE, authentic=True, faults={"mx.example.test": "servfail"}) as dns:
        found = await DaneFinder(Lookup([dns.place], seconds=2.0), 25).of("mx.example.test")

    assert found.failure is not None
    assert not found.is_secure


@pytest.mark.parametrize("says", [True, False])
async def test_a_domain_that_is_its_own_host_may_have_dane_too(says: bool) -> None:
    """RFC 7672 §2.2.1."""
    async with DnsServer(ZONE, authentic=says) as dns:
        found = await MxFinder(Lookup([dns.place]), allow_private=True).find("bare.test")

    assert isinstance(found, MxSet)
    assert found.is_secure is says
