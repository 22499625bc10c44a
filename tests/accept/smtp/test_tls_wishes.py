"""What a submitter wants of TLS on the way on is kept with the message (RFC 8689)."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailer.queue import bodies
from mailer.store import Store
from tests.accept.smtp.conftest import LETTER, SmtpDoor, opened
from tests.support.certificates import server_context

NO = b"TLS-Required: No\r\n"


@pytest.fixture
async def door(store: Store, tmp_path: Path) -> AsyncIterator[SmtpDoor]:
    async with opened(store, tmp_path, tls=server_context(tmp_path)) as door:
        yield door


def send(door: SmtpDoor, letter: bytes, *options: str) -> tuple[int, bytes]:
    """Over TLS; the answer to MAIL if that is a refusal, else to the final dot."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", door.port, timeout=10) as client:
        client.starttls(context=anybody)
        client.login("any", door.key)
        code, words = client.mail("app@acme.example", options)
        if code != 250:
            return code, words
        client.rcpt("ada@example.org")
        return client.data(letter)


@pytest.mark.parametrize(
    ("header", "options", "kept"),
    [
        (b"", (), None),
        (b"X-Mailer-TLS: encrypted\r\n", (), "encrypted"),
        (b"X-Mailer-TLS: requiretls\r\n", (), "requiretls"),
        (NO, (), "optional"),
        (b"TLS-Required: yes\r\n", (), None),
        (NO + NO, (), None),
        (NO, ("REQUIRETLS",), "requiretls"),  # RFC 8689 §5: the field is ignored then
        (b"", ("REQUIRETLS",), "requiretls"),
        (b"X-Mailer-TLS: required\r\n" + NO, (), "required"),
    ],
)
async def test_a_wish_is_kept(
    door: SmtpDoor, header: bytes, options: tuple[str, ...], kept: str | None
) -> None:
    code, _ = await asyncio.to_thread(send, door, header + LETTER, *options)

    [claimed] = door.room.claim()
    stored = bodies.load(door.room.store, [claimed.content_id])[claimed.content_id]
    assert (code, claimed.tls, claimed.stream_tls) == (250, kept, None)
    assert (NO in stored.headers) == (NO in header)  # the hosts behind the next one read it, too


async def test_what_is_no_wish_is_refused(door: SmtpDoor) -> None:
    code, words = await asyncio.to_thread(send, door, b"X-Mailer-TLS: always\r\n" + LETTER)

    assert code == 554
    assert b"X-Mailer-TLS is one of encrypted, required, requiretls" in words
