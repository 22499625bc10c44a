"""Submissions over real connections: however a request comes in, its answer is whole, right and in order."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from mailer.store.tables import message
from tests.accept.http.conftest import LETTER, LIMITS, Keyring
from tests.support.served import served

Connect = Callable[[], socket.socket]
BODY = json.dumps(LETTER).encode()


@pytest.fixture
def connect(app: FastAPI) -> Iterator[Connect]:
    with served(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield lambda: socket.create_connection((host, int(port)), timeout=10)


@pytest.fixture
def key(keyring: Keyring) -> str:
    return keyring.issue().text


def request(
    key: str, body: bytes = BODY, *more: str, version: str = "1.1", length: int | None = None
) -> bytes:
    lines = [
        f"POST /v1/messages HTTP/{version}",
        "Host: mailer.test",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def reading(connection: socket.socket) -> Iterator[Callable[[], tuple[int, dict[str, str], bytes]]]:
    """Reads one answer at a time: status, fields, body."""
    with connection, connection.makefile("rb") as file:

        def read() -> tuple[int, dict[str, str], bytes]:
            status = int(file.readline().split()[1])
            fields = {}
            while (line := file.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("ascii").rstrip("\r\n").partition(": ")
                assert name not in fields
                fields[name] = value
            return status, fields, file.read(int(fields.get("content-length", "0")))

        yield read


def stored(keyring: Keyring) -> int:
    with keyring.room.store.read() as c:
        return c.execute(select(func.count()).select_from(message)).scalar_one()


def test_an_answer_is_one_piece_with_all_its_fields(connect: Connect, key: str) -> None:
    with connect() as connection:
        connection.sendall(request(key))
        octets = connection.recv(65536)

    head, _, body = octets.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 202 Accepted"
    assert sorted(fields) == [
        "cache-control", "content-length", "content-type", "date", "location", "server",
        "x-content-type-options", "x-request-id",
    ]  # fmt: skip
    assert int(fields["content-length"]) == len(body)
    assert fields["location"] == f"/v1/messages/{json.loads(body)['id']}"


def test_a_connection_serves_one_request_after_the_other(connect: Connect, key: str) -> None:
    connection = connect()
    with reading(connection) as read:
        answers = []
        for _ in range(3):
            connection.sendall(request(key))
            answers.append(read())

    assert [status for status, _, _ in answers] == [202] * 3
    assert len({fields["x-request-id"] for _, fields, _ in answers}) == 3
    assert len({json.loads(body)["id"] for _, _, body in answers}) == 3


def test_requests_in_one_packet_are_answered_in_order(connect: Connect, key: str) -> None:
    bad, unknown = b'{"from": 1}', json.dumps({**LETTER, "from": "shop@elsewhere.example"}).encode()
    connection = connect()
    with reading(connection) as read:
        connection.sendall(b"".join(request(key, body) for body in (BODY, bad, BODY, unknown, BODY)))
        answers = [read() for _ in range(5)]

    assert [status for status, _, _ in answers] == [202, 422, 202, 403, 202]


@pytest.mark.parametrize("cut", [1, len(BODY) - 1])
def test_a_body_that_comes_in_pieces_is_awaited(
    connect: Connect, key: str, keyring: Keyring, cut: int
) -> None:
    whole = request(key)
    at = len(whole) - len(BODY) + cut
    connection = connect()
    with reading(connection) as read:
        connection.sendall(whole[:at])
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1, socket.MSG_PEEK)
        before = stored(keyring)
        connection.settimeout(10)
        connection.sendall(whole[at:])
        status, _, _ = read()

    assert (before, status, stored(keyring)) == (0, 202, 1)


def test_a_body_larger_than_what_is_read_ahead_comes_whole(connect: Connect, key: str) -> None:
    """uvicorn stops reading at 64 KiB until it is asked for more."""
    text = "x" * 70 + "\n"
    body = json.dumps({**LETTER, "text": text * 1500}).encode()
    connection = connect()
    with reading(connection) as read:
        connection.sendall(request(key, body) + request(key))
        answers = [read()[0] for _ in range(2)]

    assert len(body) > 100_000
    assert answers == [202, 202]


@pytest.mark.parametrize(
    ("version", "more"), [("1.1", ["Connection: close"]), ("1.0", [])], ids=["asked", "HTTP/1.0"]
)
def test_a_connection_that_shall_close_closes_after_the_answer(
    connect: Connect, key: str, version: str, more: list[str]
) -> None:
    connection = connect()
    with reading(connection) as read:
        connection.sendall(request(key, BODY, *more, version=version))
        status, fields, body = read()
        after = connection.recv(1)

    assert (status, fields["connection"], after) == (202, "close", b"")
    assert json.loads(body)["status"] == "accepted"


def test_a_client_that_waits_to_be_told_is_told_to_go_on(connect: Connect, key: str) -> None:
    connection = connect()
    with reading(connection) as read:
        connection.sendall(request(key, b"", "Expect: 100-continue", length=len(BODY)))
        told, _, _ = read()
        connection.sendall(BODY)
        status, _, _ = read()

    assert (told, status) == (100, 202)


def test_a_body_above_the_limit_is_refused_though_it_is_there(
    connect: Connect, key: str, keyring: Keyring
) -> None:
    body = b"x" * (LIMITS.request_bytes + 1)
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    head = request(key, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    connection = connect()
    with reading(connection) as read:
        connection.sendall(head + chunked)
        status, _, answer = read()

    assert (status, json.loads(answer)["type"]) == (413, "/problems/request-too-large")
    assert stored(keyring) == 0


def test_a_client_that_leaves_is_missed_by_nobody(
    connect: Connect, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether what was whole is taken is open: it may see that the client is gone, or not."""
    bad = request(key, b'{"from": 1}')
    for octets in (
        request(key)[:-5],
        request(key),
        request(key) * 3,
        bad * 3,
        request(key) + bad + request(key),
    ):
        gone = connect()
        gone.sendall(octets)
        gone.close()
    connection = connect()
    with reading(connection) as read:
        connection.sendall(request(key))
        status, _, _ = read()

    assert status == 202
    assert "failed" not in capfd.readouterr().out
