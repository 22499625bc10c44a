"""A worker claims nothing that is held, for as long as it is; what it has in hand stays with it."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.queue import holds
from mailer.queue.actions import Doer
from mailer.queue.holds import Hold, NewHold
from mailer.queue.selection import Selection
from mailer.relay import prospects
from tests.queue.test_listing_plans import statements
from tests.relay.test_claimer import bench
from tests.support.mailroom import HOUR, Mailroom

OPERATOR = Doer("ann")


def hold(room: Mailroom, **wanted: object) -> Hold:
    new = NewHold(Selection(**wanted), "trouble", None, 0)
    return holds.place(room.store, new, OPERATOR, new_id=room.new_id, now=clock.now())


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"domain": "a.example"},
        {"stream": "transactional"},
        {"tenant_id": "own"},
        {"tenant_id": "own", "domain": "a.example"},
        {"site": "route:mx:25"},
        {"site": "route:mx:25", "domain": "a.example", "stream": "transactional"},
    ],
)
def test_what_is_held_is_not_claimed_whenever_it_came(room: Mailroom, wanted: dict[str, object]) -> None:
    room.accept(room.message("a.example"))
    own = {"tenant_id": room.tenant_id} if "tenant_id" in wanted else {}
    placed = hold(room, **{**wanted, **own})
    b = bench(room)

    before = b.claimer.pull()
    room.accept(room.message("a.example"))
    new = b.claimer.pull()
    holds.release(room.store, placed.id, OPERATOR, reason="", new_id=room.new_id, now=clock.now())
    b.clock.now += 1
    after = b.claimer.pull()

    assert (before, new, len(after)) == ([], [], 2)


@pytest.mark.parametrize(
    "wanted", [{"domain": "b.example"}, {"stream": "broadcast"}, {"site": "mx:x"}, {"tenant_id": 5}]
)
def test_what_is_not_meant_is_claimed(room: Mailroom, wanted: dict[str, object]) -> None:
    room.accept(room.message("a.example"))
    hold(room, **wanted)

    assert len(bench(room).claimer.pull()) == 1


def test_a_message_is_held_and_its_neighbours_are_not(room: Mailroom) -> None:
    held, free, one = room.message("a.example", "b.example"), room.message("a.example"), room.message()
    room.accept(held, free, one)
    hold(room, message_id=held.id)
    hold(room, recipient_id=one.recipients[0].id)

    b = bench(room)
    claimed = b.claimer.pull()

    assert [c.message_id for c in claimed] == [free.id]
    assert b.claimer.pull() == []


def test_a_message_is_held_in_the_lanes_that_are_meant(room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)
    hold(room, message_id=m.id, domain="b.example")

    assert [c.domain for c in bench(room).claimer.pull()] == ["a.example"]


def test_a_hold_whose_time_has_come_holds_nothing(room: Mailroom) -> None:
    room.accept(room.message())
    long_ago = clock.now() - 2 * HOUR
    new = NewHold(Selection(), "trouble", long_ago + HOUR, 0)
    holds.place(room.store, new, OPERATOR, new_id=room.new_id, now=long_ago)

    assert len(bench(room).claimer.pull()) == 1


def test_a_new_hold_is_felt_within_a_second(room: Mailroom) -> None:
    b = bench(room)
    b.claimer.pull()
    hold(room)
    b.clock.now += 1
    room.accept(room.message())

    assert b.claimer.pull() == []


def test_many_lanes_that_are_held_are_in_nobodys_way(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prospects, "PIECE", 3)
    monkeypatch.setattr(prospects, "_OF_A_FLOW", 2)
    room.accept(*(room.message(f"d{n}.big.example") for n in range(20)))
    room.accept(room.message("free.example"))
    for n in range(20):
        hold(room, domain=f"d{n}.big.example")

    assert [c.domain for c in bench(room).claimer.pull()] == ["free.example"]


def test_nothing_held_costs_one_question_a_second(room: Mailroom) -> None:
    b = bench(room)
    b.claimer.pull()
    with statements() as sent:
        for _ in range(5):
            b.claimer.pull()

    assert [s for s, _ in sent if "hold" in s] == []
