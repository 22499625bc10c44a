"""Other rules come into force while mail waits: all who hold the rules go by the new ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from mailer import clock
from mailer.bootstrap.site_rules import RulesKeeper
from mailer.policy.outcome import Accepted
from mailer.policy.sites import SiteRules
from mailer.policy.tls import NOTHING_WANTED, Demand
from mailer.queue import explain, ownrules, paced
from mailer.queue.explain import Explanation
from mailer.queue.obstacles import Knowledge
from mailer.relay.connects import ConnectDesk
from mailer.relay.hosts import MxFinder, MxSet
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import Mode
from mailer.relay.smtp.sts import StsFinder
from mailer.relay.smtp.tls_policies import TlsPolicies
from mailer.store import Store
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom
from tests.support.mx_tls import World, _Dane, _Sts
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NotedJournal, mail, settings
from tests.support.working import working

SITE = "provider:slow"
ZONE = {("slow.test", "MX"): ["10 mx.slow.test."], ("mx.slow.test", "A"): ["127.0.0.1"]}


def ruled(*lines: str) -> str:
    return "\n".join(['[provider.slow]\nmx = ["slow.test"]\nsource = "assumed"', *lines, ""])


def parsed(*lines: str) -> SiteRules:
    return SiteRules.parse({"own.toml": ruled(*lines)})


async def test_a_domain_that_is_known_belongs_to_its_new_site_at_once() -> None:
    rules = SiteRules()
    async with DnsServer(ZONE) as dns:
        finder = MxFinder(Lookup([dns.place]), allow_private=True, rules=rules)
        before = await finder.find("slow.test")
        rules.take(parsed())
        known = finder.known_site("slow.test")
        after, again = await finder.find("slow.test"), await finder.find("slow.test")

    assert isinstance(before, MxSet)
    assert isinstance(after, MxSet)
    assert (before.site, known, after.site) == ("mx:mx.slow.test", SITE, SITE)
    assert again is after
    assert dns.asked["slow.test", "MX"] == 1


async def test_a_rule_on_tls_holds_for_a_domain_that_was_just_asked_about() -> None:
    rules, world = SiteRules(), World(is_secure=False)
    async with DnsServer(ZONE) as dns:
        finder = MxFinder(Lookup([dns.place]), allow_private=True, rules=rules)
        policies = TlsPolicies(cast(StsFinder, _Sts(world)), cast(DaneFinder, _Dane(world)), rules)

        async def demand() -> Demand:
            found = await finder.find("slow.test")
            assert isinstance(found, MxSet)
            asked = (await policies.demands("slow.test", found, NOTHING_WANTED))["mx.slow.test"]
            assert isinstance(asked, Demand)
            return asked

        before = await demand()
        rules.take(parsed('tls = "required"'))
        after = await demand()

    assert before != after
    assert after.by == "provider-rule"


async def test_an_open_session_carries_no_more_than_the_new_rule_allows() -> None:
    rules = parsed("messages_per_session = 50")
    async with ScriptedPeer() as peer, DnsServer(ZONE) as dns:
        own = settings(mode=Mode.LIVE, port=peer.port, rules=rules)
        finder = MxFinder(Lookup([dns.place]), allow_private=True, rules=rules)
        carrier = SmtpCarrier(own, finder, NotedJournal())
        for count in range(6):
            if count == 2:
                rules.take(parsed("messages_per_session = 2"))
            assert isinstance((await carrier.deliver(mail(domain="slow.test"))).outcome, Accepted)
        await carrier.close(grace_seconds=1)

    assert [len(c.contents) for c in peer.conversations] == [2, 2, 2]


async def test_a_new_connection_waits_no_longer_for_a_limit_that_was_raised(store: Store) -> None:
    rules = parsed("connections_per_minute = 1")
    desk = ConnectDesk(store, rules, now=clock.now, monotonic=clock.monotonic)

    async def admitted() -> bool:
        asking = asyncio.create_task(desk.admit(SITE, "", 1.0))
        await asyncio.sleep(0)
        desk.serve()
        return await asking

    before = [await admitted(), await admitted()]
    rules.take(parsed("connections_per_minute = 2"))

    assert before == [True, False]
    assert await admitted() is True


async def test_a_worker_goes_by_the_file_as_it_is_now(room: Mailroom, tmp_path: Path) -> None:
    """The ceiling is lowered while mail waits, a bad file changes nothing, and then it is raised."""
    file = tmp_path / "sites.toml"
    file.write_text(ruled("messages_per_second = 2"))
    keeper = RulesKeeper(file, room.store)
    first, rest = room.message("slow.test"), [room.message("slow.test") for _ in range(40)]
    knowledge = Knowledge(rules=keeper.rules, also=paced.FINDERS)

    def explained() -> Explanation:
        found = explain.explain(room.store, room.tenant_id, rest[-1].id, knowledge, now=clock.now())
        assert found is not None
        return found[0]

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(
            room, tmp_path, resolver=dns.place, port=peer.port, sites=keeper.rules, also=keeper.look
        ) as worker,
    ):

        async def sent(count: int) -> None:
            async with asyncio.timeout(60):
                while len(peer.contents) < count:
                    await asyncio.sleep(0.02)

        room.accept(first)  # by it the worker learns whose site that is
        worker.wake()
        await sent(1)
        room.accept(*rest)
        worker.wake()
        await sent(5)
        file.write_text(ruled("messages_per_hour = 1", "messages_per_second = 2"))
        await _taken(keeper)
        file.write_text(ruled("messages_per_hour = 0"))  # nothing can be sent no times
        await asyncio.sleep(3)  # two looks, and what was claimed before the first of them
        lowered = len(peer.contents)
        await asyncio.sleep(2)
        still, waits = len(peer.contents), await asyncio.to_thread(explained)
        file.write_text(f"# they take more now\n{ruled('messages_per_second = 500')}")
        await sent(41)

    assert lowered < 41
    assert still == lowered
    ceilings = {o.what: o.rule for o in waits.obstacles if o.kind == "ceiling"}
    assert ceilings == {"its site is sent 1/hour at most, and so much was sent": f"{file}:1"}
    rule = keeper.rules.rule_of(SITE)
    assert rule is not None
    assert rule.place == f"{file}:2"


async def test_a_worker_goes_by_what_was_set_in_the_database(room: Mailroom, tmp_path: Path) -> None:
    file = tmp_path / "sites.toml"
    file.write_text(ruled("messages_per_second = 2"))
    keeper = RulesKeeper(file, room.store)
    first, rest = room.message("slow.test"), [room.message("slow.test") for _ in range(20)]
    lower = {"mx": ["slow.test"], "messages_per_hour": 1, "source": "assumed"}
    knowledge = Knowledge(rules=keeper.rules, also=paced.FINDERS)
    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(
            room, tmp_path, resolver=dns.place, port=peer.port, sites=keeper.rules, also=keeper.look
        ) as worker,
    ):

        async def sent(count: int) -> None:
            async with asyncio.timeout(60):
                while len(peer.contents) < count:
                    await asyncio.sleep(0.02)

        room.accept(first)
        worker.wake()
        await sent(1)
        room.accept(*rest)
        worker.wake()
        await sent(3)
        ownrules.put(room.store, "slow", lower, check=keeper.merged, now=clock.now())
        await _taken(keeper)
        await asyncio.sleep(2)
        lowered = len(peer.contents)
        found = explain.explain(room.store, room.tenant_id, rest[-1].id, knowledge, now=clock.now())
        ownrules.remove(room.store, "slow", check=keeper.merged)
        await sent(21)

    assert lowered < 15
    assert found is not None
    assert {o.rule for o in found[0].obstacles if o.kind == "ceiling"} == {"api"}


async def _taken(keeper: RulesKeeper) -> None:
    edition = keeper.rules.edition
    async with asyncio.timeout(10):
        while keeper.rules.edition is edition:
            await asyncio.sleep(0.05)
