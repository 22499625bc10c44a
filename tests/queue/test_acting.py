"""What is meant is counted, tried now or ended, in pieces; all else is left as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from mailer import clock
from mailer.events import RecipientState, WaitReason
from mailer.protocol.enhanced import EnhancedStatus
from mailer.queue import acting, actions, cancel, pieces, read, sweep, verify
from mailer.queue.acting import Requeue, Verdict
from mailer.queue.actions import Doer
from mailer.queue.enqueue import NewMessage
from mailer.queue.pieces import Means
from mailer.queue.selection import Selection
from mailer.store.tables import notice, recipient, stream
from tests.support.mailroom import DELIVERED, HEARD_451, HOUR, Mailroom, deferral, register

OPERATOR = Doer("ann")
BACK = Requeue(reason="they are back")
NO = Verdict(EnhancedStatus(5, 7, 1), "not wanted there")


def means(room: Mailroom) -> Means:
    return Means(room.store, room.new_id, room.worker.process_number, clock.now)


def states(room: Mailroom, m: NewMessage) -> list[str]:
    view = read.message_of(room.store, m.tenant_id, m.id)
    assert view is not None
    return [r.state for r in view.recipients]


def deferred(room: Mailroom, *domains: str) -> NewMessage:
    m = room.message(*domains)
    room.accept(m)
    mine = [c for c in room.claim() if c.message_id == m.id]
    room.settle(mine, deferral(clock.now() + HOUR), HEARD_451)
    return m


def scheduled(room: Mailroom) -> NewMessage:
    m = room.message()
    room.accept(m)
    with room.store.write() as c:
        later = clock.now() + timedelta(days=1)
        c.execute(
            update(recipient).where(recipient.c.message_id == m.id)
            .values(state=RecipientState.DEFERRED, wait_reason=WaitReason.SCHEDULED, due_at=later)
        )  # fmt: skip
    return m


@pytest.mark.parametrize(
    ("wanted", "n"),
    [
        ({}, 5),
        ({"domain": "a.example"}, 2),
        ({"domain": "c.example"}, 0),
        ({"site": "mx:mx.example"}, 3),
        ({"site": "mx:mx.example", "domain": "b.example"}, 1),
        ({"site": "route:hub:25"}, 1),
        ({"stream": "transactional"}, 5),
        ({"stream": "broadcast"}, 0),
        ({"tenant_id": 5}, 0),
        ({"message_id": 5}, 0),
    ],
)
def test_what_is_meant_is_counted(room: Mailroom, wanted: dict[str, object], n: int) -> None:
    deferred(room, "a.example", "b.example")
    room.accept(room.message("a.example", "r.example", "new.example"))
    routes = Means(
        room.store, room.new_id, 0, clock.now, lambda d: "route:hub:25" if d == "r.example" else None
    )

    found = pieces.extent(routes, Selection(**wanted))

    assert (found.waiting, found.under_way) == (n, 0)


def test_a_message_and_a_recipient_are_counted(room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m, room.message("a.example"))
    room.claim(1)
    one = Selection(recipient_id=m.recipients[0].id)

    assert pieces.extent(means(room), Selection(message_id=m.id)).states == {"leased": 2}
    assert pieces.extent(means(room), Selection(message_id=m.id, domain="b.example")).under_way == 1
    assert pieces.extent(means(room), one).under_way == 1
    assert pieces.extent(means(room), Selection(message_id=m.id, tenant_id=5)).states == {}


# ---- requeue


def test_what_waits_for_a_retry_is_due_now(room: Mailroom) -> None:
    meant, other, later = deferred(room, "a.example"), deferred(room, "b.example"), scheduled(room)

    done = acting.requeue(means(room), Selection(domain="a.example"), OPERATOR, BACK)
    acting.requeue(means(room), Selection(domain="example.org"), OPERATOR, BACK)

    assert done.changed == 1
    assert [states(room, m) for m in (meant, other, later)] == [["queued"], ["deferred"], ["deferred"]]
    assert [c.message_id for c in room.claim()] == [meant.id]
    assert [(a.kind, a.recipients) for a in actions.listed(room.store, None, limit=9)] == [
        ("requeue", 0),
        ("requeue", 1),
    ]


def test_what_a_fault_holds_is_requeued_when_it_is_asked_for(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    with room.store.write() as c:
        c.execute(update(recipient).values(state=RecipientState.HELD, wait_reason=WaitReason.HELD))

    plain = acting.requeue(means(room), Selection(), OPERATOR, Requeue(reason="mended"))
    with_faulty = acting.requeue(means(room), Selection(), OPERATOR, Requeue(reason="mended", faulty=True))

    assert (plain.changed, with_faulty.changed) == (0, 1)
    assert states(room, m) == ["queued"]


# ---- bounce


def test_what_waits_ends_as_bounced_and_is_told(room: Mailroom) -> None:
    meant, other = deferred(room, "a.example"), room.message("b.example")
    new = room.message("a.example")
    room.accept(other, new)

    done = acting.bounce(means(room), Selection(domain="a.example"), OPERATOR, NO)

    view = read.message_of(room.store, room.tenant_id, meant.id)
    assert view is not None
    assert (done.changed, done.under_way) == (2, 0)
    assert [states(room, m) for m in (meant, new, other)] == [["bounced"], ["bounced"], ["queued"]]
    assert view.recipients[0].last_reply == "5.7.1 not wanted there"
    assert (view.events[-1].type, view.events[-1].data["status"]) == ("bounced", "5.7.1")
    [record] = actions.listed(room.store, None, limit=9)
    assert (record.kind, record.recipients, record.status) == ("bounce", 2, "5.7.1")
    assert verify.verify(room.store).holds


def test_what_a_worker_holds_is_left_to_it(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    claimed = room.claim()

    done = acting.bounce(means(room), Selection(), OPERATOR, NO)
    room.settle(claimed, deferral(clock.now() + HOUR), HEARD_451)

    assert (done.changed, done.under_way) == (0, 1)
    assert states(room, m) == ["deferred"]


def test_a_submitter_who_wants_notices_is_owed_one(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    with room.store.write() as c:
        c.execute(update(recipient).values(notify=""))

    acting.bounce(means(room), Selection(message_id=m.id), OPERATOR, NO)

    with room.store.read() as c:
        assert c.execute(select(notice.c.kind)).scalars().all() == ["failed"]


def test_a_large_backlog_ends_in_pieces(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 7)
    for domain in ("a.example", "b.example", "c.example"):
        room.accept(*(room.message(domain) for _ in range(10)))

    done = acting.bounce(means(room), Selection(tenant_id=room.tenant_id), OPERATOR, NO)

    assert done.changed == 30
    assert pieces.extent(means(room), Selection()).waiting == 0
    assert verify.verify(room.store).holds


def test_what_is_cut_off_leaves_the_rest_as_it_was_and_a_repeat_ends_it(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 5)
    room.accept(*(room.message() for _ in range(12)))
    instants = iter([clock.now(), clock.now()])  # of the record and of the first piece
    cut_off = replace(means(room), now=lambda: next(instants))

    with pytest.raises((StopIteration, RuntimeError)):
        acting.bounce(cut_off, Selection(), OPERATOR, NO)
    left = pieces.extent(means(room), Selection()).waiting
    holds_between = verify.verify(room.store).holds
    [record] = actions.listed(room.store, None, limit=9)
    done = acting.bounce(means(room), Selection(), OPERATOR, NO)

    assert (record.recipients, left, done.changed) == (5, 7, 7)
    assert holds_between
    assert verify.verify(room.store).holds


def test_no_more_is_changed_at_once_than_was_asked_for(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 5)
    room.accept(*(room.message() for _ in range(12)))

    first = acting.bounce(means(room), Selection(), OPERATOR, NO, most=10)
    second = acting.bounce(means(room), Selection(), OPERATOR, NO, most=10)

    assert (first.changed, first.has_more) == (10, True)
    assert (second.changed, second.has_more) == (2, False)


def test_what_ends_beside_busy_workers_ends_once(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed, deferred, woken, cancelled and bounced at once: every recipient ends in one place."""
    monkeypatch.setattr(pieces, "AT_ONCE", 13)
    sent = [room.message(f"d{n % 5}.example") for n in range(300)]
    room.accept(*sent)
    workers = [register(room.store) for _ in range(2)]
    failed: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failed.append(error)

    def work(me: int) -> None:
        for n in range(12):
            claimed = room.claim(3, me=me)
            room.settle(claimed, DELIVERED if n % 2 else deferral(clock.now()), HEARD_451, me=me)
            sweep.wake_due(room.store, now=clock.now())

    def recall() -> None:
        for m in sent[::7]:
            cancel.cancel(
                room.store, room.tenant_id, m.id, new_id=room.new_id,
                process_number=room.worker.process_number, now=clock.now(),
            )  # fmt: skip

    bodies = [*(partial(work, w.id) for w in workers), recall, partial(end_all, room), partial(end_all, room)]
    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    [t.start() for t in threads]
    [t.join() for t in threads]
    end_all(room)

    verdict = verify.verify(room.store)
    [count] = verdict.tenants
    assert failed == []
    assert verdict.holds
    assert (count.accepted, count.in_queue, sum(count.final.values())) == (300, 0, 300)
    bounced = sum(a.recipients for a in actions.listed(room.store, None, limit=9))
    assert bounced == count.final["bounced"] > 0


def end_all(room: Mailroom) -> None:
    acting.bounce(means(room), Selection(), OPERATOR, NO)


def test_another_tenants_mail_is_left_alone(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    for wanted in (Selection(tenant_id=5), Selection(tenant_id=5, message_id=m.id)):
        assert acting.bounce(means(room), wanted, Doer("key", 5), NO).changed == 0

    assert states(room, m) == ["queued"]


def test_a_stream_is_meant_by_its_name(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    with room.store.write() as c:
        c.execute(update(stream).values(name="alerts"))

    assert pieces.extent(means(room), Selection(stream="alerts")).waiting == 1
    assert pieces.extent(means(room), Selection(stream="alerts", message_id=m.id)).waiting == 1
