"""A cancelled recipient ends once: at once if it waits, by its settle if a worker holds it."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.events import EventType, RecipientState
from mailer.queue import cancel, read, verify
from mailer.queue.cancel import Cancellation
from mailer.queue.chosen import NotOfMessage
from tests.support.mailroom import DELIVERED, HEARD_451, HOUR, Mailroom, deferral


def recall(
    room: Mailroom, message_id: int, *, tenant_id: int | None = None, only: tuple[int, ...] = ()
) -> Cancellation | None:
    return cancel.cancel(
        room.store, tenant_id or room.tenant_id, message_id, only=only, new_id=room.new_id,
        process_number=room.worker.process_number, now=clock.now(),
    )  # fmt: skip


def view(room: Mailroom, message_id: int) -> read.MessageView:
    found = read.message_of(room.store, room.tenant_id, message_id)
    assert found is not None
    return found


def test_what_waits_ends_and_is_told(room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)

    made = recall(room, m.id)

    seen = view(room, m.id)
    assert made == Cancellation(tuple(r.id for r in m.recipients), (), ())
    assert {r.state for r in seen.recipients} == {RecipientState.CANCELLED}
    assert [e.type for e in seen.events].count(EventType.CANCELLED) == 2
    assert room.claim() == []
    assert verify.verify(room.store).holds


def test_a_deferred_one_ends_too(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)

    recall(room, m.id)

    [r] = view(room, m.id).recipients
    assert (r.state, r.wait_reason, r.attempts) == (RecipientState.CANCELLED, None, 1)


def test_one_under_way_ends_cancelled_unless_it_is_delivered(room: Mailroom) -> None:
    failing, fine = room.message(), room.message()
    room.accept(failing, fine)
    held = {c.message_id: c for c in room.claim()}

    made = recall(room, failing.id)
    recall(room, fine.id)
    room.settle([held[failing.id]], deferral(clock.now() + HOUR), HEARD_451)
    room.settle([held[fine.id]], DELIVERED)

    assert made is not None
    assert made.under_way == (failing.recipients[0].id,)
    assert view(room, failing.id).recipients[0].state == RecipientState.CANCELLED
    assert view(room, fine.id).recipients[0].state == RecipientState.DELIVERED
    assert verify.verify(room.store).holds


def test_a_repeat_changes_nothing(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    recall(room, m.id)
    before = view(room, m.id)

    again = recall(room, m.id)

    assert again == Cancellation((), (), (m.recipients[0].id,))
    assert view(room, m.id) == before


def test_another_tenants_message_is_left_alone(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    assert recall(room, m.id, tenant_id=room.tenant_id + 1) is None
    assert view(room, m.id).recipients[0].state == RecipientState.QUEUED


def test_only_those_named_end(room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)
    first, second = (r.id for r in m.recipients)

    made = recall(room, m.id, only=(second,))

    assert made == Cancellation((second,), (), ())
    assert {r.id: r.state for r in view(room, m.id).recipients} == {first: "queued", second: "cancelled"}


def test_one_that_is_not_the_messages_ends_nothing(room: Mailroom) -> None:
    m, other = room.message(), room.message()
    room.accept(m, other)
    strange = other.recipients[0].id

    with pytest.raises(NotOfMessage) as raised:
        recall(room, m.id, only=(m.recipients[0].id, strange))

    assert raised.value.recipient_ids == {strange}
    assert view(room, m.id).recipients[0].state == RecipientState.QUEUED
