"""Messages from the tests of other projects, sent raw: taken whole, or refused in words."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from sqlalchemy import select

from mailer.store.tables import content
from tests.accept.http.conftest import Door
from tests.compose.submissions import ODD_MESSAGES

ENVELOPE = {"X-Mailer-Mail-From": "app@acme.example", "X-Mailer-Rcpt-To": "ada@example.org"}
OURS = b"From: Shop <shop@acme.example>\r\n"
_FROM = re.compile(rb"(?im)^from[ \t]*:.*\n(?:[ \t].*\n)*")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_TAKEN_OUT = re.compile(rb"(?i)(bcc|resent-bcc|return-path|x-mailer-.*)")

pytestmark = pytest.mark.skipif(not ODD_MESSAGES, reason="the corpus of odd messages is not on this machine")


def as_ours(letter: bytes) -> bytes:
    """With our author, so that it is judged by all the rest; without one, as it is."""
    end = OURS if b"\r\n" in letter else OURS.replace(b"\r\n", b"\n")
    return _FROM.sub(end, letter, count=1)


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Name in lower case and the rest of each field, folded as it is."""
    texts = re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n"))
    found = [(match[1].lower(), text[match.end() :]) for text in texts if (match := _FIELD.match(text))]
    # Line breaks are all that an empty field may lose; a mailbox file's line in front is no field.
    assert len(found) >= len(texts) - 1
    return found


def kept(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields that shall be sent: all but those taken out, and Date and Message-ID without a value."""
    return [
        (name, value)
        for name, value in fields_of(head)
        if not _TAKEN_OUT.fullmatch(name) and (name not in (b"date", b"message-id") or value.strip())
    ]


async def sent_raw(door: Door, letter: bytes) -> tuple[httpx.Response, float]:
    """The answer, and how many seconds of the processor it took."""
    headers = {"content-type": "message/rfc822", **ENVELOPE}
    began = time.process_time()
    answer = await door.client.post("/v1/messages/raw", content=letter, headers=headers)
    return answer, time.process_time() - began


def stored_whole(door: Door, letter: bytes) -> None:
    """What lies in the database is `letter` but for the documented fields; then it is gone."""
    with door.room.store.write() as c:
        row = c.execute(select(content.c.headers, content.c.body)).one()
        c.execute(content.delete())
    given = letter if b"\r" in letter else letter.replace(b"\n", b"\r\n")
    head, _, body = given.partition(b"\r\n\r\n")
    received, *sent = fields_of(row.headers)
    assert row.body == body
    assert received[0] == b"received"
    assert sent[: len(kept(head))] == kept(head)
    assert {name for name, _ in sent[len(kept(head)) :]} <= {b"date", b"message-id"}


async def test_they_are_taken_whole_or_refused_in_words(door: Door) -> None:
    taken = 0
    for path in ODD_MESSAGES:
        answer, seconds = await sent_raw(door, as_ours(path.read_bytes()))

        assert seconds < 2, path
        assert answer.status_code in {202, 403, 413, 422}, path
        if answer.status_code == 202:
            taken += 1
            stored_whole(door, as_ours(path.read_bytes()))
        else:
            assert answer.json()["detail"], path
    # With lines of both kinds many are refused; were nearly all, this would show little.
    assert taken > len(ODD_MESSAGES) / 2


async def test_as_they_are_none_is_too_much(door: Door) -> None:
    """Nearly all are of authors that nobody here may send as."""
    for path in ODD_MESSAGES:
        answer, seconds = await sent_raw(door, path.read_bytes())

        assert seconds < 2, path
        assert answer.status_code in {403, 413, 422}, path
