"""Sending again: once more for what failed, at once for what waits, never for what arrived."""

from __future__ import annotations

import pytest
from sqlalchemy import Table

from mailer import clock
from mailer.events import EventType, RecipientState, WaitReason
from mailer.queue import again, explain, read, verify
from mailer.queue.again import NotAccepted, SentAgain
from mailer.queue.chosen import NotOfMessage
from mailer.queue.obstacles import Knowledge
from mailer.store.tables import sending_domain, stream
from tests.support.mailroom import BOUNCED, DELIVERED, HEARD_451, HOUR, Mailroom, deferral


def send_again(
    room: Mailroom, message_id: int, *, only: tuple[int, ...] = (), tenant_id: int | None = None
) -> SentAgain | None:
    return again.send_again(
        room.store, tenant_id or room.tenant_id, message_id, only=only, new_id=room.new_id,
        process_number=room.worker.process_number, now=clock.now(),
    )  # fmt: skip


def view(room: Mailroom, message_id: int) -> read.MessageView:
    found = read.message_of(room.store, room.tenant_id, message_id)
    assert found is not None
    return found


def test_a_bounced_recipient_is_accepted_anew_and_stays_bounced(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), BOUNCED, HEARD_451)

    made = send_again(room, m.id)
    [claimed] = room.claim()
    room.settle([claimed], DELIVERED)

    first, second = view(room, m.id).recipients
    assert made == SentAgain((), {first.id: second.id})
    assert (first.state, second.state) == (RecipientState.BOUNCED, RecipientState.DELIVERED)
    assert (second.retry_of, second.address, second.attempts) == (first.id, first.address, 1)
    assert [e.type for e in view(room, m.id).events if e.recipient_id == second.id] == [
        EventType.ACCEPTED, EventType.DELIVERED,
    ]  # fmt: skip
    assert verify.verify(room.store).holds


def test_it_is_not_sent_a_third_time_while_the_second_is_not_over(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), BOUNCED, HEARD_451)
    send_again(room, m.id)

    assert send_again(room, m.id) == SentAgain((), {})

    room.settle(room.claim(), BOUNCED, HEARD_451)
    third = send_again(room, m.id)
    assert third is not None
    assert list(third.anew) == [view(room, m.id).recipients[1].id]


def test_one_that_waits_for_a_retry_is_due_now(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)

    made = send_again(room, m.id)

    [r] = view(room, m.id).recipients
    assert made == SentAgain((r.id,), {})
    assert (r.state, r.wait_reason) == (RecipientState.QUEUED, WaitReason.RETRY_ASKED)
    explained = explain.explain(room.store, room.tenant_id, m.id, Knowledge(), now=clock.now())
    assert explained is not None
    assert "asked for a try" in explained[0].now.reason
    assert len(room.claim()) == 1


def test_only_those_named_are_tried(room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)
    room.settle(room.claim(), BOUNCED, HEARD_451)
    wanted = m.recipients[1].id

    made = send_again(room, m.id, only=(wanted,))

    assert made is not None
    assert list(made.anew) == [wanted]


def test_what_arrived_or_is_under_way_is_left_alone(room: Mailroom) -> None:
    arrived, held = room.message(), room.message()
    room.accept(arrived)
    room.settle(room.claim(), DELIVERED)
    room.accept(held)
    room.claim()

    assert send_again(room, arrived.id) == SentAgain((), {})
    assert send_again(room, held.id) == SentAgain((), {})


def test_another_tenants_message_is_left_alone(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), BOUNCED, HEARD_451)

    assert send_again(room, m.id, tenant_id=room.tenant_id + 1) is None
    assert len(view(room, m.id).recipients) == 1


@pytest.mark.parametrize(("table", "state"), [(stream, "archived"), (sending_domain, "revoked")])
def test_nothing_is_accepted_anew_where_nothing_may_be_sent_any_more(
    room: Mailroom, table: Table, state: str
) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)
    claimed = {c.domain: c for c in room.claim()}
    room.settle([claimed["a.example"]], BOUNCED, HEARD_451)
    room.settle([claimed["b.example"]], deferral(clock.now() + HOUR), HEARD_451)
    with room.store.write() as c:
        c.execute(table.update().values(state=state))

    with pytest.raises(NotAccepted):
        send_again(room, m.id)
    waiting = next(r.id for r in view(room, m.id).recipients if r.state == "deferred")
    made = send_again(room, m.id, only=(waiting,))

    assert made == SentAgain((waiting,), {})
    assert len(view(room, m.id).recipients) == 2


def test_one_that_is_not_the_messages_changes_nothing(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    with pytest.raises(NotOfMessage):
        send_again(room, m.id, only=(m.id,))
