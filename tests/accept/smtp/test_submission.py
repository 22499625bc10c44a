"""SMTP submission: what is answered 250 is on disk as it was written, what is refused says why."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from mailer import clock, ids
from mailer.queue import bodies, fanout, read
from mailer.queue.read import MessageView
from mailer.store.tables import stream
from tests.accept.smtp.conftest import LETTER, SmtpDoor, issue
from tests.support.instance import wait_for

NOW = clock.now()


async def off_loop(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The client blocks; the door runs on this loop."""
    return await asyncio.to_thread(work, *arguments, **named)


def view(door: SmtpDoor, words: bytes) -> MessageView:
    message_id = ids.parse("msg", words.split()[-1].decode())
    found = read.message_of(door.room.store, door.room.tenant_id, message_id)
    assert found is not None
    return found


def told(door: SmtpDoor) -> list[str]:
    fanout.fan_out(door.room.store)
    return [e.type for e in read.events(door.room.store, door.room.tenant_id, after=0, limit=100).events]


def send_octets(door: SmtpDoor, octets: bytes) -> tuple[int, bytes]:
    """The reply to the final dot of a content that smtplib would mend."""
    with door.session() as client:
        client.ehlo_or_helo_if_needed()
        client.mail("app@acme.example")
        client.rcpt("ada@example.org")
        client.docmd("DATA")
        client.send(octets + b"\r\n.\r\n")
        return client.getreply()


@pytest.mark.parametrize("line", [b"x" * 999, b"a\0b", b"a\nb", b"a\rb"], ids=["long", "NUL", "LF", "CR"])
async def test_what_is_no_text_is_refused_before_it_is_read(door: SmtpDoor, line: bytes) -> None:
    """By the listener alone: nobody behind it looks again."""
    code, words = await off_loop(send_octets, door, LETTER + line)

    assert (code, words[:5]) == (550, b"5.6.0")
    assert told(door) == []
    assert door.room.claim() == []


async def test_a_letter_is_stored_as_it_was_written(door: SmtpDoor) -> None:
    letter = LETTER.replace(b"hi\r\n", "grüße \r\n.dot\r\n".encode())

    words = await off_loop(door.send, letter)

    [claimed] = door.room.claim()
    stored = bodies.load(door.room.store, [claimed.content_id])[claimed.content_id]
    received, rest = stored.headers.split(b"From:", 1)
    assert words.startswith(b"2.0.0 Accepted as msg_")
    assert view(door, words).rfc_message_id == "<1@acme.example>"
    assert stored.body == "grüße \r\n.dot\r\n".encode()
    assert b"From:" + rest == letter.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert received.startswith(b"Received: ")
    assert b"with ESMTPA" in received
    assert b"127.0.0.1" not in received
    assert stored.is_8bit


async def test_each_recipient_of_the_envelope_gets_one_copy(door: SmtpDoor) -> None:
    words = await off_loop(
        door.send, LETTER, "ada@example.org", "bob@example.net", "ada@example.org", sender=""
    )

    assert sorted(r.address for r in view(door, words).recipients) == ["ada@example.org", "bob@example.net"]


async def test_control_fields_steer_and_are_not_sent(door: SmtpDoor) -> None:
    fields = b"X-Mailer-Tags: order, mail\r\nX-Mailer-Idempotency-Key: k1\r\nBcc: eve@example.org\r\n"

    first = await off_loop(door.send, fields + LETTER)
    again = await off_loop(door.send, fields + LETTER)

    [claimed] = door.room.claim()
    stored = bodies.load(door.room.store, [claimed.content_id])[claimed.content_id]
    assert view(door, first).tags == ["order", "mail"]
    assert first.split()[-1] == again.split()[-1]
    assert b"X-Mailer" not in stored.headers
    assert b"Bcc" not in stored.headers


@pytest.mark.parametrize(
    ("letter", "code", "words"),
    [
        (LETTER.replace(b"acme.example>", b"globex.example>", 1), 550, b"5.7.1 the domain globex.example"),
        (b"X-Mailer-Tgas: a\r\n" + LETTER, 554, b"5.6.0"),
        (b"X-Mailer-Stream: nowhere\r\n" + LETTER, 554, b"5.6.0 this tenant has no stream"),
        (b"X-Mailer-Expires-At: 2020-01-01T00:00:00Z\r\n" + LETTER, 554, b"5.6.0 a message must expire"),
        (b"Received: from a by b; x\r\n" * 51 + LETTER, 554, b"5.4.6"),
        (b"Received: by mailer.example.net with ESMTPSA id msg_0ampwvrh80400; x\r\n" + LETTER, 554, b"5.4.6"),
        (LETTER.replace(b"From: Shop <shop@acme.example>\r\n", b""), 554, b"5.6.0"),
    ],
    ids=["author", "typo", "stream", "expired", "loop", "own id", "nobody"],
)
async def test_a_refusal_says_why_and_leaves_an_event_only(
    door: SmtpDoor, letter: bytes, code: int, words: bytes
) -> None:
    with pytest.raises(smtplib.SMTPDataError) as caught:
        await off_loop(door.send, letter)

    assert caught.value.smtp_code == code
    assert isinstance(caught.value.smtp_error, bytes)
    assert caught.value.smtp_error.startswith(words)
    assert door.room.claim() == []
    # It is written with the next group, which may be after the reply.
    assert await off_loop(wait_for, "the event", lambda: told(door), within_seconds=10) == ["rejected"]


@pytest.mark.parametrize(
    ("letter", "fault"),
    [
        (b"X-Mailer-Tgas: a\r\n" + LETTER, "malformed-message"),
        (LETTER.replace(b"From: Shop <shop@acme.example>\r\n", b""), "malformed-message"),
        (b"Received: from a by b; x\r\n" * 51 + LETTER, "malformed-message"),
        (b"X-Mailer-Expires-At: 2020-01-01T00:00:00Z\r\n" + LETTER, "invalid-field"),
    ],
    ids=["typo", "nobody", "loop", "expired"],
)
async def test_the_event_has_the_word_that_http_has(door: SmtpDoor, letter: bytes, fault: str) -> None:
    with pytest.raises(smtplib.SMTPDataError):
        await off_loop(door.send, letter)
    await off_loop(wait_for, "the event", lambda: told(door), within_seconds=10)

    [rejected] = read.events(door.room.store, door.room.tenant_id, after=0, limit=100).events
    assert rejected.data["fault"] == fault


async def test_nobody_sends_without_a_key(door: SmtpDoor) -> None:
    def stranger() -> tuple[int, bytes]:
        with smtplib.SMTP("127.0.0.1", door.port, timeout=10) as client:
            client.ehlo()
            return client.mail("app@acme.example")

    assert (await off_loop(stranger))[0] == 530


async def test_a_wrong_key_is_refused_and_costs_time(door: SmtpDoor) -> None:
    wrong = door.key[:-1] + ("0" if door.key[-1] != "0" else "1")

    def guess() -> int:
        with (
            smtplib.SMTP("127.0.0.1", door.port, timeout=10) as client,
            pytest.raises(smtplib.SMTPAuthenticationError) as caught,
        ):
            client.login("any", wrong)
        return caught.value.smtp_code

    assert await off_loop(guess) == 535


async def test_a_key_that_may_only_read_sends_nothing(door: SmtpDoor) -> None:
    reader = issue(door.room, scopes=("read",))

    def attempt() -> tuple[int, bytes]:
        with door.session(reader) as client:
            return client.mail("app@acme.example")

    code, words = await off_loop(attempt)
    assert (code, words[:5]) == (550, b"5.7.1")


@pytest.mark.parametrize(
    ("make", "named", "code", "words"),
    [
        ({"state": "active"}, b"transactional", 550, b"5.7.1 this API key may send to the streams news only"),
        ({"state": "active"}, b"news", 250, b"2.0.0 Accepted"),
        ({"state": "archived"}, b"news", 554, b"5.6.0 the stream news is archived"),
    ],
    ids=["limited", "allowed", "archived"],
)
async def test_limits_of_a_key_and_archived_streams_hold_by_smtp_too(
    door: SmtpDoor, make: dict[str, str], named: bytes, code: int, words: bytes
) -> None:
    row = {"id": door.room.new_id(), "tenant_id": door.room.tenant_id, "name": "news", **make}
    with door.room.store.write() as c:
        c.execute(stream.insert().values(row | {"kind": "broadcast", "in_doubt": "retry", "created_at": NOW}))
    limited = issue(door.room, streams=("news",))

    def attempt() -> tuple[int, bytes]:
        with door.session(limited) as client:
            client.mail("app@acme.example")
            client.rcpt("ada@example.org")
            return client.data(b"X-Mailer-Stream: " + named + b"\r\n" + LETTER)

    answer = await off_loop(attempt)
    events = await off_loop(wait_for, "the event", lambda: told(door), within_seconds=5)
    assert answer[0] == code
    assert answer[1].startswith(words)
    assert events == (["accepted"] if code == 250 else ["rejected"])


async def test_an_address_literal_is_nobody_we_deliver_to(door: SmtpDoor) -> None:
    def attempt() -> tuple[int, bytes]:
        with door.session() as client:
            client.mail("app@acme.example")
            return client.rcpt("ada@[192.0.2.1]")

    assert (await off_loop(attempt))[0] == 553


async def test_when_too_much_is_being_received_it_is_put_off(door: SmtpDoor) -> None:
    with door.budget.hold() as hold:
        hold.grow_to(512 * 1024)
        with pytest.raises(smtplib.SMTPDataError) as caught:
            await off_loop(door.send)

    words = await off_loop(door.send)
    assert caught.value.smtp_code == 452
    assert words.startswith(b"2.0.0")
