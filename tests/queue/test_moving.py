"""Mail that waits goes over to another stream of its tenant, and is tried as that stream's is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from mailer import clock
from mailer.queue import actions, claim, moving, pieces, read, verify
from mailer.queue.actions import Doer
from mailer.queue.moving import CannotMove, Move
from mailer.queue.pieces import Done, Means
from mailer.queue.selection import Selection
from mailer.store.tables import stream
from tests.support.mailroom import DELIVERED, HEARD_250, HEARD_451, HOUR, Mailroom, deferral

OPERATOR = Doer("ann")


def means(room: Mailroom) -> Means:
    return Means(room.store, room.new_id, room.worker.process_number, clock.now)


def move(room: Mailroom, to: str = "news", **wanted: object) -> Done:
    return moving.move(means(room), Selection(**wanted), OPERATOR, Move(to, "it is a campaign"))


def add_stream(room: Mailroom, name: str = "news", kind: str = "broadcast", state: str = "active") -> None:
    with room.store.write() as c:
        c.execute(
            stream.insert().values(
                id=room.new_id(), tenant_id=room.tenant_id, name=name, kind=kind, in_doubt="give-up",
                state=state, created_at=clock.now(),
            )
        )  # fmt: skip


def waiting(room: Mailroom, **wanted: object) -> int:
    return pieces.extent(means(room), Selection(**wanted)).waiting


def test_what_waits_is_claimed_as_the_other_streams(room: Mailroom) -> None:
    add_stream(room)
    m, other = room.message("a.example"), room.message("b.example")
    room.accept(m, other)

    done = move(room, domain="a.example")

    claimed = {c.message_id: (c.stream_kind, c.on_doubt) for c in room.claim()}
    view = read.message_of(room.store, room.tenant_id, m.id)
    assert view is not None
    assert (done.changed, view.stream) == (1, "transactional")
    assert claimed == {m.id: ("broadcast", "give-up"), other.id: ("transactional", "retry")}
    [record] = actions.listed(room.store, None, limit=9)
    assert (record.kind, record.recipients, record.target) == ("move", 1, "news")
    assert verify.verify(room.store).holds


def test_what_is_deferred_moves_and_what_is_in_hand_does_not(room: Mailroom) -> None:
    add_stream(room)
    room.accept(room.message(), room.message(), room.message())
    deferred, _ = room.claim(2)
    room.settle([deferred], deferral(clock.now() + HOUR), HEARD_451)

    done = move(room, tenant_id=room.tenant_id)

    assert (done.changed, done.under_way) == (2, 1)
    assert (waiting(room, stream="news"), waiting(room, stream="transactional")) == (2, 0)
    assert verify.verify(room.store).holds


def test_the_other_lane_knows_the_site(room: Mailroom) -> None:
    add_stream(room)
    room.accept(room.message())
    room.settle(room.claim(), DELIVERED, replace(HEARD_250, site="provider:big"))
    room.accept(room.message())

    move(room)

    assert [lane.site for lane in claim.waiting_lanes(room.store, limit=9)] == ["provider:big"]


def test_a_repeat_moves_nothing(room: Mailroom) -> None:
    add_stream(room)
    m = room.message("a.example", "b.example")
    room.accept(m)

    done = [move(room, message_id=m.id).changed for _ in range(2)] + [move(room).changed]

    assert done == [2, 0, 0]


@pytest.mark.parametrize(
    ("kind", "state", "to"),
    [
        ("broadcast", "active", "none"),
        ("broadcast", "archived", "news"),
        ("transactional", "active", "news"),  # out of a broadcast stream
    ],
)
def test_what_must_not_be_moved_stays(room: Mailroom, kind: str, state: str, to: str) -> None:
    room.accept(room.message())
    if kind == "transactional":
        with room.store.write() as c:
            c.execute(update(stream).values(kind="broadcast"))
    add_stream(room, kind=kind, state=state)

    with pytest.raises(CannotMove):
        move(room, to)

    assert waiting(room, stream="transactional") == 1
    assert actions.listed(room.store, None, limit=9) == []


def test_a_large_backlog_moves_in_pieces(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 7)
    add_stream(room)
    room.accept(*(room.message(f"d{n % 3}.example") for n in range(40)))

    assert move(room).changed == 40
    assert waiting(room, stream="news") == 40
    assert len(claim.waiting_lanes(room.store, limit=9)) == 3
