"""Pulling work: under permits, within limits, and nothing that was leased to us stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mailer import clock
from mailer.queue import incarnations
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from tests.support.mailroom import DELIVERED, Mailroom, register


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
    permits = Permits(room.store, room.worker.id, limit=limits.connections_per_site, monotonic=ticks)
    means = Means(
        store=room.store, lease=lease, in_hand=in_hand, new_id=room.new_id,
        process_number=room.worker.process_number, now=clock.now, monotonic=ticks,
    )  # fmt: skip
    return Bench(
        Claimer(means, permits, limits=limits, site_of=lambda _: site), in_hand, permits, lease, ticks
    )


def test_what_is_due_is_claimed_and_counted_in_hand(room: Mailroom) -> None:
    room.accept(room.message("a.example"), room.message("b.example"))
    b = bench(room)

    claimed = b.claimer.pull()

    assert {c.domain for c in claimed} == {"a.example", "b.example"}
    assert (b.in_hand.messages, b.in_hand.by_site()) == (2, {"route:mx:25": 2})


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
    theirs = Permits(room.store, other.id, limit=1, monotonic=Clock())
    theirs.refresh(["route:mx:25"])

    assert bench(room, limits).claimer.pull() == []


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


def test_an_unresolved_domain_is_claimed_under_a_permit_of_its_own(room: Mailroom) -> None:
    room.accept(room.message("new.example"))
    b = bench(room, site=None)

    [claimed] = b.claimer.pull()

    assert claimed.domain == "new.example"
    assert b.in_hand.by_site() == {"domain:new.example": 1}
    assert b.permits.granted("domain:new.example") > 0


def test_permits_that_lapsed_are_given_back(room: Mailroom) -> None:
    b = bench(room)
    b.permits.refresh(["route:mx:25"])
    b.clock.now += 100

    lapsed = b.permits.lapsed(30)
    b.permits.give_back(lapsed)

    assert lapsed == ["route:mx:25"]
    assert b.permits.granted("route:mx:25") == 0
