"""Lists of messages: newest first, page by page, whatever the filter, and never a long look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from mailer import clock
from mailer.queue import fanout, listing, retention, verify
from mailer.queue.enqueue import NewMessage, NewRecipient
from mailer.queue.finding import MOST_LOOKED, Wanted
from mailer.queue.listing import ALL
from mailer.store.tables import message, message_tag, sending_domain, stream
from tests.support.mailroom import BOUNCED, DELIVERED, HOUR, Mailroom

DAY = timedelta(days=1)


def accepted(room: Mailroom, *domains: str, tags: tuple[str, ...] = (), **change: Any) -> NewMessage:
    made = replace(room.message(*domains), tags=tags, **change)
    room.accept(made)
    return made


def ids_of(room: Mailroom, wanted: Wanted = ALL, *, limit: int = 100) -> list[int]:
    return [m.id for m in listing.page(room.store, room.tenant_id, wanted, limit=limit).messages]


def pages(room: Mailroom, wanted: Wanted, *, limit: int, most_looked: int = MOST_LOOKED) -> list[list[int]]:
    """Every page, until there is nothing more."""
    found: list[list[int]] = []
    position: int | None = None
    while True:
        page = listing.page(
            room.store, room.tenant_id, wanted, limit=limit, position=position, most_looked=most_looked
        )
        found.append([m.id for m in page.messages])
        position = page.position
        if position is None:
            return found


def another_stream(room: Mailroom, name: str) -> int:
    made = room.new_id()
    with room.store.write() as c:
        c.execute(
            stream.insert().values(
                id=made, tenant_id=room.tenant_id, name=name, kind="broadcast", in_doubt="retry",
                created_at=clock.now(),
            )
        )  # fmt: skip
    return made


def another_domain(room: Mailroom, name: str) -> int:
    made = room.new_id()
    with room.store.write() as c:
        c.execute(
            sending_domain.insert().values(
                id=made, tenant_id=room.tenant_id, name=name, return_path_domain=f"bounce.{name}",
                state="active", created_at=clock.now(),
            )
        )  # fmt: skip
    return made


# ---- what a list shows


def test_the_newest_message_comes_first_with_its_recipients_counted(room: Mailroom) -> None:
    old = accepted(room, "a.example", "b.example", tags=("order",), metadata={"order": "4711"})
    room.settle([c for c in room.claim() if c.domain == "a.example"], DELIVERED)
    new = accepted(room)

    shown = listing.page(room.store, room.tenant_id, limit=10).messages
    assert [m.id for m in shown] == [new.id, old.id]
    assert shown[1].states == {"delivered": 1, "leased": 1}
    assert (shown[1].tags, shown[1].metadata) == (["order"], {"order": "4711"})
    assert (shown[1].stream, shown[1].size_bytes) == ("transactional", old.content.size_bytes)


def test_a_tenant_without_messages_has_an_empty_list(room: Mailroom) -> None:
    accepted(room)

    assert listing.page(room.store, room.new_id(), limit=10) == listing.Page([], None)


# ---- pages


def test_pages_hold_every_message_once_and_the_last_says_so(room: Mailroom) -> None:
    made = [accepted(room).id for _ in range(5)]

    newest_first = made[::-1]
    assert pages(room, ALL, limit=2) == [newest_first[:2], newest_first[2:4], newest_first[4:]]


def test_a_full_last_page_is_known_to_be_the_last(room: Mailroom) -> None:
    made = [accepted(room).id for _ in range(4)]

    assert pages(room, ALL, limit=4) == [made[::-1]]


def test_mail_that_comes_in_meanwhile_shifts_no_page(room: Mailroom) -> None:
    made = [accepted(room).id for _ in range(4)]
    first = listing.page(room.store, room.tenant_id, limit=2)
    accepted(room)

    second = listing.page(room.store, room.tenant_id, limit=2, position=first.position)
    assert [m.id for m in (*first.messages, *second.messages)] == made[::-1]


# ---- filters


def test_an_address_finds_its_messages(room: Mailroom) -> None:
    recipient = NewRecipient(id=room.new_id(), address="Ada@x.example", domain="x.example", kind="to")
    mine = accepted(room, recipients=(recipient,))
    accepted(room, "x.example")

    assert ids_of(room, Wanted(address="Ada@x.example")) == [mine.id]
    assert ids_of(room, Wanted(address="ada@x.example")) == []


def test_a_tag_finds_its_messages(room: Mailroom) -> None:
    order, both = accepted(room, tags=("order",)), accepted(room, tags=("order", "eu"))
    accepted(room, tags=("orders",))

    assert ids_of(room, Wanted(tag="order")) == [both.id, order.id]
    assert ids_of(room, Wanted(tag="eu")) == [both.id]


def test_state_address_and_domain_are_met_by_one_recipient(room: Mailroom) -> None:
    split = accepted(room, "a.example", "b.example")
    room.settle([c for c in room.claim() if c.domain == "a.example"], DELIVERED)
    [to_a, to_b] = [r.address for r in split.recipients]
    delivered = frozenset({"delivered"})

    assert ids_of(room, Wanted(states=delivered)) == [split.id]
    assert ids_of(room, Wanted(states=delivered, address=to_a)) == [split.id]
    assert ids_of(room, Wanted(states=delivered, address=to_b)) == []
    assert ids_of(room, Wanted(states=delivered, domain="a.example")) == [split.id]
    assert ids_of(room, Wanted(states=delivered, domain="b.example")) == []


def test_any_of_several_states_will_do(room: Mailroom) -> None:
    gone, back, waits = accepted(room, "a.example"), accepted(room, "b.example"), accepted(room)
    claimed = {c.domain: c for c in room.claim()}
    room.settle([claimed["a.example"]], DELIVERED)
    room.settle([claimed["b.example"]], BOUNCED)

    assert ids_of(room, Wanted(states=frozenset({"delivered", "bounced"}))) == [back.id, gone.id]
    assert ids_of(room, Wanted(states=frozenset({"leased"}))) == [waits.id]


def test_streams_and_sending_domains_are_found_by_name(room: Mailroom) -> None:
    plain = accepted(room)
    news = accepted(room, stream_id=another_stream(room, "news"))
    other = accepted(room, domain_id=another_domain(room, "acme.test"))

    assert ids_of(room, Wanted(stream="news")) == [news.id]
    assert ids_of(room, Wanted(stream="transactional")) == [other.id, plain.id]
    assert ids_of(room, Wanted(from_domain="acme.test")) == [other.id]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(stream="none"), Wanted(from_domain="none.example"), Wanted(domain="none.example"),
        Wanted(tag="none"), Wanted(address="none@none.example"), Wanted(states=frozenset({"expired"})),
    ],
)  # fmt: skip
def test_what_nothing_meets_is_an_empty_list_and_its_end(room: Mailroom, wanted: Wanted) -> None:
    accepted(room, tags=("order",))

    assert pages(room, wanted, limit=10) == [[]]


def test_times_are_those_of_the_acceptance_from_an_instant_on_up_to_another(room: Mailroom) -> None:
    made = [accepted(room) for _ in range(3)]
    at = clock.now()
    with room.store.write() as c:  # ids are older than acceptances: the last ones waited for their commit
        for m, later in zip(made, (0, 9, 30), strict=True):
            changed = message.update().where(message.c.id == m.id)
            c.execute(changed.values(accepted_at=at + timedelta(seconds=later)))
    first, second, third = (m.id for m in made)
    nine, thirty = at + timedelta(seconds=9), at + timedelta(seconds=30)

    assert ids_of(room, Wanted(since=thirty)) == [third]
    assert ids_of(room, Wanted(before=thirty)) == [second, first]
    assert ids_of(room, Wanted(since=at, before=nine)) == [first]
    assert ids_of(room, Wanted(since=at + DAY)) == []
    assert ids_of(room, Wanted(before=at - DAY)) == []


def test_all_filters_work_together(room: Mailroom) -> None:
    mine = accepted(room, "a.example", tags=("order",))
    accepted(room, "a.example", tags=("order",), stream_id=another_stream(room, "news"))
    wanted = Wanted(
        states=frozenset({"queued"}), address=mine.recipients[0].address, domain="a.example",
        tag="order", stream="transactional", from_domain="acme.example",
        since=clock.now() - HOUR, before=clock.now() + HOUR,
    )  # fmt: skip

    assert pages(room, wanted, limit=1) == [[mine.id]]


# ---- bounds


def test_a_page_may_be_empty_and_still_lead_on_to_what_is_wanted(room: Mailroom) -> None:
    wanted = accepted(room, stream_id=another_stream(room, "news"))
    for _ in range(20):
        accepted(room)

    found = pages(room, Wanted(stream="news"), limit=1, most_looked=6)
    assert found == [[], [], [], [wanted.id]]


def test_recipients_that_must_be_looked_at_count(room: Mailroom) -> None:
    many = [accepted(room, *(f"d{n}.example" for n in range(4))) for _ in range(3)]

    found = pages(room, Wanted(states=frozenset({"queued"})), limit=10, most_looked=6)
    assert found == [[m.id] for m in many[::-1]]


def test_a_message_with_more_recipients_than_may_be_looked_at_is_found(room: Mailroom) -> None:
    large = accepted(room, *(f"d{n}.example" for n in range(30)))

    assert pages(room, Wanted(domain="d29.example"), limit=10, most_looked=6) == [[large.id]]


def test_commands_read_every_page(room: Mailroom) -> None:
    made = [accepted(room).id for _ in range(3)]

    assert [m.id for m in listing.every(room.store, room.tenant_id)] == made[::-1]


# ---- tags are filed and dropped with their message


def rows_of(room: Mailroom) -> Sequence[tuple[int, str, int]]:
    with room.store.read() as c:
        return [tuple(row) for row in c.execute(message_tag.select().order_by(message_tag.c.tag))]


def test_tags_go_with_their_message(room: Mailroom) -> None:
    gone, stays = accepted(room, tags=("eu", "order")), accepted(room, "late.example", tags=("eu",))
    room.settle([c for c in room.claim() if c.domain != "late.example"], DELIVERED)
    fanout.fan_out(room.store)

    filed = rows_of(room)
    retention.drop_messages(room.store, before=clock.now() + DAY)

    assert {(tag, of) for _, tag, of in filed} == {("eu", gone.id), ("order", gone.id), ("eu", stays.id)}
    assert rows_of(room) == [(room.tenant_id, "eu", stays.id)]
    assert verify.verify(room.store).holds


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM message_tag WHERE tag = 'eu'",
        "INSERT INTO message_tag SELECT tenant_id, 'third', message_id FROM message_tag WHERE tag = 'eu'",
        "INSERT INTO message_tag SELECT tenant_id, tag, message_id + 1 FROM message_tag WHERE tag = 'eu'",
    ],
)
def test_verify_sees_tags_that_are_not_those_of_their_message(room: Mailroom, damage: str) -> None:
    accepted(room, tags=("eu", "order"))
    before = verify.verify(room.store)
    with room.store.write() as c:
        c.execute(text(damage))

    broken = [check.name for check in verify.verify(room.store).checks if not check.holds]
    assert before.holds
    assert broken == ["messages are found by their tags"]
