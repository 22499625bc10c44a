"""Which messages offer to unsubscribe, by SMTP."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from mailer import clock
from mailer.compose.subscriber import read_token
from mailer.compose.unsubscribe import Links
from mailer.store import Store
from mailer.store.tables import content, message, recipient, stream
from tests.accept.smtp.conftest import SmtpDoor, opened

SECRET = bytes(range(32))
URL = "https://mail.acme.example"
OWN = "List-Unsubscribe: <https://acme.example/u>\r\n"
ONE_CLICK = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
NEWS = "X-Mailer-Stream: news\r\n"
PLACE = "{{unsubscribe_url}}"


@pytest.fixture
async def door(store: Store, tmp_path: Path) -> AsyncIterator[SmtpDoor]:
    async with opened(store, tmp_path, links=Links(URL, [SECRET], by_mail=True)) as door:
        for name, own in (("news", None), ("strict", "refuse")):
            row = {
                "id": door.room.new_id(), "tenant_id": door.room.tenant_id, "name": name, "kind": "broadcast",
                "in_doubt": "retry", "own_unsubscribe": own, "created_at": clock.now(),
            }  # fmt: skip
            with store.write() as c:
                c.execute(stream.insert().values(row))
        yield door


def letter(fields: str, body: str = "hi") -> bytes:
    return f"From: shop@acme.example\r\nTo: ada@example.org\r\n{fields}\r\n{body}\r\n".encode()


@pytest.mark.parametrize(
    ("fields", "unsubscribe"),
    [
        ("", None),
        ("X-Mailer-Unsubscribe: yes\r\n", "link"),
        ("X-Mailer-Unsubscribe: no\r\n", None),
        (NEWS, "link"),
        (NEWS + OWN, None),
        (NEWS + OWN + ONE_CLICK, None),
    ],
)
async def test_broadcast_mail_offers_it_and_other_mail_when_asked(
    door: SmtpDoor, fields: str, unsubscribe: str | None
) -> None:
    await asyncio.to_thread(door.send, letter(fields))

    with door.room.store.read() as c:
        headers, offered = c.execute(
            select(content.c.headers, message.c.unsubscribe).join(
                message, message.c.content_id == content.c.id
            )
        ).one()
    assert offered == unsubscribe
    assert headers.count(b"List-Unsubscribe:") == fields.count("List-Unsubscribe:")
    assert b"X-Mailer-Unsubscribe" not in headers


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (NEWS + ONE_CLICK, "List-Unsubscribe-Post"),
        (OWN + OWN, "List-Unsubscribe"),
        (OWN + ONE_CLICK + ONE_CLICK, "List-Unsubscribe-Post"),
        ("List-Unsubscribe: <mailto:u@acme.example>\r\n" + ONE_CLICK, "List-Unsubscribe-Post"),
        ("X-Mailer-Stream: strict\r\n" + OWN, "List-Unsubscribe"),
        (NEWS + "X-Mailer-Unsubscribe: no\r\n", "broadcast"),
        ("X-Mailer-Unsubscribe: maybe\r\n", "X-Mailer-Unsubscribe"),
    ],
)
async def test_what_receivers_would_not_heed_is_refused(door: SmtpDoor, fields: str, field: str) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        await asyncio.to_thread(door.send, letter(fields))

    assert refused.value.smtp_code == 554
    assert refused.value.smtp_error.startswith(b"5.6.0 ")
    assert field.encode() in refused.value.smtp_error


async def test_a_body_has_its_recipients_url(door: SmtpDoor) -> None:
    await asyncio.to_thread(door.send, letter(NEWS, f"Leave: {PLACE} ."))

    with door.room.store.read() as c:
        body, recipient_id = c.execute(
            select(content.c.body, recipient.c.id)
            .join(message, message.c.content_id == content.c.id)
            .join(recipient, recipient.c.message_id == message.c.id)
        ).one()
    token = body.decode().partition(f"{URL}/u/")[2].partition(" ")[0]
    whom = read_token(token, [SECRET])
    assert whom is not None
    assert (whom.recipient_id, whom.address) == (recipient_id, "ada@example.org")


async def test_a_body_with_a_url_goes_to_one_recipient_a_message(door: SmtpDoor) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        await asyncio.to_thread(door.send, letter(NEWS, PLACE), "ada@example.org", "bob@example.org")
    await asyncio.to_thread(door.send, letter(NEWS, "no place"), "ada@example.org", "bob@example.org")

    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (554, b"5.6.0")
