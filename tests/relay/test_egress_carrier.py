"""What leaves from which of our addresses, under which name, and over which session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailer.events import WaitReason
from mailer.policy.egress import Egress
from mailer.policy.outcome import Accepted, NotTried, Unroutable
from mailer.policy.tls import Barred
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.plan import Choice, Plan
from mailer.relay.smtp.session import Target
from mailer.relay.smtp.settings import Mode
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NotedJournal, OneHost, carrier_to, mail, settings

SECOND = Egress(id=2, helo="out2.example", ipv4="127.0.0.2")
THIRD = Egress(id=3, helo="out3.example", ipv4="127.0.0.3", ipv6="::1")
SIX = Egress(id=6, helo="out6.example", ipv6="::1")


def carrier_by_mx(port: int, *addresses: str, **more: Any) -> SmtpCarrier:
    return SmtpCarrier(
        settings(mode=Mode.LIVE, port=port, **more), OneHost("mx:mx.example", *addresses), NotedJournal()
    )  # type: ignore[arg-type]


async def test_mail_leaves_from_its_ip_under_that_ips_name() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail(egress=SECOND))

    assert isinstance(report.outcome, Accepted)
    assert report.egress_ip == "127.0.0.2"
    assert peer.conversations[0].heard[0] == "EHLO out2.example"
    assert "from 127.0.0.2" in [s.text for s in report.steps if s.who == "note"]


async def test_without_an_ip_of_ours_the_system_chooses_and_our_own_name_is_given() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert report.egress_ip == "127.0.0.1"
    assert peer.conversations[0].heard[0] == "EHLO client.example"


async def test_a_session_belongs_to_the_ip_it_left_from() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        used = [
            (await carrier.deliver(mail(egress=e))).egress_ip for e in (SECOND, THIRD, SECOND, None, THIRD)
        ]

    assert used == ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.1", "127.0.0.3"]
    assert [c.heard[0] for c in peer.conversations] == [
        "EHLO out2.example", "EHLO out3.example", "EHLO client.example"
    ]  # fmt: skip


async def test_hosts_of_a_family_that_the_ip_has_no_address_of_are_skipped() -> None:
    async with ScriptedPeer() as peer:
        carrier = carrier_by_mx(peer.port, "::1", "127.0.0.1")
        report = await carrier.deliver(mail(egress=SECOND))
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Accepted)
    assert report.address == f"127.0.0.1:{peer.port}"


async def test_families_are_tried_in_turn_each_from_our_address_of_it() -> None:
    """Nobody listens on ::1, so the second try is over IPv4."""
    async with ScriptedPeer() as peer:
        carrier = carrier_by_mx(peer.port, "::1", "127.0.0.1")
        report = await carrier.deliver(mail(egress=THIRD))
        await carrier.close(grace_seconds=0)

    assert [s.text for s in report.steps if s.text.startswith("from ")] == ["from ::1", "from 127.0.0.3"]
    assert report.egress_ip == "127.0.0.3"


async def test_a_host_out_of_reach_of_the_ip_is_a_deferral() -> None:
    async with ScriptedPeer() as peer:
        carrier = carrier_by_mx(peer.port, "127.0.0.1")
        report = await carrier.deliver(mail(egress=SIX))
        await carrier.close(grace_seconds=0)

    assert report.outcome == Unroutable("4.4.1", "mx.example has no address that ::1 can dial")
    assert peer.conversations == []


async def test_where_the_system_chooses_ipv6_needs_a_name() -> None:
    """RFC 8601 §2.7.3 is what receivers check; nobody listens on ::1 here, so it would only cost a try."""
    async with ScriptedPeer() as peer:
        carrier = carrier_by_mx(peer.port, "::1", "127.0.0.1", ipv6_allowed=lambda: False)
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)
        six = carrier_by_mx(peer.port, "::1", ipv6_allowed=lambda: False)
        none = await six.deliver(mail())
        await six.close(grace_seconds=0)

    assert [s.text for s in report.steps if s.text.startswith("connecting")] == [
        f"connecting to mx.example 127.0.0.1:{peer.port}"
    ]
    assert none.outcome == Unroutable(
        "4.4.1", "mx.example has no address that may be dialled: our IPv6 address has no name"
    )


@pytest.mark.parametrize("only", ["", "mx:another.example"])
async def test_mail_whose_ip_was_chosen_for_another_site_goes_back_without_a_try(only: str) -> None:
    async with ScriptedPeer() as peer:
        carrier = carrier_by_mx(peer.port, "127.0.0.1")
        report = await carrier.deliver(mail(egress=SECOND, only_site=only))
        sent = await carrier.deliver(mail(egress=SECOND, only_site="mx:mx.example"))
        await carrier.close(grace_seconds=0)

    assert report.outcome == NotTried(WaitReason.RELEASED)
    assert report.site == "mx:mx.example"  # which is noted, so that the next choice knows
    assert isinstance(sent.outcome, Accepted)


def test_a_barred_host_stays_barred_wherever_mail_leaves_from() -> None:
    barred = Barred("no TLSA answer could be trusted", "dnssec-invalid", None)
    plan = Plan(
        "mx:mx.example", (Choice(10, Target("mx.example", 25), barred), Choice(20, Target("mx2.example", 25)))
    )

    moved = plan.leaving_from(SECOND)

    assert [(c.barred, c.target.egress) for c in moved.choices] == [(barred, SECOND), (None, SECOND)]


async def test_connections_of_one_ip_leave_those_of_another_alone() -> None:
    """The first connection hears no greeting, and its IP may have but one."""
    async with (
        ScriptedPeer("HANG") as peer,
        carrier_to(peer.port, connections_of=lambda _place: 1, wait_seconds=0.2) as carrier,
    ):
        hanging = asyncio.create_task(carrier.deliver(mail(egress=SECOND)))
        while not peer.conversations:
            await asyncio.sleep(0.01)
        other = await carrier.deliver(mail(egress=THIRD))
        again = await carrier.deliver(mail(egress=SECOND))
        busy = {place: stats.busy for place, stats in carrier.stats().items()}
        await carrier.close(grace_seconds=0)
        await hanging

    assert isinstance(other.outcome, Accepted)
    assert other.egress_ip == "127.0.0.3"
    assert again.outcome == NotTried(WaitReason.NO_PERMIT)
    assert busy == {
        f"ip:127.0.0.2|route:127.0.0.1:{peer.port}": 1, f"ip:127.0.0.3|route:127.0.0.1:{peer.port}": 0
    }  # fmt: skip
