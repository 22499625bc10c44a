"""Which addresses are here and have a forward-confirmed name, and that IPv6 is not used without one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mailer.policy.egress import Egress
from mailer.policy.sites import SiteRules
from mailer.relay.egress import provider_of
from mailer.relay.presence import Presence, asking, confirmed_name, is_on_this_host
from tests.support.dns_server import DnsServer

SIX = "2001:db8::5"
SIX_REVERSE = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
ZONE = {
    (SIX_REVERSE, "PTR"): ["out5.example.org."],
    ("out5.example.org", "AAAA"): [SIX],
    ("5.113.0.203.in-addr.arpa", "PTR"): ["liar.example.org.", "Out5.Example.org."],
    ("out5.example.org", "A"): ["203.0.113.5"],
    ("liar.example.org", "A"): ["198.51.100.1"],
    ("6.113.0.203.in-addr.arpa", "PTR"): ["liar.example.org."],
}
BOTH = Egress(id=1, helo="out5.example.org", ipv4="203.0.113.5", ipv6=SIX)


def test_an_address_is_here_if_mail_can_leave_from_it() -> None:
    assert is_on_this_host("127.0.0.2")
    assert is_on_this_host("::1")
    assert not is_on_this_host("198.51.100.9")
    assert not is_on_this_host("2001:db8::9")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (SIX, "out5.example.org"),
        ("203.0.113.5", "out5.example.org"),  # the first name does not lead back, the second does
        ("203.0.113.6", None),
        ("203.0.113.7", None),
    ],
)
async def test_a_name_counts_if_it_leads_back(address: str, name: str | None) -> None:
    async with DnsServer(ZONE) as dns:
        assert await asyncio.to_thread(confirmed_name, address, asking([dns.place])) == name


async def test_a_dns_that_does_not_answer_is_not_a_no() -> None:
    async with DnsServer(ZONE, faults={SIX_REVERSE: "servfail"}) as dns:
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(confirmed_name, SIX, asking([dns.place]))


@dataclass
class FakeDns:
    """Answers from a dictionary; `is_away`: not at all."""

    zone: dict[tuple[str, str], list[str]] = field(default_factory=lambda: dict(ZONE))
    is_away: bool = False
    asked: int = 0

    def __call__(self, name: str, kind: str) -> Sequence[str]:
        self.asked += 1
        if self.is_away:
            raise TimeoutError("nobody answers")
        return self.zone.get((name.rstrip(".").lower(), kind), [])


@dataclass
class Ticks:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def presence(dns: FakeDns, ticks: Ticks, *, trusts_all: bool = False, here: bool = True) -> Presence:
    made = Presence(dns, trusts_all=trusts_all, monotonic=ticks, is_here=lambda _: here)
    made.look([BOTH])
    return made


def test_ipv6_is_used_once_its_name_is_confirmed() -> None:
    seen = presence(FakeDns(), Ticks())

    before = seen.usable(BOTH)
    changed = seen.look_up()

    assert before == ("203.0.113.5", None)
    assert changed
    assert seen.usable(BOTH) == ("203.0.113.5", SIX)


def test_ipv6_without_a_name_is_not_used_and_ipv4_is() -> None:
    dns = FakeDns({})
    seen = presence(dns, Ticks())

    assert not seen.look_up()
    assert seen.usable(BOTH) == ("203.0.113.5", None)
    [facts] = seen.facts([BOTH])
    assert (facts.ipv4_here, facts.ipv6_here, facts.ipv4_name, facts.ipv6_name) == (True, True, None, None)


def test_in_a_sandbox_no_name_is_needed() -> None:
    assert presence(FakeDns({}), Ticks(), trusts_all=True).usable(BOTH) == ("203.0.113.5", SIX)


def test_ipv6_by_the_systems_choice_needs_a_name_as_well() -> None:
    dns = FakeDns()
    seen = presence(dns, Ticks())
    seen.watch([SIX, "203.0.113.5"])
    before = seen.is_ipv6_trusted()
    seen.look_up()

    assert (before, seen.is_ipv6_trusted()) == (False, True)
    nameless = presence(FakeDns({}), Ticks())
    nameless.watch([SIX])
    nameless.look_up()
    assert not nameless.is_ipv6_trusted()
    assert presence(FakeDns({}), Ticks(), trusts_all=True).is_ipv6_trusted()


def test_what_is_not_here_is_not_used() -> None:
    assert presence(FakeDns(), Ticks(), here=False, trusts_all=True).usable(BOTH) == (None, None)


def test_names_are_looked_up_once_an_hour_and_kept_while_the_dns_is_away() -> None:
    dns, ticks = FakeDns(), Ticks()
    seen = presence(dns, ticks)
    seen.look_up()
    asked = dns.asked
    ticks.now = 3599.0
    seen.look_up()
    same = dns.asked
    dns.is_away = True
    ticks.now = 3601.0
    seen.look_up()

    assert same == asked
    assert dns.asked > asked
    assert seen.usable(BOTH) == ("203.0.113.5", SIX)


def test_a_name_that_went_away_takes_ipv6_with_it() -> None:
    dns, ticks = FakeDns(), Ticks()
    seen = presence(dns, ticks)
    seen.look_up()
    del dns.zone[SIX_REVERSE, "PTR"]
    ticks.now = 3601.0

    assert seen.look_up()
    assert seen.usable(BOTH) == ("203.0.113.5", None)


def test_sites_under_the_default_rule_warm_up_as_all_others_together() -> None:
    rules = SiteRules.parse({"sites.toml": '[default]\nsource = "ours"\nconnections = 5\n'})

    assert provider_of(rules, "mx:mx.small.test") == "other"
    assert provider_of(rules, "route:127.0.0.1:25") is None
