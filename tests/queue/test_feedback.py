"""What is heard after the delivery is told once, beside a state that stays."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailer import clock
from mailer.events import EventType, RecipientState
from mailer.queue import fanout, ownership, read, retention, returned, verify
from mailer.queue.ownership import Owner
from mailer.store.tables import feedback as feedback_table
from tests.support.hearing import Word, record
from tests.support.mailroom import DELIVERED, KEYS, Mailroom

OURS = "bounce.acme.example"


def heard(
    room: Mailroom, recipient_id: int, kind: EventType = EventType.COMPLAINED, domain: str = OURS
) -> bool:
    return record(
        room.store, recipient_id, Word(kind, domain, {"feedback_type": "abuse"}),
        keys=KEYS, new_id=room.new_id, now=clock.now(),
    )  # fmt: skip


def delivered(room: Mailroom) -> tuple[int, int]:
    """Ids of a message and its recipient."""
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), DELIVERED)
    return m.id, m.recipients[0].id


def told(room: Mailroom, message_id: int) -> list[tuple[str, int]]:
    view = read.message_of(room.store, room.tenant_id, message_id)
    assert view is not None
    return [(e.type, e.version) for e in view.events]


def test_a_complaint_is_told_with_the_next_version_and_the_state_stays(room: Mailroom) -> None:
    message_id, recipient_id = delivered(room)

    is_new = heard(room, recipient_id)

    view = read.message_of(room.store, room.tenant_id, message_id)
    assert view is not None
    assert is_new
    assert view.recipients[0].state == RecipientState.DELIVERED
    assert told(room, message_id) == [("accepted", 1), ("delivered", 2), ("complained", 3)]
    assert view.events[-1].data == {"feedback_type": "abuse"}
    assert verify.verify(room.store).holds


def test_each_kind_is_told_once(room: Mailroom) -> None:
    message_id, recipient_id = delivered(room)

    again = [heard(room, recipient_id, kind) for kind in [EventType.COMPLAINED, EventType.UNSUBSCRIBED] * 2]

    assert again == [True, True, False, False]
    assert told(room, message_id)[2:] == [("complained", 3), ("unsubscribed", 4)]
    assert verify.verify(room.store).holds


def test_it_may_come_before_the_delivery_is_settled(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    claimed = room.claim()

    heard(room, m.recipients[0].id)
    room.settle(claimed, DELIVERED)

    assert told(room, m.id) == [("accepted", 1), ("complained", 2), ("delivered", 3)]
    assert verify.verify(room.store).holds


@pytest.mark.parametrize("domain", ["bounce.globex.example", "acme.example", ""])
def test_a_token_is_good_with_its_own_domain_only(room: Mailroom, domain: str) -> None:
    message_id, recipient_id = delivered(room)

    assert not heard(room, recipient_id, domain=domain)
    assert len(told(room, message_id)) == 2


def test_the_case_of_a_domain_does_not_matter(room: Mailroom) -> None:
    _, recipient_id = delivered(room)

    assert heard(room, recipient_id, domain=OURS.upper())


def test_an_unknown_recipient_changes_nothing(room: Mailroom) -> None:
    assert not heard(room, 5)
    assert verify.verify(room.store).holds


def test_many_at_once_tell_it_once(room: Mailroom) -> None:
    message_id, recipient_id = delivered(room)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(heard(room, recipient_id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [False] * 7 + [True]
    assert len(told(room, message_id)) == 3
    assert verify.verify(room.store).holds


def test_it_stays_as_long_as_somebody_may_say_it_again(room: Mailroom) -> None:
    def left() -> int:
        with room.store.read() as c:
            return c.execute(select(func.count()).select_from(feedback_table)).scalar_one()

    _, recipient_id = delivered(room)
    heard(room, recipient_id)
    fanout.fan_out(room.store)

    assert retention.drop_messages(room.store, before=clock.now() + timedelta(days=40)) == 1
    assert left() == 1
    assert not heard(room, recipient_id)

    half_a_year = timedelta(days=180)
    assert returned.forget_past(room.store, now=clock.now() + timedelta(days=179), after=half_a_year) == 0
    assert returned.forget_past(room.store, now=clock.now() + timedelta(days=181), after=half_a_year) == 1
    assert left() == 0
    assert not heard(room, recipient_id)


def test_owners_are_found_by_recipient_and_the_unknown_left_out(room: Mailroom) -> None:
    message_id, recipient_id = delivered(room)

    found = ownership.owners_of(room.store, [recipient_id, 5])

    assert found == {recipient_id: Owner(room.tenant_id, message_id)}
    assert ownership.owners_of(room.store, []) == {}
