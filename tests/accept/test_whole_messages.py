"""A message written by its submitter goes the same way in: its octets are kept, its authors are judged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailer import clock
from mailer.accept.intake import Intake, IntakeLimits
from mailer.accept.submission import Envelope, Fault, Submission, SubmissionError
from mailer.compose import submitted
from mailer.compose.address import parse_mailbox
from mailer.compose.trace import Arrival
from mailer.queue import bodies, read
from tests.accept.conftest import SECRET_HASH, Desk

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
LETTER = (
    b"From: Shop <shop@acme.example>\r\nTo: ada@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 09 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\nBcc: eve@example.org\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9fe  \r\n\r\n"
)


@pytest.fixture
def intake(desk: Desk, tmp_path: Path) -> Intake:
    return Intake(
        desk.committer, data_folder=tmp_path, body_folder=None, limits=IntakeLimits(free_bytes=0),
        new_id=desk.room.new_id, now=clock.now, monotonic=clock.monotonic,
    )  # fmt: skip


def submission(desk: Desk, letter: bytes = LETTER) -> Submission:
    message_id = desk.room.new_id()
    arrival = Arrival(id="msg_1", host="mailer.example", at=NOON, protocol="ESMTPSA")
    return Submission(
        key_id=desk.key_id, secret_hash=SECRET_HASH,
        content=submitted.receive(letter, arrival, is_utf8=False),
        recipients=(Envelope(parse_mailbox("ada@example.org"), "to"),),
        door="smtp", mail_from="app@acme.example", message_id=message_id,
    )  # fmt: skip


async def test_its_octets_are_stored_and_its_id_is_kept(desk: Desk, intake: Intake) -> None:
    given = submission(desk)

    receipt = await intake.take(given)

    view = read.message_of(desk.room.store, desk.room.tenant_id, receipt.message_id)
    [claimed] = desk.room.claim()
    stored = bodies.load(desk.room.store, [claimed.content_id])[claimed.content_id]
    assert view is not None
    assert receipt.message_id == given.message_id == view.id
    assert (view.subject, view.rfc_message_id) == ("Grüße", "<1@acme.example>")
    assert stored.body == b"gr\xc3\xbc\xc3\x9fe  \r\n\r\n"
    assert stored.is_8bit
    assert b"Received: " in stored.headers
    assert b"Bcc" not in stored.headers


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"From: Shop <shop@acme.example>", b"From: shop@acme.example, boss@globex.example"),
        (b"From: Shop <shop@acme.example>", b"From: boss@globex.example"),
        (b"To: ada@example.org", b"Sender: boss@globex.example"),
    ],
)
async def test_every_author_and_sender_must_be_the_tenants(
    desk: Desk, intake: Intake, was: bytes, becomes: bytes
) -> None:
    with pytest.raises(SubmissionError) as caught:
        await intake.take(submission(desk, LETTER.replace(was, becomes)))

    assert caught.value.fault is Fault.FROM_NOT_ALLOWED
    assert desk.room.claim() == []
