"""A dry run, and messages with files, on each engine."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mailer import clock
from mailer.accept.credentials import Identity
from mailer.accept.http import draft, wire
from mailer.accept.http.examining import Examiner
from mailer.accept.intake import Intake, IntakeLimits
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, Submission
from mailer.queue import bodies
from mailer.store import tables
from tests.accept.conftest import SECRET_HASH, Desk

LARGE = bytes(1_200_000)  # SQLite keeps the body in a file, PostgreSQL gets it in pieces
MOST = 4 << 20


@pytest.fixture
def examiner(desk: Desk) -> Examiner:
    store = desk.room.store
    stationery = Stationery(store, monotonic=clock.monotonic)
    return Examiner(
        store, stationery, most_recipients=10, message_bytes=MOST, new_id=desk.room.new_id, now=clock.now
    )


def identity(desk: Desk) -> Identity:
    return Identity(desk.room.tenant_id, desk.key_id, SECRET_HASH, frozenset({"send"}), is_suspended=False)


def request(**change: Any) -> bytes:
    file = {"filename": "a.bin", "content": base64.b64encode(LARGE).decode()}
    letter = {"from": "shop@acme.example", "to": "ada@example.org", "subject": "hello", "text": "hi"}
    return json.dumps({**letter, "attachments": [file], **change}).encode()


def written(desk: Desk) -> int:
    """Rows of all tables."""
    with desk.room.store.read() as c:
        counted = [select(func.count()).select_from(t) for t in tables.metadata.tables.values()]
        return sum(c.execute(count).scalar_one() for count in counted)


def test_what_would_be_accepted_is_foreseen_and_not_written(desk: Desk, examiner: Examiner) -> None:
    before = written(desk)

    found = examiner.examine(request(), identity(desk))

    assert found.message is not None
    assert (found.problems, found.warnings) == ((), ())
    assert written(desk) == before


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"from": "ceo@globex.example", "stream": "x"}, [Fault.FROM_NOT_ALLOWED, Fault.UNKNOWN_STREAM]),
        ({"stream": "x"}, [Fault.UNKNOWN_STREAM]),
        ({"text": "x" * MOST}, [Fault.MESSAGE_TOO_LARGE]),
    ],
)
def test_what_the_rows_forbid_is_told(
    desk: Desk, examiner: Examiner, change: dict[str, Any], faults: list[Fault]
) -> None:
    found = examiner.examine(request(**change), identity(desk))

    assert [problem.fault for problem in found.problems] == faults
    assert found.message is None


def test_a_key_that_was_revoked_meanwhile_is_told(desk: Desk, examiner: Examiner) -> None:
    with desk.room.store.write() as c:
        c.execute(tables.api_key.update().values(revoked_at=clock.now()))

    found = examiner.examine(request(), identity(desk))

    assert [problem.fault for problem in found.problems] == [Fault.UNAUTHENTICATED]


async def test_a_large_file_is_stored_as_it_was_foreseen(
    desk: Desk, examiner: Examiner, tmp_path: Path
) -> None:
    intake = Intake(
        desk.committer, data_folder=tmp_path, body_folder=desk.room.store.body_folder,
        limits=IntakeLimits(free_bytes=0), new_id=desk.room.new_id, now=clock.now, monotonic=clock.monotonic,
    )  # fmt: skip
    foreseen = examiner.examine(request(), identity(desk)).message

    await intake.take(submission(desk))

    [claimed] = desk.room.claim()
    body = bodies.load(desk.room.store, [claimed.content_id])[claimed.content_id].body
    with desk.room.store.read() as c:
        size = c.execute(select(tables.content.c.size_bytes)).scalar_one()
    encoded = body.partition(b"base64\r\n")[2].partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    assert foreseen is not None
    assert foreseen.size_bytes == size
    assert base64.b64decode(encoded) == LARGE


def submission(desk: Desk) -> Submission:
    return draft.submission_of(
        wire.decode(request()), identity(desk), most_recipients=10, idempotency_key=None, body_sha256=b"",
        now=clock.now(),
    )  # fmt: skip
