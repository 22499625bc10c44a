"""With 400,000 recipients and a long list, who is on it and what waits for it is found by indexes."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from mailer import clock
from mailer.queue import stopping, suppressing, suppressionlist
from mailer.queue.suppressing import EVERY_STREAM, Asked
from mailer.queue.suppressionentries import API, Entry
from mailer.queue.suppressionfile import Importer
from mailer.queue.suppressionlist import Wanted
from mailer.store import Store
from tests.queue.test_listing_plans import SECONDS, is_scan, plan_of, seed, statements
from tests.support.mailroom import KEYS, Mailroom

LISTED = 20_000


@pytest.fixture
def crowded(store: Store) -> Mailroom:
    room = Mailroom.furnish(store, now=clock.now())
    with store.write() as c:
        seed(c, room)
    importer = Importer(
        store=store, keys=KEYS, tenant_id=room.tenant_id, new_id=room.new_id, now=clock.now, added_by="me"
    )
    importer.run(["address\n", *(f"nobody{n}@listed.example\n" for n in range(LISTED))])
    if not store.is_sqlite:
        with store.write() as c:
            c.execute(text("ANALYZE"))
    return room


def test_what_waits_is_found_by_indexes(crowded: Mailroom) -> None:
    entry = Entry(
        target=KEYS.address("user17@example.org"), tenant_id=crowded.tenant_id, stream_id=EVERY_STREAM,
        id=crowded.new_id(), reason="complaint", cause=API, created_at=clock.now(),
    )  # fmt: skip
    suppressionlist.add(crowded.store, entry, new_id=crowded.new_id)

    with statements() as sent:
        began = time.perf_counter()
        stopping.stop_waiting(crowded.store, crowded.suppressing, new_id=crowded.new_id, now=clock.now())
        took = time.perf_counter() - began

    assert [s for s, a in sent if is_scan(plan_of(crowded.store, s, a))] == []
    assert took < LISTED / 1000 * SECONDS


def test_a_look_up_of_many_is_one_of_the_key(crowded: Mailroom) -> None:
    asked = [Asked(n, crowded.tenant_id, 1, f"nobody{n * 97}@listed.example") for n in range(200)]

    with crowded.store.read() as connection:
        suppressing.stops(connection, KEYS, asked[:1], now=clock.now())
        began = time.perf_counter()
        found = suppressing.stops(connection, KEYS, asked, now=clock.now())
        took = time.perf_counter() - began

    assert len(found) == 200
    assert took < SECONDS


def test_a_search_reads_an_index(crowded: Mailroom) -> None:
    wanted = Wanted(prefix="nobody1999")

    with statements() as sent:
        page = suppressionlist.page(
            crowded.store, crowded.tenant_id, wanted, after=None, limit=50, now=clock.now()
        )

    assert len(page.entries) == 11
    plans = [plan_of(crowded.store, s, a) for s, a in sent]
    assert [plan for plan in plans if "Seq Scan on suppression" in plan or "SCAN suppression" in plan] == []
