"""Pulling work: under permits, within limits, and nothing that was leased to us stays unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from sqlalchemy import event

from mailer import clock
from mailer.policy.limits import Rate
from mailer.policy.pacing import in_hand_limit, limit_of_broadcast
from mailer.policy.sites import SiteRules
from mailer.queue import allowances, incarnations, metering, suppressionlist
from mailer.queue.claim import Claimed
from mailer.queue.enqueue import NewMessage
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import API, Entry
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.store.tables import stream, tenant
from tests.support.mailroom import DELIVERED, KEYS, Mailroom, register


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A claimer of the mailroom's worker whose clock the test moves."""

    claimer: Claimer
    in_hand: InHand
    permits: Permits
    lease: Lease
    clock: Clock


def bench(room: Mailroom, limits: ClaimLimits | None = None, site: str | None = "route:mx:25") -> Bench:
    ticks, limits = Clock(), limits or ClaimLimits()
    lease = Lease(room.store, room.worker.id, seconds=15, monotonic=ticks)
    in_hand = InHand()
    permits = Permits(room.store, room.worker.id, limit_of=limits.connections, monotonic=ticks)
    means = Means(
        store=room.store, lease=lease, in_hand=in_hand, new_id=room.new_id,
        process_number=room.worker.process_number, keys=KEYS, now=clock.now, monotonic=ticks,
    )  # fmt: skip
    return Bench(
        Claimer(means, permits, limits=limits, site_of=lambda _: site), in_hand, permits, lease, ticks
    )


def test_what_is_due_is_claimed_and_counted_in_hand(room: Mailroom) -> None:
    room.accept(room.message("a.example"), room.message("b.example"))
    b = bench(room)

    claimed = b.claimer.pull()

    assert {(c.domain, c.is_unsited) for c in claimed} == {("a.example", False), ("b.example", False)}
    assert (b.in_hand.messages, b.in_hand.by_place()) == (2, {"route:mx:25": 2})


def test_a_claim_that_nobody_answered_for_is_adopted(room: Mailroom) -> None:
    """The COMMIT stood and its answer was lost: the attempts are open, and this worker does not know."""
    room.accept(room.message())
    [unknown] = room.claim()
    b = bench(room)

    adopted = b.claimer.pull()

    assert [c.attempt_id for c in adopted] == [unknown.attempt_id]
    assert b.claimer.pull() == []


def test_what_is_in_hand_or_settled_is_not_adopted(room: Mailroom) -> None:
    room.accept(room.message(), room.message())
    b = bench(room)
    first, _second = b.claimer.pull()
    room.settle([first], DELIVERED)
    b.clock.now += 60
    b.lease.renew()

    assert b.claimer.pull() == []


def test_a_site_whose_permits_others_hold_is_left_to_them(room: Mailroom) -> None:
    other = register(room.store)
    room.accept(room.message())
    limits = ClaimLimits(connections_per_site=1)
    theirs = Permits(room.store, other.id, limit_of=lambda _: 1, monotonic=Clock())
    theirs.refresh(["route:mx:25"])

    assert bench(room, limits).claimer.pull() == []


def test_workers_share_the_connections_that_a_provider_takes(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{n}.example") for n in range(9)))
    text = '[provider.big]\nmx = ["big.example"]\nconnections = 2\nsource = "assumed"'
    limits = ClaimLimits(rules=SiteRules.parse({"sites.toml": text}))
    b = bench(room, limits, site="provider:big")

    b.claimer.pull()
    alone = b.permits.granted("provider:big")
    other = register(room.store)
    theirs = Permits(room.store, other.id, limit_of=limits.connections, monotonic=Clock())
    theirs.refresh(["provider:big", "mx:small.example"])

    assert alone == 2
    assert (theirs.granted("provider:big"), theirs.granted("mx:small.example")) == (0, 10)


SLOW = """
[provider.slow]
mx = ["slow.example"]
messages_per_second = 2
source = "assumed"
"""


def test_a_site_gets_no_more_over_time_than_its_rule_allows_and_the_others_get_theirs(room: Mailroom) -> None:
    room.accept(
        *(room.message("slow.example") for _ in range(9)), *(room.message("d.example") for _ in range(9))
    )
    b = bench(room, ClaimLimits(rules=SiteRules.parse({"sites.toml": SLOW})), site=None)
    sites = {"slow.example": "provider:slow", "d.example": "mx:d.example"}
    b.claimer._site_of = sites.get

    first = Counter(c.domain for c in b.claimer.pull())
    again = b.claimer.pull()
    opens_in = b.claimer.opens_in()

    assert first == {"slow.example": 2, "d.example": 9}
    assert again == []
    assert opens_in is not None
    assert 0 < opens_in < 1.2


def test_a_closed_ceiling_is_not_asked_for_again_before_it_opens(room: Mailroom) -> None:
    room.accept(*(room.message("slow.example") for _ in range(9)))
    b = bench(room, ClaimLimits(rules=SiteRules.parse({"sites.toml": SLOW})), site="provider:slow")
    b.claimer.pull()
    b.claimer.pull()
    waits = b.claimer.opens_in()
    assert waits is not None
    with metered(room) as asked:
        b.claimer.pull()
        before = list(asked)
        b.clock.now += waits
        b.claimer.pull()

    assert before == []
    assert asked == ["site:|provider:slow"]


def test_a_tenants_allowance_holds_over_all_sites_within_seconds(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{n}.example") for n in range(9)))
    allowances.allow(room.store, "tenant", room.tenant_id, [Rate(1, 3)], now=clock.now())
    b = bench(room, site=None)

    claimed = b.claimer.pull()
    allowances.allow(room.store, "tenant", room.tenant_id, [], now=clock.now())
    b.clock.now += 3
    b.lease.renew()
    rest = b.claimer.pull()

    assert (len(claimed), len(rest)) == (3, 6)
    assert all(c.spend is not None for c in claimed)
    assert all(c.spend is None for c in rest)


def test_an_allowance_that_was_raised_holds_nothing_up_by_what_it_was(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{n}.example") for n in range(3)))
    allowances.allow(room.store, "tenant", room.tenant_id, [Rate(86400, 1)], now=clock.now())
    b = bench(room, site=None)
    claimed = [len(b.claimer.pull()), len(b.claimer.pull())]
    allowances.allow(room.store, "tenant", room.tenant_id, [Rate(86400, 2)], now=clock.now())
    b.clock.now += 3
    b.lease.renew()

    assert claimed == [1, 0]
    assert len(b.claimer.pull()) == 1


@contextmanager
def metered(room: Mailroom) -> Iterator[list[str]]:
    """The names of the ceilings whose meters are asked meanwhile."""
    written: list[str] = []

    original = metering.Till.close

    def close(till: metering.Till) -> None:
        written.extend(till._rates)
        original(till)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metering.Till, "close", close)
        yield written


def test_without_news_the_database_is_asked_only_when_there_is_room(room: Mailroom) -> None:
    b = bench(room)
    b.claimer.pull()
    room.accept(room.message())

    without_news, with_news = b.claimer.pull(news=False), b.claimer.pull(news=True)

    assert (without_news, len(with_news)) == ([], 1)


def test_a_worker_whose_lease_is_stale_claims_nothing(room: Mailroom) -> None:
    room.accept(room.message())
    b = bench(room)
    b.clock.now += 8

    assert b.claimer.pull() == []


def test_a_fenced_worker_learns_it_at_its_next_claim(room: Mailroom) -> None:
    room.accept(room.message())
    b = bench(room)
    incarnations.fence(room.store, room.worker.id, now=clock.now())

    assert b.claimer.pull() == []
    assert b.lease.fenced


@pytest.mark.parametrize("batch", [1, 7])
def test_a_claim_takes_no_more_than_its_batch(room: Mailroom, batch: int) -> None:
    room.accept(*(room.message() for _ in range(20)))

    assert len(bench(room, ClaimLimits(batch=batch)).claimer.pull()) == batch


def broadcast(room: Mailroom, count: int) -> list[NewMessage]:
    """Messages of another stream of the same tenant, whose kind is broadcast."""
    stream_id = room.new_id()
    with room.store.write() as connection:
        row = {"id": stream_id, "tenant_id": room.tenant_id, "name": f"news-{stream_id}", "kind": "broadcast"}
        connection.execute(stream.insert(), row | {"in_doubt": "retry", "created_at": clock.now()})
    return [replace(room.message(), stream_id=stream_id) for _ in range(count)]


def test_broadcast_mail_leaves_a_quarter_of_a_site_to_transactional_mail_that_comes_later(
    room: Mailroom,
) -> None:
    limits = ClaimLimits(connections_per_site=4)
    b = bench(room, limits)
    room.accept(*broadcast(room, 200))
    first = claim_all(b)
    room.accept(room.message())

    later = b.claimer.pull()

    most = in_hand_limit(4, b.in_hand.at("route:mx:25")[1])
    assert len(first) == limit_of_broadcast(most) < most
    assert [c.stream_kind for c in later] == ["transactional"]


def test_a_tenants_backlog_leaves_room_at_a_site_to_another_tenant(room: Mailroom) -> None:
    b = bench(room)
    room.accept(*(room.message() for _ in range(200)))
    backlog = claim_all(b)
    room.accept(of_another_tenant(room))

    [later] = b.claimer.pull()

    assert len(backlog) == 60  # three quarters of 20 connections with work for 0.2 s each
    assert later.tenant_id != room.tenant_id


def test_a_tenant_alone_uses_every_connection_of_a_slow_site(room: Mailroom) -> None:
    b = bench(room)
    room.accept(room.message())
    [first] = b.claimer.pull()
    for _ in range(100):
        b.in_hand.took(first.attempt_id, 30.0)
    b.in_hand.drop([first.attempt_id])
    room.accept(*(room.message() for _ in range(50)))

    assert len(claim_all(b)) == 20


def of_another_tenant(room: Mailroom) -> NewMessage:
    tenant_id, stream_id, at = room.new_id(), room.new_id(), clock.now()
    with room.store.write() as connection:
        row = {"id": tenant_id, "name": f"other-{tenant_id}", "state": "active", "created_at": at}
        connection.execute(tenant.insert(), row)
        mine = {"id": stream_id, "tenant_id": tenant_id, "name": "main", "kind": "transactional"}
        connection.execute(stream.insert(), mine | {"in_doubt": "retry", "created_at": at})
    return replace(room.message(), tenant_id=tenant_id, stream_id=stream_id)


def test_a_worker_never_fills_all_its_hands_with_broadcast_mail(room: Mailroom) -> None:
    b = bench(room, ClaimLimits(messages=8))
    room.accept(*broadcast(room, 50))

    assert len(claim_all(b)) == 6


def test_of_what_is_claimed_at_once_transactional_mail_comes_first(room: Mailroom) -> None:
    room.accept(*broadcast(room, 3))
    room.accept(room.message())

    kinds = [c.stream_kind for c in bench(room).claimer.pull()]

    assert kinds == ["transactional", "broadcast", "broadcast", "broadcast"]


def claim_all(b: Bench) -> list[Claimed]:
    claimed: list[Claimed] = []
    while more := b.claimer.pull():
        claimed += more
    return claimed


def test_an_unresolved_domain_is_claimed_under_a_permit_of_its_own(room: Mailroom) -> None:
    room.accept(room.message("new.example"))
    b = bench(room, site=None)

    [claimed] = b.claimer.pull()

    assert (claimed.domain, claimed.is_unsited) == ("new.example", True)
    assert b.in_hand.by_place() == {"domain:new.example": 1}
    assert b.permits.granted("domain:new.example") > 0


def test_permits_that_lapsed_are_given_back(room: Mailroom) -> None:
    b = bench(room)
    b.permits.refresh(["route:mx:25"])
    b.clock.now += 100

    lapsed = b.permits.lapsed(30)
    b.permits.give_back(lapsed)

    assert lapsed == ["route:mx:25"]
    assert b.permits.granted("route:mx:25") == 0


def statements(room: Mailroom, begun: list[int]) -> None:
    """Counts transactions into `begun`."""
    event.listen(room.store._engine, "begin", lambda _connection: begun.append(1))


def test_what_was_served_out_is_looked_at_again_with_news_only(room: Mailroom) -> None:
    """There is room after every delivery; without mail for it, a look at the database is for nothing."""
    room.accept(*(room.message() for _ in range(3)))
    b = bench(room)
    assert len(b.claimer.pull()) == 3
    room.accept(room.message())

    without, with_news = b.claimer.pull(news=False), b.claimer.pull(news=True)

    assert (len(without), len(with_news)) == (0, 1)


def test_what_had_more_than_was_asked_for_is_looked_at_again_when_there_is_room(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(9)))
    b = bench(room, ClaimLimits(batch=4))

    took = [len(b.claimer.pull(news=n == 0)) for n in range(4)]

    assert took == [4, 4, 1, 0]


def test_news_that_came_while_there_was_no_room_is_not_forgotten(room: Mailroom) -> None:
    """All that was there is in hand, and all that may be; then more comes, and only then one ends."""
    room.accept(*(room.message() for _ in range(3)))
    b = bench(room, ClaimLimits(messages=3))
    claimed = b.claimer.pull()
    room.accept(room.message())
    full = b.claimer.pull(news=True)

    b.in_hand.drop([claimed[0].attempt_id])
    after = b.claimer.pull(news=False)

    assert (len(claimed), full, len(after)) == (3, [], 1)


def test_who_is_ended_by_a_claim_leaves_its_flow_worth_another(room: Mailroom) -> None:
    """They were there, and more may be behind them."""
    mail = [room.message() for _ in range(9)]
    room.accept(*mail)
    for message in mail[:2]:
        entry = Entry(
            id=room.new_id(), target=KEYS.address(message.recipients[0].address), tenant_id=room.tenant_id,
            stream_id=EVERY_STREAM, reason="complaint", cause=API, created_at=clock.now(),
        )  # fmt: skip
        suppressionlist.add(room.store, entry, new_id=room.new_id)
    b = bench(room, ClaimLimits(batch=4))

    took = [len(b.claimer.pull(news=n == 0)) for n in range(3)]

    assert took == [2, 4, 1]


def test_what_the_next_pull_would_read_is_read_while_nothing_waits(room: Mailroom) -> None:
    room.accept(room.message())
    b = bench(room)
    b.claimer.pull()
    b.clock.now += 3.0  # older than half of what it lasts, and not old; holds and ceilings are
    begun: list[int] = []
    statements(room, begun)

    b.claimer.pull(news=False)
    ahead = len(begun)
    b.claimer.pull(news=False)
    again = len(begun) - ahead

    assert ahead == 3  # holds, ceilings, permits
    assert again == 0
