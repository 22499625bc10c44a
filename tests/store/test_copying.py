"""A large value reaches PostgreSQL in pieces, and what goes wrong is told as for any other statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from mailer.store import Store, StoreUnavailable
from mailer.store.copying import insert_in_pieces
from mailer.store.tables import content

LARGE = bytes(range(256)) * 20_000
ROW: dict[str, Any] = {
    "id": 2**62 + 1, "headers": b"From: a@b.example\r\n", "body": LARGE, "body_file": None,
    "body_hash": "x" * 44, "size_bytes": len(LARGE), "is_8bit": True, "needs_utf8": False,
}  # fmt: skip


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = Store(postgres_url)
    yield opened
    opened.close()


def rows(store: Store) -> list[dict[str, Any]]:
    with store.read() as c:
        return [dict(row) for row in c.execute(select(content)).mappings()]


@pytest.mark.parametrize(
    "change", [{}, {"body": None, "body_file": "é" * 32}, {"body": b"", "is_8bit": False}]
)
def test_a_row_arrives_as_it_was_given(store: Store, change: dict[str, Any]) -> None:
    with store.write() as c:
        insert_in_pieces(c, content, {**ROW, **change})

    assert rows(store) == [{**ROW, **change}]


def test_it_is_part_of_its_transaction(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as c:
        insert_in_pieces(c, content, ROW)
        raise ZeroDivisionError

    assert rows(store) == []


def test_a_row_that_cannot_be_is_our_bug(store: Store) -> None:
    with store.write() as c:
        insert_in_pieces(c, content, ROW)

    with pytest.raises(IntegrityError), store.write() as c:
        insert_in_pieces(c, content, ROW)


def test_a_connection_that_died_means_try_again(store: Store) -> None:
    with pytest.raises(StoreUnavailable), store.write() as c:
        pid = c.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with store.write() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        insert_in_pieces(c, content, ROW)

    assert rows(store) == []
