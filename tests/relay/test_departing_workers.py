"""Two whole workers share two IPs of loopback: real peers, real sockets, both databases."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from mailer import clock
from mailer.identity import egress, pools
from mailer.identity.pools import NewPool
from mailer.ids import IdMaker
from mailer.policy.sites import SiteRules
from mailer.queue import explain, paced
from mailer.queue.obstacles import Knowledge, Obstacle
from mailer.store.tables import attempt
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom, register
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.working import working

ZONE = {("example.org", "MX"): ["10 mx.slow.example."], ("mx.slow.example", "A"): ["127.0.0.1"]}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
IPS = ("127.0.0.2", "127.0.0.3")


def rules(limit: str) -> SiteRules:
    text = f'[provider.slow]\nmx = ["slow.example"]\nsource = "assumed"\n{limit}\n'
    return SiteRules.parse({"sites.toml": text})


def furnish(room: Mailroom) -> None:
    pools.create(room.store, NewPool(name="main", is_default=True), new_id=room.new_id, now=NOON)
    for address in IPS:
        egress.add(room.store, [address], f"out{address[-1]}.example", new_id=room.new_id, now=NOON)
        pools.put_member(room.store, "main", address)


def another(room: Mailroom) -> Mailroom:
    """The same as another process sees it."""
    worker = register(room.store)
    return replace(room, worker=worker, new_id=IdMaker(worker.process_number, clock.wall_ms))


def sent(room: Mailroom) -> dict[str, list[datetime]]:
    """When, by the IP it left from."""
    accepted = select(attempt.c.egress_ip, attempt.c.closed_at).where(attempt.c.outcome == "accepted")
    found: dict[str, list[datetime]] = defaultdict(list)
    with room.store.read() as connection:
        for address, at in connection.execute(accepted.order_by(attempt.c.closed_at)):
            found[address].append(at)
    return found


async def until_sent(room: Mailroom, count: int) -> dict[str, list[datetime]]:
    for _ in range(900):
        found = await asyncio.to_thread(sent, room)
        if sum(map(len, found.values())) >= count:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"sent only {Counter({k: len(v) for k, v in found.items()})}")


def most_within(times: Sequence[datetime], span: timedelta) -> int:
    return max(sum(begin <= at < begin + span for at in times) for begin in times)


def by_name(peer: ScriptedPeer) -> Counter[str]:
    """Messages by the name in EHLO, as the peer saw them."""
    counts: Counter[str] = Counter()
    for conversation in peer.conversations:
        if conversation.heard:
            counts[conversation.heard[0]] += len(conversation.contents)
    return counts


async def test_each_ip_sends_as_much_in_a_minute_as_the_rule_allows_and_no_message_more(
    room: Mailroom, tmp_path: Path
) -> None:
    furnish(room)
    sites = rules("messages_per_minute = 30")
    mail = [room.message() for _ in range(90)]
    room.accept(*mail)

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path / "a", resolver=dns.place, port=peer.port, sites=sites),
        working(another(room), tmp_path / "b", resolver=dns.place, port=peer.port, sites=sites),
    ):
        await until_sent(room, 60)
        await asyncio.sleep(3.0)
        seen = by_name(peer)
        waiting = await asyncio.to_thread(obstacles, room, mail[-1].id, sites)

    assert seen == {"EHLO out2.example": 30, "EHLO out3.example": 30}
    assert {name: len(times) for name, times in sent(room).items()} == dict.fromkeys(IPS, 30)
    ceilings = [o for o in waiting if o.kind == "ceiling"]
    assert {o.facts["egress_ip"] for o in ceilings} == set(IPS)


def obstacles(room: Mailroom, message_id: int, sites: SiteRules) -> Sequence[Obstacle]:
    knowledge = Knowledge(rules=sites, for_operator=True, also=paced.FINDERS)
    found = explain.explain(room.store, room.tenant_id, message_id, knowledge, now=clock.now())
    assert found is not None
    return found[0].obstacles


async def test_two_ips_send_at_once_and_none_is_faster_than_its_rule(room: Mailroom, tmp_path: Path) -> None:
    furnish(room)
    sites = rules("messages_per_second = 4")
    room.accept(*(room.message() for _ in range(40)))

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path / "a", resolver=dns.place, port=peer.port, sites=sites),
        working(another(room), tmp_path / "b", resolver=dns.place, port=peer.port, sites=sites),
    ):
        found = await until_sent(room, 40)

    whole = [at for times in found.values() for at in times]
    assert set(found) == set(IPS)
    # What is measured is the settle, up to some hundredths late.
    assert all(most_within(times, timedelta(seconds=0.85)) <= 4 for times in found.values())
    assert most_within(whole, timedelta(seconds=1)) > 4


async def test_connections_are_counted_for_each_ip(room: Mailroom, tmp_path: Path) -> None:
    """Both workers have mail in hand for both IPs; of the connections each holds its part."""
    furnish(room)
    sites = rules("connections = 2")
    room.accept(*(room.message() for _ in range(200)))

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path / "a", resolver=dns.place, port=peer.port, sites=sites),
        working(another(room), tmp_path / "b", resolver=dns.place, port=peer.port, sites=sites),
    ):
        found = await until_sent(room, 200)
        seen = Counter(c.heard[0] for c in peer.conversations if c.heard)

    assert set(found) == set(IPS)
    assert seen == {"EHLO out2.example": 2, "EHLO out3.example": 2}
