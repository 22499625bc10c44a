"""Lists as CSV: read and written row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from mailer import clock
from mailer.queue import suppressionfile, suppressionlist, verify
from mailer.queue.suppressionfile import Importer, NoList, Outcome
from mailer.queue.suppressionlist import Wanted
from mailer.store import StoreUnavailable
from mailer.store.tables import suppression
from tests.support.mailroom import KEYS, Mailroom
from tests.support.returning import Fragile

HEAD = "address,stream,reason,note,created_at,expires_at\n"


def read(room: Mailroom, lines: Iterable[str], only: frozenset[str] | None = None) -> Outcome:
    importer = Importer(
        store=room.store, keys=KEYS, tenant_id=room.tenant_id, new_id=room.new_id, now=clock.now,
        added_by="key_5", streams={"transactional": room.stream_id}, only=only,
    )  # fmt: skip
    return importer.run(lines)


def written(room: Mailroom) -> list[str]:
    return "".join(suppressionfile.export(room.store, room.tenant_id, now=clock.now())).splitlines()


def test_what_is_written_is_read_again(room: Mailroom) -> None:
    rows = [
        "ada@example.org,,complaint,,2026-01-02T03:04:05+00:00,",
        'bob@example.org,transactional,unsubscribe,"he said, no",2026-01-02T03:04:05+00:00,',
        "example.net,,manual,,2026-01-02T03:04:05+00:00,2040-01-02T03:04:05+00:00",
        "*.example.com,,manual,,2026-01-02T03:04:05+00:00,",
    ]

    outcome = read(room, [HEAD, *(row + "\r\n" for row in rows)])

    assert (outcome.added, outcome.known, outcome.refused) == (4, 0, 0)
    assert written(room) == [HEAD.strip(), *rows]


def test_bad_rows_are_named_by_their_lines_and_spare_the_others(room: Mailroom) -> None:
    rows = [
        HEAD, "ada@example.org\n", "\n", "not an address\n", "eve@example.org,nostream\n",
        "x@example.org,,nonsense\n", "y@example.org,,,,yesterday\n", '"z@\n', '",,,,,\n',
    ]  # fmt: skip

    outcome = read(room, rows)

    assert (outcome.added, outcome.refused) == (1, 5)
    assert [fault.line for fault in outcome.faults] == [4, 5, 6, 7, 9]
    assert "stream" in outcome.faults[1].detail
    assert "created_at" in outcome.faults[3].detail


def test_it_may_be_read_again_and_overlap(room: Mailroom) -> None:
    lines = [HEAD, *(f"user{n}@example.org\n" for n in range(12_000))]

    first, second = read(room, lines), read(room, [*lines, "USER1@Example.org\n", "new@example.org\n"])

    assert (first.added, first.known) == (12_000, 0)
    assert (second.added, second.known) == (1, 12_001)


def test_what_was_read_before_a_fault_of_the_whole_file_stands(room: Mailroom) -> None:
    good = [HEAD, *(f"user{n}@example.org\n" for n in range(45_000))]
    with pytest.raises(NoList):
        read(room, [*good, "x" * 9000 + "\n"])
    with room.store.read() as connection:
        standing = len(connection.execute(select(suppression.c.id)).all())

    again = read(room, good)

    assert 40_000 <= standing <= 45_000
    assert (again.added, again.known) == (45_000 - standing, standing)


def test_a_database_that_goes_away_is_told_and_the_file_may_be_read_again(room: Mailroom) -> None:
    """Whatever piece it was that did not reach it."""
    good = [HEAD, *(f"user{n}@example.org\n" for n in range(65_000))]
    away = Fragile(room.store)

    def lines() -> Iterator[str]:
        for number, line in enumerate(good):
            if number == 30_000:
                away.away_for = 100
            yield line

    with pytest.raises(StoreUnavailable):
        read(replace(room, store=away), lines())  # type: ignore[arg-type]  # speaks as one
    again = read(room, good)

    assert 0 < again.known < 65_000
    assert again.added + again.known == 65_000


@pytest.mark.parametrize("head", ["EMAIL,when\n", "\ufeffRecipient\n", "name, Address \n"])
def test_lists_of_others_are_read(room: Mailroom, head: str) -> None:
    assert read(room, [head, "ada@example.org,ada@example.org\n"]).added == 1


@pytest.mark.parametrize("lines", [[], ["name,date\n"], ["x" * 9000], ["a\0ddress\n"]])
def test_what_is_no_list_is_refused(room: Mailroom, lines: list[str]) -> None:
    with pytest.raises(NoList):
        read(room, lines)


def test_a_limited_key_imports_into_its_streams_only(room: Mailroom) -> None:
    rows = [HEAD, "ada@example.org\n", "bob@example.org,transactional\n"]

    outcome = read(room, rows, only=frozenset({"transactional"}))

    assert (outcome.added, outcome.refused) == (1, 1)


def test_a_long_list_is_asked_by_an_index_and_stops_who_is_on_it(room: Mailroom) -> None:
    read(room, [HEAD, *(f"user{n}@listed.example\n" for n in range(100_000))])
    listed, free = room.message("listed.example"), room.message("free.example")
    room.accept(listed, free)

    assert [c.message_id for c in room.claim()] == [free.id]
    found = suppressionlist.page(
        room.store, room.tenant_id, Wanted(prefix="user99999@"), after=None, limit=10, now=clock.now()
    )
    assert [row.address for row in found.entries] == ["user99999@listed.example"]
    with room.store.read() as connection:
        assert len(connection.execute(select(suppression.c.id)).all()) == 100_000
    assert verify.verify(room.store).holds
