"""What was heard of a recipient suppresses it, is remembered, or waits for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine, event, select, update

from mailer import clock
from mailer.events import EventType
from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.suppression import SIMULATED, Reason, Said, Share
from mailer.queue import suppressionentries as entries_of
from mailer.queue import suppressionreview, suppressions, suppressionstorms
from mailer.queue.enqueue import NewMessage, NewRecipient
from mailer.queue.suppressions import Heard
from mailer.store.tables import recipient, suppression, suppression_memory, suppression_review
from tests.support.hearing import Word, record
from tests.support.mailroom import DELIVERED, KEYS, Mailroom

ADA = "Ada@example.org"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = clock.now()
UNKNOWN = Said(bounce_class=BounceClass.INVALID_MAILBOX, blame=Blame.RECIPIENT)
FULL = Said(bounce_class=BounceClass.MAILBOX_FULL, blame=Blame.RECIPIENT, action=Action.RETRY)
NO_DOMAIN = Said(bounce_class=BounceClass.INVALID_DOMAIN, blame=Blame.RECIPIENT, is_authoritative=True)
COMPLAINT = Said(bounce_class=BounceClass.COMPLAINT, blame=Blame.RECIPIENT)
SITE = "mx:mx.example"


def heard(room: Mailroom, said: Said, **facts: Any) -> Heard:
    base: dict[str, Any] = {
        "recipient_id": 1, "message_id": room.new_id(), "tenant_id": room.tenant_id,
        "stream_id": room.stream_id, "address": ADA, "said": said, "keys": KEYS,
        "attempt_id": 7, "site": SITE, "words": "550 5.1.1 no such user",
    }  # fmt: skip
    return Heard(**(base | facts))


def apply(room: Mailroom, said: Said, at: datetime = NOW, **facts: Any) -> bool:
    with room.store.write() as connection:
        return suppressions.apply(connection, heard(room, said, **facts), room.new_id, at)


def entries(room: Mailroom) -> Sequence[Any]:
    with room.store.read() as connection:
        return connection.execute(select(suppression).order_by(suppression.c.id)).all()


def reviewed(room: Mailroom) -> Sequence[Any]:
    with room.store.read() as connection:
        return connection.execute(select(suppression_review)).all()


def delivered(room: Mailroom, at: datetime) -> NewMessage:
    people = (NewRecipient(id=room.new_id(), address=ADA, domain="example.org", kind="to"),)
    m = structs.replace(room.message(), recipients=people)
    room.accept(m)
    room.settle(room.claim(), DELIVERED)
    with room.store.write() as connection:
        connection.execute(update(recipient).where(recipient.c.message_id == m.id).values(settled_at=at))
    return m


def test_an_entry_says_what_caused_it(room: Mailroom) -> None:
    assert apply(room, UNKNOWN)

    [entry] = entries(room)
    assert (entry.address, entry.domain, entry.reason, entry.cause) == (
        "ada@example.org", "example.org", "hard-bounce", "reply",
    )  # fmt: skip
    assert (entry.recipient_id, entry.attempt_id, entry.report_id, entry.site) == (1, 7, None, SITE)
    assert (entry.words, entry.stream_id, entry.expires_at) == ("550 5.1.1 no such user", 0, None)


def test_it_is_made_once(room: Mailroom) -> None:
    assert apply(room, UNKNOWN)
    assert not apply(room, UNKNOWN, NOW + HOUR)

    assert len(entries(room)) == 1


def test_a_complaint_takes_the_place_of_what_hosts_said(room: Mailroom) -> None:
    """A storm may take that back, and then the complaint must stand."""
    assert apply(room, UNKNOWN)
    assert apply(room, COMPLAINT, NOW + HOUR, attempt_id=None, report_id=9, words=None)
    assert not apply(room, UNKNOWN, NOW + 2 * HOUR)

    [entry] = entries(room)
    assert (entry.reason, entry.cause, entry.report_id, entry.attempt_id) == ("complaint", "report", 9, None)


def test_a_complaint_leaves_what_people_wrote_as_it_is(room: Mailroom) -> None:
    assert apply(room, COMPLAINT)
    with room.store.write() as connection:
        connection.execute(update(suppression).values(reason=Reason.MANUAL))

    assert not apply(room, COMPLAINT, NOW + HOUR)
    assert [entry.reason for entry in entries(room)] == ["manual"]


@pytest.mark.parametrize("blame", [Blame.OUR_IP, Blame.SENDER_CONTENT, Blame.REMOTE])
def test_what_is_not_the_recipients_fault_leaves_no_trace(room: Mailroom, blame: Blame) -> None:
    assert not apply(room, replace(UNKNOWN, blame=blame))

    with room.store.read() as connection:
        assert connection.execute(select(suppression_memory)).all() == []
    assert entries(room) == []


def test_an_address_that_took_mail_lately_needs_two_a_day_apart(room: Mailroom) -> None:
    delivered(room, NOW - 3 * DAY)

    assert not apply(room, UNKNOWN, NOW)
    assert not apply(room, UNKNOWN, NOW + 23 * HOUR)
    assert apply(room, UNKNOWN, NOW + 24 * HOUR)


def test_two_about_one_message_are_one(room: Mailroom) -> None:
    delivered(room, NOW - 3 * DAY)

    assert not apply(room, UNKNOWN, NOW, message_id=5)
    assert not apply(room, UNKNOWN, NOW + 3 * DAY, message_id=5)
    assert apply(room, UNKNOWN, NOW + 4 * DAY, message_id=6)


def test_a_delivery_between_two_makes_the_first_one_void(room: Mailroom) -> None:
    delivered(room, NOW - 3 * DAY)
    assert not apply(room, UNKNOWN, NOW - 2 * DAY)
    delivered(room, NOW - DAY)

    assert not apply(room, UNKNOWN, NOW)


def test_a_full_mailbox_counts_messages_not_tries(room: Mailroom) -> None:
    many_tries = [apply(room, FULL, NOW + n * HOUR, message_id=1) for n in range(30)]
    more = [apply(room, FULL, NOW + n * 4 * DAY, message_id=1 + n) for n in range(1, 5)]

    assert not any(many_tries)
    assert more == [False, False, False, True]
    assert entries(room)[0].reason == "mailbox-full"


def test_a_domain_is_closed_for_a_week_after_two_answers(room: Mailroom) -> None:
    assert not apply(room, NO_DOMAIN)
    assert not apply(room, NO_DOMAIN, NOW + HOUR, address="bob@example.org")
    assert apply(room, NO_DOMAIN, NOW + 25 * HOUR, address="eve@example.org")

    [entry] = entries(room)
    assert (entry.what, entry.address, entry.domain) == ("domain", None, "example.org")
    assert entry.expires_at == NOW + 25 * HOUR + 7 * DAY


def test_one_that_is_over_is_renewed(room: Mailroom) -> None:
    apply(room, NO_DOMAIN)
    apply(room, NO_DOMAIN, NOW + 25 * HOUR)
    apply(room, NO_DOMAIN, NOW + 9 * DAY)
    assert apply(room, NO_DOMAIN, NOW + 11 * DAY)

    [entry] = entries(room)
    assert entry.expires_at == NOW + 18 * DAY


@pytest.mark.parametrize(
    ("kind", "reason"), [(EventType.COMPLAINED, "complaint"), (EventType.UNSUBSCRIBED, "unsubscribe")]
)
def test_what_people_say_is_obeyed_with_the_event(room: Mailroom, kind: EventType, reason: str) -> None:
    m = delivered(room, NOW)

    for _ in range(2):
        record(
            room.store, m.recipients[0].id, Word(kind, "bounce.acme.example"), keys=KEYS,
            new_id=room.new_id, now=NOW,
        )  # fmt: skip

    [entry] = entries(room)
    assert (entry.address, entry.reason, entry.cause) == ("ada@example.org", reason, "link")
    assert entry.stream_id == (room.stream_id if reason == "unsubscribe" else 0)
    assert entry.recipient_id == m.recipients[0].id


def test_an_automatic_reply_suppresses_nobody(room: Mailroom) -> None:
    m = delivered(room, NOW)

    record(
        room.store, m.recipients[0].id, Word(EventType.AUTO_REPLIED, "bounce.acme.example"), keys=KEYS,
        new_id=room.new_id, now=NOW,
    )  # fmt: skip

    assert entries(room) == []


def test_the_simulators_recipients_stay_reachable(room: Mailroom) -> None:
    assert not apply(room, UNKNOWN, address=f"bounce@{SIMULATED}")

    assert entries(room) == []


def count(room: Mailroom, share: Share, at: datetime) -> None:
    with room.store.write() as connection:
        suppressionstorms.count(connection, {SITE: share}, process_number=1, now=at)


def test_in_a_storm_entries_wait_for_review_and_those_of_the_hour_are_taken_back(room: Mailroom) -> None:
    noon = NOW.replace(minute=30)
    count(room, Share(5000, 50), noon - DAY)
    count(room, Share(10, 1), noon)
    assert apply(room, UNKNOWN, noon, address="early@example.org")
    count(room, Share(400, 300), noon)

    assert not apply(room, UNKNOWN, noon + timedelta(minutes=1))

    assert {row.address for row in reviewed(room)} == {"ada@example.org", "early@example.org"}
    assert entries(room) == []
    [storm] = suppressionstorms.untold(room.store)
    assert (storm.site, storm.answered, storm.invalid, storm.baseline_ppm) == (SITE, 410, 301, 10_000)
    assert suppressionstorms.untold(room.store) == []


def storm_begins(room: Mailroom, at: datetime) -> None:
    count(room, Share(5000, 50), at - DAY)
    count(room, Share(400, 300), at)
    assert not apply(room, UNKNOWN, at)


def enter(room: Mailroom, address: str, at: datetime) -> None:
    """As one does who saw no storm."""
    made = entries_of.Entry(
        target=KEYS.address(address), tenant_id=room.tenant_id, stream_id=0, id=room.new_id(),
        reason=Reason.HARD_BOUNCE, cause=entries_of.REPLY, site=SITE, created_at=at,
    )  # fmt: skip
    with room.store.write() as connection:
        assert entries_of.add(connection, [made], room.new_id) == 1


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # which has several writers at once
def test_an_entry_that_is_committed_while_others_are_taken_back_is_not_lost(room: Mailroom) -> None:
    noon = NOW.replace(minute=30)
    enter(room, "early@example.org", noon)
    late = ["late@example.org"]

    def come_between(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE FROM suppression ") and late:
            enter(room, late.pop(), noon)

    event.listen(Engine, "before_cursor_execute", come_between)
    try:
        storm_begins(room, noon)
    finally:
        event.remove(Engine, "before_cursor_execute", come_between)

    assert late == []
    assert {row.address for row in reviewed(room)} == {"ada@example.org", "early@example.org"}
    assert [row.address for row in entries(room)] == ["late@example.org"]
    assert suppressionstorms.take_back_late(room.store, now=noon) == 1
    assert "late@example.org" in {row.address for row in reviewed(room)}
    assert entries(room) == []


def test_what_is_committed_after_a_storm_began_is_reviewed_too(room: Mailroom) -> None:
    noon = NOW.replace(minute=30)
    storm_begins(room, noon)
    enter(room, "late@example.org", noon)
    enter(room, "decided@example.org", noon + timedelta(seconds=90))

    assert suppressionstorms.take_back_late(room.store, now=noon + timedelta(seconds=100)) == 1
    assert suppressionstorms.take_back_late(room.store, now=noon + timedelta(seconds=101)) == 0

    assert {row.address for row in reviewed(room)} == {"ada@example.org", "late@example.org"}
    assert [row.address for row in entries(room)] == ["decided@example.org"]


def test_what_the_operator_has_decided_is_not_taken_back(room: Mailroom) -> None:
    noon = NOW.replace(minute=30)
    storm_begins(room, noon)

    made = suppressionreview.decide(
        room.store, SITE, suppress=True, by="ops", new_id=room.new_id, now=noon + timedelta(seconds=20)
    )
    again = suppressionstorms.take_back_late(room.store, now=noon + timedelta(seconds=21))
    assert not apply(room, UNKNOWN, noon + timedelta(seconds=22), address="eve@example.org")

    assert (made, again) == (1, 0)
    assert [(row.address, row.added_by) for row in entries(room)] == [("ada@example.org", "ops")]
    assert [row.address for row in reviewed(room)] == ["eve@example.org"]


def test_a_storm_is_over_an_hour_after_it_was_seen_last(room: Mailroom) -> None:
    noon = NOW.replace(minute=30)
    count(room, Share(5000, 50), noon - DAY)
    count(room, Share(400, 300), noon)
    apply(room, UNKNOWN, noon)

    assert not apply(room, UNKNOWN, noon + timedelta(minutes=50), address="a@example.org")
    assert apply(room, UNKNOWN, noon + timedelta(minutes=70), address="b@example.org")


def test_a_complaint_is_obeyed_in_a_storm_too(room: Mailroom) -> None:
    count(room, Share(400, 300), NOW)

    assert apply(room, Said(bounce_class=BounceClass.COMPLAINT, blame=Blame.RECIPIENT))


def test_old_memories_and_counts_go(room: Mailroom) -> None:
    apply(room, FULL, NOW - 100 * DAY)
    apply(room, FULL, NOW, address="eve@example.org")
    count(room, Share(4, 1), NOW - 9 * DAY)

    assert suppressions.forget(room.store, before=NOW - 90 * DAY) == 1
    assert suppressionstorms.forget(room.store, now=NOW) == 0
    with room.store.read() as connection:
        assert len(connection.execute(select(suppression_memory)).all()) == 1
