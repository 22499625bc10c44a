"""Mail that waits goes over to another stream of its tenant, and is tried as that stream's is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs
from sqlalchemy import update

from mailer import clock
from mailer.identity import pools, tenants
from mailer.identity.pools import NewPool
from mailer.queue import acting, actions, again, claim, explain, moving, pieces, read, verify
from mailer.queue.actions import Doer
from mailer.queue.enqueue import LaneBook, NewMessage
from mailer.queue.moving import CannotMove, Move, MoveToPool
from mailer.queue.obstacles import Knowledge
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
    room.settle(room.claim(), DELIVERED, structs.replace(HEARD_250, site="provider:big"))
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


# ---- to a pool --------------------------------------------------------------------------------------------


def add_pool(room: Mailroom, name: str = "spare", **more: object) -> int:
    new = NewPool(name=name, **more)  # type: ignore[arg-type]
    return pools.create(room.store, new, new_id=room.new_id, now=clock.now()).id


def pools_of(room: Mailroom) -> set[tuple[str, int]]:
    """Of lanes in which mail waits."""
    return {(at.domain, at.pool_id) for at in claim.waiting_lanes(room.store, limit=9)}


def to_pool(room: Mailroom, name: str = "spare", **wanted: object) -> Done:
    order = MoveToPool(name, "the main one is blocked")
    return moving.move_to_pool(means(room), Selection(**wanted), OPERATOR, order)


def test_what_waits_leaves_from_the_pool_that_was_chosen(room: Mailroom) -> None:
    spare, other = add_pool(room), add_pool(room, "other")
    room.accept(room.message("a.example"), room.message("b.example"))

    first = to_pool(room, domain="a.example")
    repeated = to_pool(room, domain="a.example")
    chosen = pools_of(room)
    elsewhere = to_pool(room, "other", domain="a.example")

    assert (first.changed, repeated.changed, elsewhere.changed) == (1, 0, 1)
    assert chosen == {("a.example", spare), ("b.example", 0)}
    assert pools_of(room) == {("a.example", other), ("b.example", 0)}
    assert [record.target for record in actions.listed(room.store, None, limit=9)][-1] == "pool:spare"
    assert verify.verify(room.store).holds


def test_deferred_mail_and_a_named_message_move_and_what_is_in_hand_does_not(room: Mailroom) -> None:
    add_pool(room)
    m = room.message()
    room.accept(m, room.message())
    room.settle([room.claim(1)[0]], deferral(clock.now() + HOUR), HEARD_451)
    held = room.claim(1)

    done = to_pool(room)

    assert (len(held), done.changed, done.under_way) == (1, 1, 1)


def test_mail_that_is_accepted_later_leaves_as_before(room: Mailroom) -> None:
    spare = add_pool(room)
    room.accept(room.message("a.example"))
    to_pool(room)
    room.accept(room.message("a.example"))
    other_door = replace(room, lanes=LaneBook())
    other_door.accept(room.message("a.example"))

    assert sorted(c.pool_id for c in room.claim()) == [0, 0, spare]
    assert verify.verify(room.store).holds


def test_mail_that_is_moved_to_another_stream_keeps_its_pool(room: Mailroom) -> None:
    spare = add_pool(room, kind="broadcast")
    add_stream(room)
    room.accept(room.message("a.example"))
    to_pool(room)

    move(room)

    assert [(c.stream_kind, c.pool_id) for c in room.claim()] == [("broadcast", spare)]


def test_what_failed_and_is_tried_anew_leaves_as_its_streams_mail_does(room: Mailroom) -> None:
    add_pool(room)
    m = room.message("a.example")
    room.accept(m)
    to_pool(room)
    verdict = acting.verdict("5.7.1", "not wanted")
    acting.bounce(means(room), Selection(), OPERATOR, verdict)

    again.send_again(
        room.store, room.tenant_id, m.id,
        new_id=room.new_id, process_number=room.worker.process_number, now=clock.now(),
    )  # fmt: skip

    assert pools_of(room) == {("a.example", 0)}
    assert verify.verify(room.store).holds


def test_a_large_backlog_moves_to_a_pool_in_pieces(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 7)
    spare = add_pool(room)
    room.accept(*(room.message(f"d{n % 3}.example") for n in range(40)))

    assert to_pool(room).changed == 40
    assert pools_of(room) == {(f"d{n}.example", spare) for n in range(3)}
    assert waiting(room, stream="transactional") == 40


def test_the_explanation_tells_by_whose_order_it_leaves_from_there(room: Mailroom) -> None:
    add_pool(room)
    m = room.message("a.example")
    room.accept(m)
    to_pool(room, domain="b.example")
    to_pool(room, domain="a.example")

    told = [moves(room, m, for_operator=of_operator) for of_operator in (True, False)]
    pools.remove(room.store, "spare")

    assert told == [
        [("moved to the pool spare", "by ann: the main one is blocked")],
        [("moved to other addresses", "the operator chose what it leaves from")],
    ]
    assert moves(room, m, for_operator=True) == [
        ("moved to a pool", "that is no more: it leaves as its stream's other mail does")
    ]


def test_the_explanation_tells_that_the_pool_was_closed_to_it_since(room: Mailroom) -> None:
    add_pool(room)
    m = room.message("a.example")
    room.accept(m)
    to_pool(room)
    with room.store.write() as c:
        c.execute(update(stream).values(kind="broadcast"))

    [(_, reason)] = moves(room, m, for_operator=True)

    assert reason == "by ann: the main one is blocked; it may not leave from there any more"


def moves(room: Mailroom, m: NewMessage, *, for_operator: bool) -> list[tuple[str, str]]:
    knowledge = Knowledge(for_operator=for_operator)
    found = explain.explain(room.store, room.tenant_id, m.id, knowledge, now=clock.now())
    assert found is not None
    return [(line.what, line.reason) for line in found[0].past if line.what.startswith("moved")]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none", "there is no pool 'none'"),
        ("globexes", "the pool 'globexes' is for another tenant's mail alone"),
        ("trans", "broadcast mail leaves from no transactional pool"),
    ],
)
def test_mail_goes_to_no_pool_that_is_closed_to_it(room: Mailroom, name: str, sentence: str) -> None:
    tenants.create(room.store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now())
    add_pool(room, "globexes", owner="globex", kind="broadcast")
    add_pool(room, "trans")
    add_stream(room)
    room.accept(room.message())
    move(room)

    with pytest.raises(CannotMove, match=sentence):
        to_pool(room, name)
    assert pieces.extent(means(room), Selection(stream="news")).waiting == 1
    assert len(actions.listed(room.store, None, limit=9)) == 1
