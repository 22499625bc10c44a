"""Leaving a stream: told once, by whatever way, and as long as the tenant is there."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from mailer import clock
from mailer.compose.subscriber import Subscriber
from mailer.policy.suppressionkey import Keys
from mailer.queue import fanout, read, retention, returned, unsubscribing, verify
from mailer.queue.unsubscribing import Way
from mailer.store.tables import event, feedback, message, recipient, stream, suppression, tenant
from tests.support.mailroom import DELIVERED, Mailroom

KEYS = Keys(bytes(range(32)))
OURS = "bounce.acme.example"


def sent(room: Mailroom, *, delivered: bool = True) -> tuple[int, Subscriber]:
    """A message's id, and whom its link is for."""
    m = room.message()
    room.accept(m)
    if delivered:
        room.settle(room.claim(), DELIVERED)
    return m.id, Subscriber(room.tenant_id, room.stream_id, m.recipients[0].id, m.recipients[0].address)


def leave(room: Mailroom, whom: Subscriber, way: Way = Way.ONE_CLICK) -> bool | None:
    return unsubscribing.unsubscribe(room.store, whom, way, keys=KEYS, new_id=room.new_id, now=clock.now())


def events_of(room: Mailroom, message_id: int) -> list[Any]:
    view = read.message_of(room.store, room.tenant_id, message_id)
    assert view is not None
    return list(view.events)


def log_of(room: Mailroom) -> list[Any]:
    fanout.fan_out(room.store)
    with room.store.read() as c:
        return c.execute(select(event).order_by(event.c.number)).all()


def test_leaving_is_told_with_its_message_and_recipient(room: Mailroom) -> None:
    message_id, whom = sent(room)

    is_new = leave(room, whom)

    told = events_of(room, message_id)[-1]
    assert is_new is True
    assert (told.type, told.version) == ("unsubscribed", 3)
    assert told.data == {
        "reason": "one_click", "class": "unsubscribe", "action": "fail", "blame": "recipient", "phase": "web",
        "stream": "transactional",
    }  # fmt: skip
    assert verify.verify(room.store).holds


def test_leaving_again_by_whatever_way_is_no_news(room: Mailroom) -> None:
    message_id, whom = sent(room)

    news = [leave(room, whom, way) for way in (Way.PAGE, Way.ONE_CLICK, Way.PAGE)]

    assert news == [True, False, False]
    assert [e.type for e in events_of(room, message_id)] == ["accepted", "delivered", "unsubscribed"]


def test_a_link_works_before_the_delivery_is_settled(room: Mailroom) -> None:
    """The reader may be faster than our note of the 250."""
    message_id, whom = sent(room, delivered=False)

    assert leave(room, whom)
    room.settle(room.claim(), DELIVERED)

    assert [(e.type, e.version) for e in events_of(room, message_id)][1:] == [
        ("unsubscribed", 2), ("delivered", 3),
    ]  # fmt: skip


def test_a_link_works_when_nothing_of_its_mail_is_kept(room: Mailroom) -> None:
    _, whom = sent(room)
    fanout.fan_out(room.store)
    retention.drop_messages(room.store, before=clock.now() + timedelta(days=1))
    returned.forget_past(room.store, now=clock.now() + timedelta(days=181), after=timedelta(days=180))

    assert leave(room, whom)

    told = log_of(room)[-1]
    assert (told.type, told.message_id, told.recipient_id) == ("unsubscribed", None, None)
    assert told.data["address"] == whom.address
    with room.store.read() as c:
        assert c.execute(select(func.count()).select_from(feedback)).scalar_one() == 0


def test_for_half_a_year_it_is_known_which_mail_it_was(room: Mailroom) -> None:
    _, whom = sent(room)
    fanout.fan_out(room.store)
    retention.drop_messages(room.store, before=clock.now() + timedelta(days=1))

    assert leave(room, whom)
    assert not leave(room, whom)

    told = log_of(room)[-1]
    assert (told.type, told.recipient_id) == ("unsubscribed", whom.recipient_id)


@pytest.mark.parametrize(
    ("table", "state"), [(tenant, "suspended"), (stream, "archived")], ids=["suspended", "archived"]
)
def test_a_link_works_whatever_became_of_its_sender(room: Mailroom, table: Any, state: str) -> None:
    _, whom = sent(room)
    with room.store.write() as c:
        c.execute(update(table).values(state=state))

    assert leave(room, whom) is True


def test_without_its_tenant_or_stream_a_link_is_nobodys(room: Mailroom) -> None:
    _, whom = sent(room)
    other = Subscriber(room.new_id(), whom.stream_id, whom.recipient_id, whom.address)

    assert leave(room, other) is None
    assert unsubscribing.stream_of(room.store, other) is None
    with room.store.write() as c:
        c.execute(delete(stream))
    assert leave(room, whom) is None
    assert [e.type for e in log_of(room)] == ["accepted", "delivered"]


def entries(room: Mailroom) -> list[Any]:
    with room.store.read() as c:
        return list(c.execute(select(suppression)).all())


def test_the_address_is_on_the_list_of_its_stream_alone(room: Mailroom) -> None:
    _, whom = sent(room)

    for _ in range(2):
        leave(room, whom)

    [entry] = entries(room)
    assert (entry.tenant_id, entry.stream_id) == (whom.tenant_id, whom.stream_id)
    assert (entry.reason, entry.cause, entry.recipient_id) == ("unsubscribe", "link", whom.recipient_id)
    assert entry.key_hash == KEYS.address(whom.address).key_hash


def test_of_mail_that_is_not_kept_the_address_is_on_the_list_and_told_once(room: Mailroom) -> None:
    _, whom = sent(room)
    fanout.fan_out(room.store)
    retention.drop_messages(room.store, before=clock.now() + timedelta(days=1))

    news = [leave(room, whom) for _ in range(3)]

    assert news == [True, False, False]
    assert [e.type for e in log_of(room)].count("unsubscribed") == 1
    assert len(entries(room)) == 1


def test_whoever_was_taken_off_the_list_leaves_again_by_the_same_link(room: Mailroom) -> None:
    message_id, whom = sent(room)
    leave(room, whom)
    with room.store.write() as c:
        c.execute(delete(suppression))

    assert leave(room, whom) is True

    assert [e.type for e in events_of(room, message_id)].count("unsubscribed") == 2
    assert len(entries(room)) == 1


def test_two_clicks_at_once_are_one_event(room: Mailroom) -> None:
    message_id, whom = sent(room)
    news: list[bool | None] = []
    clicks = [threading.Thread(target=lambda: news.append(leave(room, whom))) for _ in range(4)]

    for click in clicks:
        click.start()
    for click in clicks:
        click.join()

    assert sorted(map(bool, news)) == [False, False, False, True]
    assert [e.type for e in events_of(room, message_id)].count("unsubscribed") == 1


def test_looking_who_a_link_is_for_changes_nothing(room: Mailroom) -> None:
    message_id, whom = sent(room)

    assert unsubscribing.stream_of(room.store, whom) == "transactional"
    assert [e.type for e in events_of(room, message_id)] == ["accepted", "delivered"]


def test_a_claim_says_which_stream_a_copy_is_to_be_left_by(room: Mailroom) -> None:
    ours, other = room.message(), room.message()
    room.accept(ours, other)
    with room.store.write() as c:
        c.execute(update(message).where(message.c.id == ours.id).values(unsubscribe="link"))

    claimed = {c.message_id: c.subscribed_to for c in room.claim()}

    assert claimed == {ours.id: room.stream_id, other.id: None}


def test_a_recipient_of_another_tenant_is_not_touched(room: Mailroom) -> None:
    message_id, whom = sent(room)
    with room.store.write() as c:
        c.execute(tenant.insert().values(id=7, name="globex", state="active", created_at=clock.now()))
        c.execute(stream.insert().values(id=8, tenant_id=7, name="news", kind="broadcast", in_doubt="retry",
                                         created_at=clock.now()))  # fmt: skip

    assert leave(room, Subscriber(7, 8, whom.recipient_id, whom.address)) is True

    assert [e.type for e in events_of(room, message_id)] == ["accepted", "delivered"]
    with room.store.read() as c:
        assert c.execute(select(recipient.c.version)).scalar_one() == 2
