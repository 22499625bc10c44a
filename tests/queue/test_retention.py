"""Old mail goes, and the equation still closes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import clock
from mailer.policy.egress import Stay
from mailer.queue import bodies, egress, fanout, read, retention, verify
from mailer.store import Store, schema
from mailer.store.tables import content
from tests.support.mailroom import DELIVERED, HOUR, Mailroom

LATER = timedelta(days=40)


def test_finished_messages_go_and_the_equation_still_closes(room: Mailroom) -> None:
    gone, stays = room.message("a.example", "b.example"), room.message("c.example")
    room.accept(gone, stays)
    room.settle([c for c in room.claim() if c.domain != "c.example"], DELIVERED)
    fanout.fan_out(room.store)

    dropped = retention.drop_messages(room.store, before=clock.now() + LATER)

    verdict = verify.verify(room.store)
    assert dropped == 1
    assert verdict.holds
    assert (verdict.tenants[0].accepted, verdict.tenants[0].final["delivered"]) == (3, 2)
    assert read.message_of(room.store, room.tenant_id, gone.id) is None
    assert read.message_of(room.store, room.tenant_id, stays.id) is not None


def test_what_a_try_meant_for_the_next_one_goes_along(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    [claimed] = room.claim()
    recipient_id = claimed.recipient_id
    with room.store.write() as c:
        egress.keep(c, {recipient_id: Stay(7, is_pinned=True, is_changed=False)})
        egress.keep(c, {recipient_id: Stay(8, is_pinned=False, is_changed=True)})
    kept = egress.stays(room.store, [recipient_id])
    room.settle([claimed], DELIVERED)
    fanout.fan_out(room.store)

    retention.drop_messages(room.store, before=clock.now() + LATER)

    assert kept == {recipient_id: Stay(8, is_pinned=False, is_changed=True)}
    assert egress.stays(room.store, [recipient_id]) == {}


def test_young_messages_stay(room: Mailroom) -> None:
    room.accept(room.message())
    room.settle(room.claim(), DELIVERED)
    fanout.fan_out(room.store)

    assert retention.drop_messages(room.store, before=clock.now() - HOUR) == 0


def test_a_message_whose_events_are_not_yet_told_stays(room: Mailroom) -> None:
    room.accept(room.message())
    room.settle(room.claim(), DELIVERED)

    assert retention.drop_messages(room.store, before=clock.now() + LATER) == 0


def test_the_log_loses_its_oldest_numbers_only(room: Mailroom) -> None:
    gone, stays, gone_too = room.message("a.example"), room.message("b.example"), room.message("c.example")
    for m in (gone, stays, gone_too):
        room.accept(m)
        fanout.fan_out(room.store)
    room.settle([c for c in room.claim() if c.domain != "b.example"], DELIVERED)
    fanout.fan_out(room.store)
    retention.drop_messages(room.store, before=clock.now() + LATER)

    dropped = retention.drop_events(room.store, before=clock.now() + LATER)

    page = read.events(room.store, room.tenant_id, after=0, limit=10)
    assert dropped == 1
    assert [e.number for e in page.events] == [2, 3, 4, 5]
    assert verify.verify(room.store).holds


@pytest.fixture
def sqlite_room(sqlite_url: str) -> Iterator[Mailroom]:
    """Body files are SQLite's; PostgreSQL holds bodies itself."""
    store = Store(sqlite_url)
    schema.upgrade(store, epoch="e")
    yield Mailroom.furnish(store, now=clock.now())
    store.close()


def test_postgresql_holds_large_bodies_itself() -> None:
    assert bodies.keep(None, b"x" * 300_000) == (b"x" * 300_000, None)


def test_large_bodies_are_files_and_go_when_nobody_names_them(sqlite_room: Mailroom) -> None:
    folder = sqlite_room.store.body_folder
    _, named = bodies.keep(folder, b"x" * 300_000)
    _, again = bodies.keep(folder, b"x" * 300_000)

    early = bodies.remove_unnamed(sqlite_room.store, now=clock.now())
    late = bodies.remove_unnamed(sqlite_room.store, now=clock.now() + 2 * HOUR)

    assert named == again is not None
    assert (early, late) == (0, 1)


def test_a_body_file_that_a_row_names_stays_and_is_loaded(sqlite_room: Mailroom) -> None:
    store = sqlite_room.store
    _, name = bodies.keep(store.body_folder, b"y" * 300_000)
    sqlite_room.accept(sqlite_room.message())
    with store.write() as c:
        c.execute(content.update().values(body=None, body_file=name))

    removed = bodies.remove_unnamed(store, now=clock.now() + 2 * HOUR)

    [claimed] = sqlite_room.claim()
    assert removed == 0
    assert bodies.load(store, [claimed.content_id])[claimed.content_id].body == b"y" * 300_000


def test_a_body_file_that_went_missing_is_said_so(sqlite_room: Mailroom) -> None:
    store = sqlite_room.store
    _, name = bodies.keep(store.body_folder, b"z" * 300_000)
    sqlite_room.accept(sqlite_room.message())
    with store.write() as c:
        c.execute(content.update().values(body=None, body_file=name))
    bodies.remove_unnamed(store, now=clock.now() - HOUR)
    next(iter((store.body_folder or Path()).glob(f"??/{name}"))).unlink()

    with pytest.raises(bodies.MissingBody):
        bodies.load(store, [c.content_id for c in sqlite_room.claim()])
