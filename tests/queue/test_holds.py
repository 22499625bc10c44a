"""A hold is one row: what meets it is not claimed, whenever it came, until a release or its time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailer import clock
from mailer.queue import actions, claim, holds, verify
from mailer.queue.actions import Doer
from mailer.queue.claim import Terms
from mailer.queue.due import But
from mailer.queue.holds import Hold, NewHold, TooManyHolds
from mailer.queue.selection import Selection
from tests.support.mailroom import HOUR, Mailroom

OPERATOR = Doer("ann at the console")


def hold(room: Mailroom, doer: Doer = OPERATOR, *, until: timedelta | None = None, **wanted: object) -> Hold:
    now = clock.now()
    new = NewHold(Selection(**wanted), "they asked for it", None if until is None else now + until, 3)
    return holds.place(room.store, new, doer, new_id=room.new_id, now=now)


def release(room: Mailroom, hold_id: int, doer: Doer = OPERATOR) -> bool:
    return holds.release(
        room.store, hold_id, doer, reason="enough", new_id=room.new_id, now=clock.now()
    )  # fmt: skip


def test_a_hold_is_in_force_until_it_is_released(room: Mailroom) -> None:
    placed = hold(room, domain="example.org")

    assert holds.listed(room.store, None, now=clock.now()) == [placed]
    assert release(room, placed.id)
    assert holds.listed(room.store, None, now=clock.now()) == []
    assert release(room, placed.id)
    assert not release(room, 5)


def test_a_hold_ends_by_itself_at_its_time(room: Mailroom) -> None:
    placed = hold(room, until=HOUR, domain="example.org")
    later = clock.now() + 2 * HOUR

    early = holds.lapse(room.store, new_id=room.new_id, now=clock.now())
    over = holds.listed(room.store, None, now=later)
    lapsed = holds.lapse(room.store, new_id=room.new_id, now=later)

    assert (early, over, lapsed) == (0, [], 1)
    assert holds.lapse(room.store, new_id=room.new_id, now=later) == 0
    assert [a.kind for a in actions.listed(room.store, None, limit=9)] == ["lapse", "hold"]
    assert placed.until is not None


def test_every_deed_is_on_record(room: Mailroom) -> None:
    placed = hold(room, until=HOUR, tenant_id=room.tenant_id, site="mx:mx.example")
    release(room, placed.id, Doer("bob"))

    released, held = actions.listed(room.store, None, limit=9)
    assert (held.kind, held.done_by, held.reason, held.recipients, held.until) == (
        "hold", "ann at the console", "they asked for it", 3, placed.until,
    )  # fmt: skip
    assert held.wanted.keys() == {"tenant_id", "site"}
    assert (released.kind, released.done_by, released.hold_id) == ("release", "bob", placed.id)
    assert actions.listed(room.store, None, limit=9, before=released.id) == [held]


def test_a_tenant_releases_only_what_it_placed(room: Mailroom) -> None:
    mine, theirs = Doer("key", room.tenant_id), Doer("key", room.tenant_id + 1)
    operators, own = hold(room, tenant_id=room.tenant_id), hold(room, mine, tenant_id=room.tenant_id)

    assert not release(room, operators.id, mine)
    assert not release(room, own.id, theirs)
    assert [h.id for h in holds.listed(room.store, room.tenant_id, now=clock.now())] == [own.id]
    assert [a.kind for a in actions.listed(room.store, room.tenant_id, limit=9)] == ["hold"]
    assert actions.listed(room.store, theirs.owner_id, limit=9) == []
    assert release(room, own.id, OPERATOR)


def test_a_tenant_has_only_so_many_holds(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "MOST_OF_TENANT", 2)
    mine = Doer("key", room.tenant_id)
    first = hold(room, mine, domain="a.example")
    hold(room, mine, domain="b.example")

    with pytest.raises(TooManyHolds):
        hold(room, mine, domain="c.example")
    hold(room, domain="c.example")
    release(room, first.id)
    hold(room, mine, domain="c.example")


def test_what_names_rows_is_told_with_its_lanes(room: Mailroom) -> None:
    m, other = room.message("a.example", "b.example"), room.message("c.example")
    room.accept(m, other)
    lanes = {lane.domain: lane.lane_id for lane in claim.waiting_lanes(room.store, limit=9)}
    message = hold(room, message_id=m.id)
    recipient = hold(room, recipient_id=other.recipients[0].id)
    gone = hold(room, message_id=5, stream="transactional")

    found = holds.look(room.store, now=clock.now())

    assert found.lanes_of == {
        message.id: {lanes["a.example"], lanes["b.example"]},
        recipient.id: {lanes["c.example"]},
        gone.id: frozenset(),
    }
    assert found.streams == {room.stream_id: "transactional"}


def test_a_claim_leaves_out_what_is_held_of_a_lane(room: Mailroom) -> None:
    held, free, one = room.message(), room.message(), room.message()
    room.accept(held, free, one)
    [lane] = claim.waiting_lanes(room.store, limit=9)
    but = {lane.lane_id: But([held.id], [one.recipients[0].id])}

    claimed = claim.claim(
        room.store, room.worker.id, {lane.lane_id: 10}, max_bytes=1 << 20, terms=Terms(but=but),
        new_id=room.new_id, now=clock.now(),
    )  # fmt: skip

    assert [c.message_id for c in claimed] == [free.id]
    assert verify.verify(room.store).holds


def test_what_is_long_over_is_forgotten_and_what_is_in_force_is_not(room: Mailroom) -> None:
    ended, kept = hold(room, domain="a.example"), hold(room, domain="b.example")
    release(room, ended.id)

    early = actions.drop(room.store, before=clock.now() - HOUR)
    late = actions.drop(room.store, before=clock.now() + HOUR)

    assert (early, late) == (0, 4)
    assert actions.listed(room.store, None, limit=9) == []
    assert [h.id for h in holds.listed(room.store, None, now=clock.now())] == [kept.id]
    assert not release(room, ended.id)
