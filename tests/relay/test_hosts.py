"""The MX look-up against a real DNS server on loopback (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailer.policy.outcome import Unroutable
from mailer.policy.sites import SiteRules
from mailer.relay.hosts import Exchange, MxFinder, MxSet
from mailer.relay.smtp.lookup import Lookup
from tests.support.dns_server import DnsServer, Zone

PUBLIC = "9.9.9.9"
PUBLIC_6 = "2620:fe::fe"
ZONE: Zone = {
    ("two.test", "MX"): ["20 b.two.test.", "10 a.two.test."],
    ("a.two.test", "A"): [PUBLIC, "149.112.112.112"],
    ("a.two.test", "AAAA"): [PUBLIC_6],
    ("b.two.test", "A"): [PUBLIC],
    ("bare.test", "A"): [PUBLIC],
    ("none.test", "MX"): ["0 ."],
    ("text.test", "TXT"): ["hello"],
    ("aliased.test", "CNAME"): ["two.test."],
    ("us.test", "MX"): ["10 a.two.test.", "20 mail.ours.test.", "20 c.two.test.", "30 b.two.test."],
    ("only-us.test", "MX"): ["10 mail.ours.test."],
    ("hollow.test", "MX"): ["10 hollow-mx.test."],
    ("hollow-mx.test", "TXT"): ["no address"],
    ("inside.test", "A"): ["10.0.0.1", "127.0.0.1"],
    ("half-inside.test", "A"): ["10.0.0.1", PUBLIC],
    ("at-us.test", "A"): ["198.41.0.4"],
    ("half-mute.test", "A"): [PUBLIC],
    ("quiet.test", "MX"): ["10 a.two.test."],
}
FAULTS: dict[str | tuple[str, str], str] = {
    "broken.test": "servfail",
    "silent.test": "silent",
    "refusing.test": "refused",
    "mute-host.test": "servfail",
    ("half-mute.test", "AAAA"): "servfail",
}


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def finder(dns: DnsServer, **more: Any) -> MxFinder:
    return MxFinder(
        Lookup([dns.place], seconds=0.3),
        own_names={"mail.ours.test"},
        own_addresses={"198.41.0.4"},
        **more,
    )


async def test_hosts_come_by_preference() -> None:
    async with DnsServer(ZONE) as dns:
        found = await finder(dns).find("two.test")

    assert found == MxSet("mx:a.two.test+1", (Exchange(10, "a.two.test"), Exchange(20, "b.two.test")))


async def test_a_domain_without_mx_is_its_own_host() -> None:
    async with DnsServer(ZONE) as dns:
        found = await finder(dns).find("bare.test")

    assert found == MxSet("mx:bare.test", (Exchange(0, "bare.test"),))


async def test_an_alias_is_followed() -> None:
    async with DnsServer(ZONE) as dns:
        found = await finder(dns).find("aliased.test")

    assert isinstance(found, MxSet)
    assert found.site == "mx:a.two.test+1"


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        ("none.test", "5.1.10"),
        ("absent.test", "5.1.2"),
        ("text.test", "5.1.2"),
        (f"{'x' * 64}.test", "5.1.2"),
        ("only-us.test", "5.4.6"),
        ("broken.test", "4.4.3"),
        ("silent.test", "4.4.3"),
        ("refusing.test", "4.4.3"),
    ],
)
async def test_a_domain_without_hosts_says_why(domain: str, status: str) -> None:
    async with DnsServer(ZONE, faults=FAULTS) as dns:
        found = await finder(dns).find(domain)

    assert isinstance(found, Unroutable)
    assert found.status == status


async def test_our_own_host_cuts_the_set_at_its_preference() -> None:
    """RFC 5321 §5.1: hosts as good as us or worse would send it back to us."""
    async with DnsServer(ZONE) as dns:
        found = await finder(dns).find("us.test")

    assert found == MxSet("mx:a.two.test", (Exchange(10, "a.two.test"),))


async def test_addresses_come_in_turn_six_first() -> None:
    async with DnsServer(ZONE) as dns:
        found = await finder(dns).addresses("a.two.test")

    assert found == (PUBLIC_6, PUBLIC, "149.112.112.112") or found == (PUBLIC_6, "149.112.112.112", PUBLIC)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("hollow-mx.test", "5.4.4"),
        ("absent.test", "5.4.4"),
        ("inside.test", "5.4.4"),
        ("at-us.test", "5.4.6"),
        ("mute-host.test", "4.4.3"),
    ],
)
async def test_a_host_without_addresses_to_dial_says_why(host: str, status: str) -> None:
    async with DnsServer(ZONE, faults=FAULTS) as dns:
        found = await finder(dns).addresses(host)

    assert isinstance(found, Unroutable)
    assert found.status == status


@pytest.mark.parametrize("host", ["half-inside.test", "half-mute.test"])
async def test_what_is_good_of_a_host_is_used(host: str) -> None:
    async with DnsServer(ZONE, faults=FAULTS) as dns:
        found = await finder(dns).addresses(host)

    assert found == (PUBLIC,)


async def test_private_addresses_are_dialled_where_it_is_allowed() -> None:
    async with DnsServer(ZONE) as dns:
        found = await finder(dns, allow_private=True).addresses("inside.test")

    assert isinstance(found, tuple)
    assert set(found) == {"10.0.0.1", "127.0.0.1"}


async def test_a_truncated_answer_is_asked_again_by_tcp() -> None:
    async with DnsServer(ZONE, truncate=["two.test"]) as dns:
        found = await finder(dns).find("two.test")

    assert isinstance(found, MxSet)
    assert dns.asked_by_tcp["two.test", "MX"] == 1


async def test_a_silent_resolver_is_passed_over() -> None:
    async with DnsServer(ZONE, faults={"two.test": "silent"}) as mute, DnsServer(ZONE) as dns:
        lookup = Lookup([mute.place, dns.place], seconds=0.9)
        found = await MxFinder(lookup).find("two.test")

    assert isinstance(found, MxSet)


async def test_many_who_ask_at_once_ask_once() -> None:
    async with DnsServer(ZONE) as dns:
        mx = finder(dns)
        found = await asyncio.gather(*(mx.find("two.test") for _ in range(50)))

    assert len(set(found)) == 1
    assert dns.asked["two.test", "MX"] == 1


async def test_an_answer_lasts_as_long_as_its_ttl() -> None:
    clock = Clock()
    async with DnsServer(ZONE, ttl=30) as dns:
        mx = finder(dns, monotonic=clock)
        await mx.find("two.test")
        clock.seconds += 29
        await mx.find("two.test")
        before = dns.asked["two.test", "MX"]
        clock.seconds += 2
        await mx.find("two.test")

    assert (before, dns.asked["two.test", "MX"]) == (1, 2)


@pytest.mark.parametrize("domain", ["absent.test", "none.test", "text.test"])
async def test_a_no_is_remembered_as_long_as_its_soa_says(domain: str) -> None:
    """RFC 2308 §5."""
    clock = Clock()
    async with DnsServer(ZONE, ttl=40, negative_ttl=40) as dns:
        mx = finder(dns, monotonic=clock)
        await mx.find(domain)
        clock.seconds += 39
        await mx.find(domain)
        before = dns.asked[domain, "MX"]
        clock.seconds += 2
        await mx.find(domain)

    assert (before, dns.asked[domain, "MX"]) == (1, 2)


async def test_a_failure_is_remembered_for_seconds_only() -> None:
    """RFC 2308 §7.1: a backlog for a broken domain does not hammer its servers."""
    clock = Clock()
    async with DnsServer(ZONE, faults=FAULTS) as dns:
        mx = finder(dns, monotonic=clock)
        await mx.find("broken.test")
        asked = dns.asked["broken.test", "MX"]
        await mx.find("broken.test")
        again = dns.asked["broken.test", "MX"]
        dns.faults.clear()
        clock.seconds += 16
        found = await mx.find("broken.test")

    assert again == asked
    assert isinstance(found, Unroutable)
    assert found.status == "5.1.2"


async def test_one_caller_that_gives_up_leaves_the_answer_to_the_others() -> None:
    async with DnsServer(ZONE) as dns:
        mx = finder(dns)
        first, second = (asyncio.create_task(mx.find("two.test")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        found = await second

    assert isinstance(found, MxSet)


async def test_the_site_is_known_after_the_look_up() -> None:
    async with DnsServer(ZONE) as dns:
        mx = finder(dns)
        before = mx.known_site("two.test")
        await mx.find("two.test")

    assert (before, mx.known_site("two.test")) == (None, "mx:a.two.test+1")


@pytest.mark.parametrize("text", ["resolver.example", "300.1.1.1:53", "127.0.0.1:many"])
def test_a_resolver_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Lookup([text])


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]:5353", "[::1]"])
def test_resolvers_are_read_in_every_usual_form(text: str) -> None:
    assert Lookup([text])


async def test_mx_sets_of_one_provider_are_one_site_with_hosts_of_their_own() -> None:
    rules = SiteRules.parse({"x": '[provider.big]\nmx = ["big.test"]\nsource = "assumed"\n'})
    zone = {
        ("one.test", "MX"): ["10 one.in.big.test."],
        ("two.test", "MX"): ["10 two.in.big.test.", "20 spare.other.test."],
    }
    async with DnsServer(zone) as dns:
        mx = finder(dns, rules=rules)
        one, two = await mx.find("one.test"), await mx.find("two.test")

    assert isinstance(one, MxSet)
    assert isinstance(two, MxSet)
    assert one.site == two.site == "provider:big"
    assert [x.host for x in one.exchanges] == ["one.in.big.test"]
    assert [x.host for x in two.exchanges] == ["two.in.big.test", "spare.other.test"]
