"""A message past its sender's deadline ends; it is neither claimed nor tried."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from mailer import clock
from mailer.events import EventType, RecipientState
from mailer.queue import expire, read, verify
from mailer.queue.enqueue import NewMessage
from tests.support.mailroom import HEARD_451, HOUR, Mailroom, deferral


def due_by(room: Mailroom, at: datetime) -> NewMessage:
    return replace(room.message(), expires_at=at)


def sweep(room: Mailroom, now: datetime) -> int:
    return expire.expire_overdue(
        room.store, new_id=room.new_id, process_number=room.worker.process_number, now=now
    )


def view(room: Mailroom, m: NewMessage) -> read.MessageView:
    found = read.message_of(room.store, room.tenant_id, m.id)
    assert found is not None
    return found


def test_it_is_not_claimed_and_ends_with_the_sweep(room: Mailroom) -> None:
    now = clock.now()
    late, early, free = due_by(room, now), due_by(room, now + HOUR), room.message()
    room.accept(late, early, free)

    claimed = {c.message_id for c in room.claim()}
    ended = sweep(room, clock.now())

    assert claimed == {early.id, free.id}
    assert ended == 1
    assert view(room, late).recipients[0].state == RecipientState.EXPIRED
    assert [e.type for e in view(room, late).events] == [EventType.ACCEPTED, EventType.EXPIRED]
    assert verify.verify(room.store).holds


def test_one_that_waits_for_a_retry_ends_too(room: Mailroom) -> None:
    now = clock.now()
    m = due_by(room, now + HOUR)
    room.accept(m)
    room.settle(room.claim(), deferral(now + 3 * HOUR), HEARD_451)

    assert sweep(room, now) == 0
    assert sweep(room, now + 2 * HOUR) == 1

    [r] = view(room, m).recipients
    assert (r.state, r.attempts) == (RecipientState.EXPIRED, 1)


def test_what_a_worker_holds_is_left_to_it(room: Mailroom) -> None:
    now = clock.now()
    room.accept(due_by(room, now + HOUR))
    room.claim()

    assert sweep(room, now + 2 * HOUR) == 0
