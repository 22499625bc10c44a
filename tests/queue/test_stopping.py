"""Who came on a list gets nothing more: met at the claim, and ended where it waits."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from mailer import clock
from mailer.events import EventType, RecipientState, WaitReason
from mailer.policy.suppressionkey import Target
from mailer.queue import read, resuming, stopping, suppressionlist, verify
from mailer.queue.enqueue import NewMessage, NewRecipient
from mailer.queue.suppressing import EVERY_STREAM, EVERYBODY
from mailer.queue.suppressionentries import API, Entry
from mailer.store.tables import message as message_table
from mailer.store.tables import recipient, suppressed, suppression_task
from tests.support.mailroom import DELIVERED, HEARD_451, HOUR, KEYS, Mailroom, deferral

ADA = "ada@example.org"


def to(room: Mailroom, *addresses: str, at: datetime | None = None) -> NewMessage:
    people = tuple(
        NewRecipient(id=room.new_id(), address=a, domain=a.rpartition("@")[2], kind="to") for a in addresses
    )
    return replace(room.message(), recipients=people, due_at=at)


def suppress(
    room: Mailroom,
    target: Target | None = None,
    *,
    tenant_id: int | None = None,
    stream_id: int = EVERY_STREAM,
) -> int:
    entry = Entry(
        target=target or KEYS.address(ADA),
        tenant_id=room.tenant_id if tenant_id is None else tenant_id,
        stream_id=stream_id,
        id=room.new_id(),
        reason="complaint",
        cause=API,
        created_at=clock.now(),
    )
    suppressionlist.add(room.store, entry, new_id=room.new_id)
    return entry.id


def sweep(room: Mailroom, *, later: timedelta = timedelta(0)) -> None:
    while stopping.stop_waiting(room.store, room.suppressing, new_id=room.new_id, now=clock.now() + later):
        pass


def states(room: Mailroom, m: NewMessage) -> list[str]:
    seen = read.message_of(room.store, room.tenant_id, m.id)
    assert seen is not None
    return [r.state for r in seen.recipients]


def tasks(room: Mailroom) -> int:
    with room.store.read() as connection:
        return len(connection.execute(select(suppression_task.c.id)).all())


@pytest.mark.parametrize("spelt", [ADA, "Ada@Example.org".replace("E", "e"), "ADA@example.org"])
def test_a_claim_ends_who_came_on_the_list_and_takes_the_others(room: Mailroom, spelt: str) -> None:
    listed, free = to(room, spelt), to(room, "bob@example.org")
    room.accept(listed, free)
    entry_id = suppress(room)

    claimed = room.claim()

    seen = read.message_of(room.store, room.tenant_id, listed.id)
    assert seen is not None
    assert [c.message_id for c in claimed] == [free.id]
    assert states(room, listed) == [RecipientState.SUPPRESSED]
    assert [e.type for e in seen.events] == [EventType.ACCEPTED, EventType.SUPPRESSED]
    assert seen.events[1].data["reason"] == "complaint"
    assert seen.events[1].data["suppression_id"].startswith("sup_")
    assert entry_id
    assert verify.verify(room.store).holds


@pytest.mark.parametrize("spelt", [ADA, "ADA@example.org", "adA@example.org"])
def test_whatever_waits_ends_with_its_event(room: Mailroom, spelt: str) -> None:
    deferred, held = to(room, spelt), to(room, spelt)
    room.accept(deferred)
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    room.accept(held)
    with room.store.write() as connection:
        row = update(recipient).where(recipient.c.message_id == held.id)
        connection.execute(row.values(state=RecipientState.HELD, wait_reason=WaitReason.HELD))
    scheduled, queued = to(room, spelt, at=clock.now() + 9 * HOUR), to(room, spelt)
    other = to(room, "bob@example.org", at=clock.now() + HOUR)
    room.accept(scheduled, queued, other)

    suppress(room)
    sweep(room)

    for one in (deferred, held, scheduled, queued):
        assert states(room, one) == [RecipientState.SUPPRESSED]
    assert states(room, other) == [RecipientState.DEFERRED]
    assert verify.verify(room.store).holds


def test_a_stream_of_its_own_spares_other_streams(room: Mailroom) -> None:
    mine = to(room, ADA)
    room.accept(mine)

    suppress(room, stream_id=room.stream_id + 1)
    sweep(room)

    assert states(room, mine) == [RecipientState.QUEUED]
    assert [c.message_id for c in room.claim()] == [mine.id]


@pytest.mark.parametrize(
    ("target", "stopped"),
    [
        (KEYS.domain("example.org"), {"a@example.org"}),
        (KEYS.domain("example.org", subdomains=True), {"a@example.org", "a@mail.example.org"}),
    ],
)
def test_a_domain_stops_everybody_there(room: Mailroom, target: Target, stopped: set[str]) -> None:
    addresses = ("a@example.org", "a@mail.example.org", "a@notexample.org")
    waiting = to(room, *addresses, at=clock.now() + HOUR)
    room.accept(waiting)

    suppress(room, target)
    sweep(room)

    seen = read.message_of(room.store, room.tenant_id, waiting.id)
    assert seen is not None
    assert {r.address for r in seen.recipients if r.state == RecipientState.SUPPRESSED} == stopped


def test_the_operators_entries_stop_mail_of_all_tenants(room: Mailroom) -> None:
    waiting = to(room, ADA, at=clock.now() + HOUR)
    room.accept(waiting)

    suppress(room, tenant_id=EVERYBODY)
    sweep(room)

    assert states(room, waiting) == [RecipientState.SUPPRESSED]


def test_an_entry_of_another_tenant_stops_nobody(room: Mailroom) -> None:
    mine = to(room, ADA)
    room.accept(mine)

    suppress(room, tenant_id=room.tenant_id + 1)
    sweep(room)

    assert [c.message_id for c in room.claim()] == [mine.id]


def test_one_that_a_worker_holds_ends_once_it_waits_again(room: Mailroom) -> None:
    under_way = to(room, ADA)
    room.accept(under_way)
    held = room.claim()

    suppress(room)
    sweep(room)
    room.settle(held, deferral(clock.now() + HOUR), HEARD_451)
    before = states(room, under_way)
    sweep(room, later=timedelta(seconds=5))

    assert before == [RecipientState.DEFERRED]
    assert states(room, under_way) == [RecipientState.SUPPRESSED]
    assert verify.verify(room.store).holds


def test_one_that_a_worker_holds_may_be_delivered(room: Mailroom) -> None:
    under_way = to(room, ADA)
    room.accept(under_way)
    held = room.claim()
    suppress(room)
    sweep(room)

    room.settle(held, DELIVERED)
    sweep(room, later=timedelta(minutes=2))

    assert states(room, under_way) == [RecipientState.DELIVERED]
    assert tasks(room) == 0


def test_what_was_being_accepted_as_the_entry_came_is_met_by_the_second_look(room: Mailroom) -> None:
    suppress(room)
    sweep(room)
    late = to(room, ADA, at=clock.now() + HOUR)
    room.accept(late)  # without asking the list, as if it had been read before the entry was there

    sweep(room, later=timedelta(seconds=31))

    assert states(room, late) == [RecipientState.SUPPRESSED]
    assert tasks(room) == 0


def test_nobody_is_stopped_by_an_entry_that_was_removed_meanwhile(room: Mailroom) -> None:
    waiting = to(room, ADA, at=clock.now() + HOUR)
    room.accept(waiting)
    entry_id = suppress(room)

    suppressionlist.remove(
        room.store, room.tenant_id, entry_id, send_again=False, new_id=room.new_id, now=clock.now()
    )
    sweep(room)

    assert states(room, waiting) == [RecipientState.DEFERRED]
    assert [r.state for r in read.message_of(room.store, room.tenant_id, waiting.id).recipients]  # type: ignore[union-attr]


def test_what_it_stopped_is_sent_again_when_it_is_removed(room: Mailroom) -> None:
    stopped = to(room, ADA, "bob@example.org", at=clock.now() + HOUR)
    room.accept(stopped)
    entry_id = suppress(room)
    sweep(room)

    removed = suppressionlist.remove(
        room.store, room.tenant_id, entry_id, send_again=True, new_id=room.new_id, now=clock.now()
    )
    while resuming.send_again(
        room.store, new_id=room.new_id, process_number=room.worker.process_number, now=clock.now()
    ):
        pass

    assert removed == suppressionlist.Removed(1)
    assert sorted(states(room, stopped)) == ["deferred", "queued", "suppressed"]
    assert [c.address for c in room.claim()] == [ADA]
    with room.store.read() as connection:
        assert connection.execute(select(suppressed)).all() == []
        count = select(message_table.c.recipient_count).where(message_table.c.id == stopped.id)
        assert connection.execute(count).scalar_one() == 3
    assert verify.verify(room.store).holds


def test_more_than_one_piece_is_stopped(room: Mailroom) -> None:
    many = [to(room, ADA, at=clock.now() + HOUR) for _ in range(1100)]
    room.accept(*many)

    suppress(room)
    sweep(room)

    with room.store.read() as connection:
        left = connection.execute(select(recipient.c.id).where(recipient.c.settled_at.is_(None))).all()
    assert left == []
    assert verify.verify(room.store).holds


def test_an_erased_address_is_stopped_as_before(room: Mailroom) -> None:
    suppress(room)
    sweep(room, later=timedelta(minutes=1))
    assert suppressionlist.erase(room.store, KEYS.address("Ada@example.org")) == 1
    m = to(room, ADA)
    room.accept(m)

    assert room.claim() == []

    page = suppressionlist.page(
        room.store, room.tenant_id, suppressionlist.Wanted(), after=None, limit=5, now=clock.now()
    )
    assert [(row.address, row.domain) for row in page.entries] == [(None, None)]
    assert states(room, m) == [RecipientState.SUPPRESSED]
