"""A whole worker and a warm-up: mail by MX look-up, more than the IP may send, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from mailer.config.load import warmup_rules
from mailer.identity import egress, pools
from mailer.identity.pools import NewPool
from mailer.queue import read, warming
from mailer.queue.claim import Claimed
from mailer.queue.read import RecipientView
from mailer.queue.warming import Start
from tests.support.dns_server import DnsServer
from tests.support.mailroom import Mailroom
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.working import working

ZONE = {("example.org", "MX"): ["10 mx.example.org."], ("mx.example.org", "A"): ["127.0.0.1"]}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
RULES = warmup_rules()
CAP = RULES.ladder("steady", None, "other").caps[0]


def recipients(room: Mailroom, messages: Sequence[int]) -> list[RecipientView]:
    views = [read.message_of(room.store, room.tenant_id, m) for m in messages]
    return [r for v in views if v is not None for r in v.recipients]


async def settled(room: Mailroom, messages: Sequence[int]) -> list[RecipientView]:
    """Once none is queued or leased any more."""
    for _ in range(600):
        found = await asyncio.to_thread(recipients, room, messages)
        if not {r.state for r in found} & {"queued", "leased"}:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"still under way: {Counter(r.state for r in found)}")


async def test_a_worker_never_sends_more_than_the_cap_and_the_rest_waits_until_midnight(
    room: Mailroom, tmp_path: Path
) -> None:
    """The domain was never looked up, so the first try only finds out whose warm-up it counts for."""
    ip = egress.add(room.store, ["127.0.0.2"], "out2.example.org", new_id=room.new_id, now=NOON)
    pools.create(room.store, NewPool(name="main", is_default=True), new_id=room.new_id, now=NOON)
    pools.put_member(room.store, "main", "127.0.0.2")
    warming.start(room.store, ip.id, Start("steady"), rules=RULES, now=NOON)
    sent = [room.message() for _ in range(CAP + 15)]
    room.accept(*sent)

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path, resolver=dns.place, port=peer.port, now=lambda: NOON),
    ):
        found = await settled(room, [m.id for m in sent])

    states = Counter((r.state, r.wait_reason, r.attempts) for r in found)
    assert states == {("delivered", None, 1): CAP, ("deferred", "warmup", 0): 15}
    assert {r.due_at for r in found if r.state == "deferred"} == {MIDNIGHT}
    assert len(peer.contents) == CAP
    assert {c.heard[0] for c in peer.conversations} == {"EHLO out2.example.org"}

    standing = warming.one(room.store, ip.id, rules=RULES, now=NOON)
    assert standing is not None
    [other] = standing.providers
    assert (other.provider, other.used, other.delivered) == ("other", CAP, CAP)


async def test_mail_with_a_deadline_overflows_and_then_fails_at_once(room: Mailroom, tmp_path: Path) -> None:
    """Two IPs that warm up, one of the overflow pool; what neither may send today is of no use tomorrow."""
    for name, address in (("spare", "127.0.0.3"), ("main", "127.0.0.2")):
        ip = egress.add(room.store, [address], f"out{address[-1]}.example.org", new_id=room.new_id, now=NOON)
        new = NewPool(name=name, is_default=name == "main", overflow="spare" if name == "main" else None)
        pools.create(room.store, new, new_id=room.new_id, now=NOON)
        pools.put_member(room.store, name, address)
        warming.start(room.store, ip.id, Start("steady"), rules=RULES, now=NOON)
    urgent = [replace(room.message(), expires_at=NOON + timedelta(hours=1)) for _ in range(2 * CAP + 9)]
    patient = room.message()
    room.accept(*urgent)

    async with (
        ScriptedPeer() as peer,
        DnsServer(ZONE) as dns,
        working(room, tmp_path, resolver=dns.place, port=peer.port, now=lambda: NOON),
    ):
        found = await settled(room, [m.id for m in urgent])
        await asyncio.to_thread(room.accept, patient)
        [waits] = await settled(room, [patient.id])

    assert Counter((r.state, r.attempts) for r in found) == {("delivered", 1): 2 * CAP, ("expired", 0): 9}
    assert Counter(c.heard[0] for c in peer.conversations).keys() == {
        "EHLO out2.example.org",
        "EHLO out3.example.org",
    }
    assert (waits.state, waits.wait_reason, waits.due_at) == ("deferred", "warmup", MIDNIGHT)


async def test_what_could_not_be_offered_uses_up_no_room(room: Mailroom, tmp_path: Path) -> None:
    """Nobody listens: the cap is still there when the host comes back."""
    ip = egress.add(room.store, ["127.0.0.2"], "out2.example.org", new_id=room.new_id, now=NOON)
    pools.create(room.store, NewPool(name="main", is_default=True), new_id=room.new_id, now=NOON)
    pools.put_member(room.store, "main", "127.0.0.2")
    warming.start(room.store, ip.id, Start("steady"), rules=RULES, now=NOON)
    sent = [room.message() for _ in range(8)]
    room.accept(*sent)

    async with DnsServer(ZONE) as dns, working(room, tmp_path, resolver=dns.place, port=9, now=lambda: NOON):
        found = await settled(room, [m.id for m in sent])

    assert {(r.state, r.wait_reason) for r in found} == {("deferred", "broken")}
    standing = warming.one(room.store, ip.id, rules=RULES, now=NOON)
    assert standing is not None
    assert [p.used for p in standing.providers] == [0]


def test_claimed_mail_knows_its_stream(room: Mailroom) -> None:
    room.accept(room.message())

    claimed: list[Claimed] = room.claim()

    assert [c.stream_id for c in claimed] == [room.stream_id]
