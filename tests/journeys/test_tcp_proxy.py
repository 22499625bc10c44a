"""The proxy loses exactly the commits that it was told to lose, and the server knows which those were."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.tcp_proxy import CommitThief, Cut, commit_thief


@pytest.fixture
def direct(postgres_url: str) -> Iterator[psycopg.Connection]:
    """A connection beside the proxy, with the tables that the tests write to."""
    with psycopg.connect(_conninfo(postgres_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE bread (n integer)")
        connection.execute("CREATE TABLE wine (n integer)")
        yield connection


@pytest.fixture
def thief(postgres_url: str, direct: psycopg.Connection) -> Iterator[CommitThief]:
    url = make_url(postgres_url)
    assert url.host
    assert url.port
    with commit_thief(url.host, url.port) as running:
        yield running


def _conninfo(sqlalchemy_url: str, port: int | None = None) -> str:
    url = make_url(sqlalchemy_url).set(drivername="postgresql")
    return (url.set(port=port) if port else url).render_as_string(hide_password=False)


def insert(postgres_url: str, thief: CommitThief, table: str) -> bool:
    """Whether the client heard that its transaction stands."""
    with psycopg.connect(_conninfo(postgres_url, thief.port)) as client:
        try:
            client.execute(f"INSERT INTO {table} VALUES (1)")
            client.commit()
        except psycopg.OperationalError:
            return False
        return True


def rows(direct: psycopg.Connection, table: str) -> int:
    [count] = direct.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    return int(count)


def test_without_an_order_everything_passes(
    postgres_url: str, thief: CommitThief, direct: psycopg.Connection
) -> None:
    heard = insert(postgres_url, thief, "bread")

    assert (heard, rows(direct, "bread"), thief.stolen) == (True, 1, 0)


def test_a_lost_answer_leaves_the_transaction_standing(
    postgres_url: str, thief: CommitThief, direct: psycopg.Connection
) -> None:
    thief.steal(Cut.ANSWER, touching="INSERT INTO bread")
    heard = insert(postgres_url, thief, "bread")

    assert (heard, rows(direct, "bread"), thief.stolen) == (False, 1, 1)


def test_a_lost_commit_leaves_nothing(
    postgres_url: str, thief: CommitThief, direct: psycopg.Connection
) -> None:
    thief.steal(Cut.COMMIT, touching="INSERT INTO bread")
    heard = insert(postgres_url, thief, "bread")

    assert (heard, rows(direct, "bread"), thief.stolen) == (False, 0, 1)


def test_only_transactions_with_the_marked_statement_are_hit(
    postgres_url: str, thief: CommitThief, direct: psycopg.Connection
) -> None:
    thief.steal(Cut.ANSWER, touching="INSERT INTO wine")
    heard = [insert(postgres_url, thief, table) for table in ("bread", "wine", "wine")]

    assert heard == [True, False, True]
    assert (rows(direct, "bread"), rows(direct, "wine"), thief.ordered) == (1, 2, 0)
