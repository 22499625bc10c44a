"""Our signatures over mail that others wrote, as other people's verifiers judge them (RFC 6376 §3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailer.compose.dkim import SIGNED_FIELDS, Algorithm, Letter, SigningKey, body_hash, sign
from mailer.compose.downgrade import CannotDowngrade, to_7bit
from mailer.compose.headers import per_recipient_prefix
from mailer.compose.malformed import MalformedMessage
from mailer.compose.submitted import FIELD_OCTETS, REPEATS, receive
from mailer.compose.verp import make_token
from tests.compose.submissions import ARRIVAL, ODD_MESSAGES, WHOLE, read_message, taken
from tests.compose.verifiers import OpenDkim, dkimpy_verdicts, record

AT = datetime(2025, 11, 22, 9, 5, 3, tzinfo=UTC)  # verifiers refuse a t= in the future
KEYS = (
    SigningKey("r2026", Algorithm.RSA, rsa.generate_private_key(65537, 2048)),
    SigningKey("e2026", Algorithm.ED25519, ed25519.Ed25519PrivateKey.generate()),
)
RECORDS = {f"{key.selector}._domainkey.b.example": record(key) for key in KEYS}


@pytest.fixture(scope="module")
def opendkim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDkim]:
    verifier = OpenDkim(RECORDS, tmp_path_factory.mktemp("dkim"))
    yield verifier
    verifier.close()


def arrives(headers: bytes, body: bytes) -> bytes:
    """The signed copy of one recipient, as SMTP carries it: its last line ended (RFC 5321 §4.1.1.4)."""
    block = per_recipient_prefix(make_token(7, bytes(32))) + headers
    [signatures] = sign([Letter(block, body_hash(body), domain="b.example", keys=KEYS, at=AT)])
    message = signatures + block + b"\r\n" + body
    return message if message.endswith(b"\r\n") else message + b"\r\n"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b""),
        (b"", b"\r\n\r\n"),
        (b"", b"no end"),
        (b"", b"white space at the end \t"),
        (b"", b" \r\n\t\r\n"),
        (b"", b"\r\n\r\n \t a  \t b\t\r\n.\r\n..\r\n \r\n\r\n"),
        (b"", b"8-bit \xc3\xbc \xff \x85\xa0\r\n\x85\r\n\x0b\r\n\x0c \r\n\x1c\r\n"),
        (b"Subject:\r\n\tfolded\t\r\n\t\ttwice \r\n", b"Hi\r\n"),
        (b"Subject \t:\t x  y\t z \t\r\nTO :\tx\r\n", b"Hi\r\n"),
        (b"Subject:\r\nTo: \r\nCc: \t\r\n", b"Hi\r\n"),
        (b"To: 1\r\nX: y\r\nTo: 2\r\nCc: 3\r\nTo: 4\r\nDate: 5\r\nMessage-ID: 6\r\n", b"Hi\r\n"),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe \xff\xfe \x85\xa0\r\nTo: \xa0\r\n", b"Hi\r\n"),
        (b"Subject: \x01a\x1b$B\x7f\x1c\x1f\r\n", b"Hi\r\n"),
        (b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=x; h=from; bh=x; b=x\r\n", b"Hi\r\n"),
        (b"To: " + b",\r\n ".join([b"y" * 70] * (FIELD_OCTETS // 74 - 1)) + b"\r\n", b"Hi\r\n"),
        (b"Comments: x\r\n" * 1000, b"Hi\r\n"),
    ],
)
def test_both_signatures_of_a_submitted_message_verify(
    opendkim: OpenDkim, header: bytes, body: bytes
) -> None:
    found = taken(WHOLE + header, body)
    message = arrives(found.headers, found.body)

    assert opendkim.verdicts(message)[:2] == [True, True]
    assert dkimpy_verdicts(message, RECORDS)[:2] == [True, True]


def test_every_signed_field_may_repeat_as_often_as_it_is_taken(opendkim: OpenDkim) -> None:
    """Verifiers have a limit for the h= tag."""
    once = {
        b"from", b"date", b"message-id", b"x-mailer-ref", b"list-unsubscribe", b"list-unsubscribe-post",
    }  # fmt: skip
    repeated = [name + b": x\r\n" for name in SIGNED_FIELDS if name not in once]
    spared = b"From: a@b.example\r\n" + b"Date: x\r\nMessage-ID: x\r\n" * REPEATS
    found = taken(spared + b"".join(repeated) * REPEATS)
    message = arrives(found.headers, found.body)

    assert opendkim.verdicts(message) == [True, True]
    assert dkimpy_verdicts(message, RECORDS) == [True, True]


@pytest.mark.parametrize("path", ODD_MESSAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_signatures_of_an_odd_message_verify(opendkim: OpenDkim, path: Path) -> None:
    try:
        found = receive(read_message(path), ARRIVAL, is_utf8=False)
    except MalformedMessage:
        return
    message = arrives(found.headers, found.body)
    in_7bit = arrives(*_in_7bit(found.headers, found.body))

    assert opendkim.verdicts(message)[:2] == dkimpy_verdicts(message, RECORDS)[:2] == [True, True]
    assert opendkim.verdicts(in_7bit)[:2] == dkimpy_verdicts(in_7bit, RECORDS)[:2] == [True, True]


def _in_7bit(headers: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Or as they are."""
    try:
        return to_7bit(headers, body)
    except CannotDowngrade:
        return headers, body
