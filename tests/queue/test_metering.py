"""Tokens are dealt by the database: to all workers together no more than a ceiling leaves."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from mailer import clock
from mailer.policy.limits import Rate
from mailer.queue import allowances, claim, incarnations, metering
from mailer.queue.claim import Claimed, Terms
from mailer.queue.incarnations import Fenced
from mailer.queue.metering import Rates, Tolls
from mailer.store import Store
from mailer.store.tables import rate
from tests.support.mailroom import RELEASED, Mailroom, register


def tolls(rates: Rates, room: Mailroom) -> Tolls:
    lanes = claim.waiting_lanes(room.store, limit=1000)
    return Tolls(
        rates=rates, of_lane={lane.lane_id: list(rates) for lane in lanes}, monotonic=clock.monotonic
    )


def take(room: Mailroom, paid: Tolls, *, me: int | None = None, quota: int = 100) -> list[Claimed]:
    return claim.claim(
        room.store, me or room.worker.id, dict.fromkeys(paid.of_lane, quota), max_bytes=1 << 30,
        new_id=room.new_id, now=clock.now(), terms=Terms(tolls=paid),
    )  # fmt: skip


def rates(**named: str) -> Rates:
    return {name: [Rate.parse(text) for text in texts.split()] for name, texts in named.items()}


def test_no_more_is_claimed_than_a_ceiling_leaves(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{n % 3}.example") for n in range(9)))
    limited = rates(site="4/s")

    first, again = tolls(limited, room), tolls(limited, room)
    taken, then = take(room, first), take(room, again)

    assert (len(taken), then) == (4, [])
    assert 0 < again.closed["site"] - clock.monotonic() < 1.2


def test_the_strictest_of_several_holds_and_the_others_keep_theirs(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(9)))

    taken = take(room, tolls(rates(tenant="100/s", site="2/s 1000/h"), room))
    with room.store.read() as connection:
        left = metering.standings(connection, rates(tenant="100/s", site="1000/h"), now=clock.now())

    assert len(taken) == 1  # a lease of 1000 an hour holds one token
    assert {s.name: s.room > 0 for s in left} == {"tenant": True, "site": True}


def test_a_token_says_when_it_may_be_spent(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(3)))
    before = clock.monotonic()

    taken = take(room, tolls(rates(site="2/s"), room))
    spells = [c.spend for c in taken]

    assert len(spells) == 2
    assert all(s is not None for s in spells)
    first, second = (s for s in spells if s is not None)
    assert before <= first.begins <= first.ends <= clock.monotonic() + 0.2
    assert second.begins - first.begins == pytest.approx(0.55, abs=0.001)


def test_what_has_no_ceiling_is_not_held_up_by_those_that_have(room: Mailroom) -> None:
    room.accept(
        *(room.message("slow.example") for _ in range(3)), *(room.message("free.example") for _ in range(3))
    )
    paid = tolls(rates(site="1/h"), room)
    free = next(w.lane_id for w in claim.waiting_lanes(room.store, limit=9) if w.domain == "free.example")
    of_lane = {lane: names for lane, names in paid.of_lane.items() if lane != free}
    mixed = Tolls(rates=paid.rates, of_lane=of_lane, monotonic=clock.monotonic)

    claimed = claim.claim(
        room.store, room.worker.id, dict.fromkeys(paid.of_lane, 10), max_bytes=1 << 30,
        new_id=room.new_id, now=clock.now(), terms=Terms(tolls=mixed),
    )  # fmt: skip

    assert sorted(c.domain for c in claimed) == ["free.example"] * 3 + ["slow.example"]
    assert [c.spend is None for c in sorted(claimed, key=lambda c: c.domain)] == [True] * 3 + [False]


def test_workers_at_once_get_no_more_than_one_would(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(60)))
    limited = rates(site="30/min 500/h", together="40/s")
    workers = [register(room.store).id for _ in range(4)]
    taken: list[Claimed] = []
    lock = threading.Lock()

    def work(me: int) -> None:
        for _ in range(20):
            got = take(room, tolls(limited, room), me=me, quota=3)
            with lock:
                taken.extend(got)

    threads = [threading.Thread(target=work, args=(me,)) for me in workers]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert len(taken) == len({c.recipient_id for c in taken}) == 30


def test_a_claim_that_was_rolled_back_takes_no_token(room: Mailroom) -> None:
    room.accept(room.message())
    incarnations.fence(room.store, room.worker.id, now=clock.now())
    limited = rates(site="1/h")

    with pytest.raises(Fenced):
        take(room, tolls(limited, room))

    assert len(take(room, tolls(limited, room), me=register(room.store).id)) == 1


def test_a_token_that_was_not_spent_is_forfeited(room: Mailroom) -> None:
    room.accept(room.message())
    limited = rates(site="1/h")

    room.settle(take(room, tolls(limited, room)), RELEASED)

    assert take(room, tolls(limited, room)) == []


def test_meters_outlive_workers_and_are_dropped_when_no_window_holds_them(room: Mailroom) -> None:
    room.accept(room.message())
    take(room, tolls(rates(site="1/h"), room))
    now = clock.now()

    kept = metering.forget(room.store, before=now - timedelta(days=2))
    dropped = metering.forget(room.store, before=now + timedelta(seconds=1))

    assert (kept, dropped) == (0, 1)
    with room.store.read() as connection:
        assert connection.execute(rate.select()).all() == []


def test_an_allowance_is_set_changed_and_taken_back(store: Store) -> None:
    allowances.allow(store, "tenant", 7, [Rate(3600, 100)], now=clock.now())
    allowances.allow(store, "stream", 7, [Rate(1, 5)], now=clock.now())
    allowances.allow(store, "tenant", 7, [Rate(86400, 9), Rate(3600, 3)], now=clock.now())
    allowances.allow(store, "stream", 7, [], now=clock.now())

    [left] = allowances.all_of(store)
    assert (left.subject, left.subject_id, list(left.rates)) == ("tenant", 7, [Rate(3600, 3), Rate(86400, 9)])
    assert allowances.of(store, "tenant", [7, 8]) == {7: (Rate(3600, 3), Rate(86400, 9))}
