"""Mail of a pool waits while all its IPs are closed; the explanation names each, and when the first opens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from mailer import clock
from mailer.identity import egress, pools
from mailer.identity.pools import NewPool
from mailer.policy.egress import Stay
from mailer.policy.limits import Rate
from mailer.policy.outcome import Refused
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import backlog, explain, metering, paced, permits
from mailer.queue import egress as queue_egress
from mailer.queue.backlog import Wanted
from mailer.queue.egress import HostFacts
from mailer.queue.enqueue import NewMessage
from mailer.queue.obstacles import Knowledge, Obstacle
from mailer.relay.pacebook import PaceBook
from tests.support.mailroom import DELIVERED, HEARD_250, Mailroom

ONE, TWO = "203.0.113.1", "203.0.113.2"
SITE = "provider:slow"
TEXT = """
[provider.slow]
mx = ["slow.example"]
connections = 2
messages_per_hour = 1
source = "assumed"

[rule.slow-down]
code = [421]
action = ["slow"]
source = "ours"
"""
RULES = SiteRules.parse({"own.toml": TEXT})
OPERATOR = Knowledge(rules=RULES, for_operator=True, also=paced.FINDERS, site_of=lambda _: SITE)
TENANT = Knowledge(rules=RULES, also=paced.FINDERS, site_of=lambda _: SITE)


@pytest.fixture
def mail(room: Mailroom) -> NewMessage:
    """A message that waits, of a pool with two IPs that are on a host."""
    pools.create(room.store, NewPool(name="main", is_default=True), new_id=room.new_id, now=clock.now())
    for address in (ONE, TWO):
        egress.add(room.store, [address], f"out-{address[-1]}.example", new_id=room.new_id, now=clock.now())
        pools.put_member(room.store, "main", address)
    facts = [HostFacts(ip(room, a), True, False, None, None) for a in (ONE, TWO)]
    queue_egress.report(room.store, "here", facts, now=clock.now())
    m = room.message()
    room.accept(m)
    return m


def ip(room: Mailroom, address: str) -> int:
    return egress.one(room.store, address).id


def obstacles(room: Mailroom, m: NewMessage, knowledge: Knowledge = OPERATOR) -> Sequence[Obstacle]:
    found = explain.explain(room.store, room.tenant_id, m.id, knowledge, now=clock.now())
    assert found is not None
    return found[0].obstacles


def use_up(room: Mailroom, address: str) -> None:
    """The one message an hour that the rule allows it."""
    name = f"site:{address}|{SITE}"
    with room.store.write() as connection:
        till = metering.Till(connection, {name: [Rate(3600, 1)]}, now=clock.now(), monotonic=clock.monotonic)
        till.take([name])
        till.close()


def suspend(room: Mailroom, address: str) -> None:
    book = PaceBook(room.store, RULES, most_of=lambda _: 2, monotonic=clock.monotonic, now=clock.now)
    book.note(address, SITE, room.tenant_id, room.stream_id, Refused(Reply(421, ("no",)), Phase.MAIL))
    book.synchronise(clock.now())


def test_while_one_ip_is_open_nothing_is_in_the_way(room: Mailroom, mail: NewMessage) -> None:
    use_up(room, ONE)

    assert obstacles(room, mail) == []


def test_every_closed_ceiling_is_named_with_its_ip_and_the_first_to_open_says_until_when(
    room: Mailroom, mail: NewMessage
) -> None:
    use_up(room, ONE)
    use_up(room, TWO)

    first, *each = obstacles(room, mail)
    told = obstacles(room, mail, TENANT)

    assert (first.kind, first.until) == ("pool_closed", min(o.until for o in each if o.until))
    assert first.facts["pool"] == "main"
    assert {(o.kind, o.facts["egress_ip"], o.rule) for o in each} == {
        ("ceiling", ONE, "own.toml:2"), ("ceiling", TWO, "own.toml:2")
    }  # fmt: skip
    assert f"at most from {ONE}" in each[0].what
    assert [o.kind for o in told] == ["pool_closed", "ceiling", "ceiling"]
    assert ONE not in str(told)


def test_ips_that_are_closed_for_different_reasons_are_all_named(room: Mailroom, mail: NewMessage) -> None:
    permits.acquire(room.store, room.worker.id, {f"ip:{ONE}|{SITE}": 2})
    suspend(room, TWO)

    first, *each = obstacles(room, mail)

    assert first.kind == "pool_closed"
    assert first.until is not None
    assert first.until < clock.now() + timedelta(minutes=1)
    assert {(o.kind, o.facts["egress_ip"]) for o in each} == {("connections", ONE), ("suspended", TWO)}
    assert f"2 connections at a time from {ONE}" in each[0].what


def test_what_is_pinned_waits_for_its_own_ip(room: Mailroom, mail: NewMessage) -> None:
    use_up(room, ONE)
    stay = Stay(ip(room, ONE), is_pinned=True, is_changed=False)
    with room.store.write() as connection:
        queue_egress.keep(connection, {mail.recipients[0].id: stay})

    first, ceiling = obstacles(room, mail)

    assert f"its last try left from {ONE}" in first.what
    assert (ceiling.kind, ceiling.facts["egress_ip"]) == ("ceiling", ONE)
    assert first.until == ceiling.until


def test_what_another_ip_is_slowed_by_is_nothing_to_mail_without_a_pool(
    room: Mailroom, mail: NewMessage
) -> None:
    suspend(room, ONE)
    pools.change(room.store, "main", pools.PoolChange(is_default=False))

    assert obstacles(room, mail) == []


def test_the_overview_adds_up_a_sites_permits_over_all_ips(room: Mailroom, mail: NewMessage) -> None:
    room.settle(room.claim(), DELIVERED, HEARD_250)
    m = room.message()
    room.accept(m)
    permits.acquire(room.store, room.worker.id, {f"ip:{ONE}|{SITE}": 2, f"ip:{TWO}|{SITE}": 2})

    [row] = [r for r in backlog.look(room.store, Wanted(), OPERATOR, now=clock.now()).rows if r.name == SITE]

    assert (row.granted, row.limit) == (4, 4)
