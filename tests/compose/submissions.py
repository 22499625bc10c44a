"""Messages as submitters hand them in, and how they reached us."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from mailer.compose.submitted import Submitted, receive
from mailer.compose.trace import Arrival

AT = datetime(2026, 1, 31, 9, 5, 3, tzinfo=UTC)
ARRIVAL = Arrival(
    id="msg_0123456789abc",
    host="mx.mailer.example",
    at=AT,
    protocol="ESMTPSA",
    client_name="app.lan",
    client_address="192.0.2.7",
)
RECEIVED = (
    b"Received: from app.lan ([192.0.2.7])\r\n"
    b"\tby mx.mailer.example with ESMTPSA id msg_0123456789abc; Sat, 31 Jan 2026 09:05:03 +0000\r\n"
)
DATE = b"Date: Fri, 30 Jan 2026 09:05:03 +0000\r\n"
ID = b"Message-ID: <1@b.example>\r\n"
FROM = b"From: a@b.example\r\n"
WHOLE = FROM + DATE + ID
# Messages from the tests of other projects, where they stand beside this checkout: not ours to copy.
_CORPUS = Path(os.environ.get("MIME_CORPUS", Path(__file__).parents[2] / "../shared/corpora/mime"))
ODD_MESSAGES = sorted(p for p in _CORPUS.rglob("*") if p.suffix in {".eml", ".msg", ".raw", ".txt"})


def taken(header: bytes, body: bytes = b"Hi\r\n", *, is_utf8: bool = False) -> Submitted:
    return receive(header + b"\r\n" + body, ARRIVAL, is_utf8=is_utf8)


def sent(header: bytes) -> bytes:
    """The header block below our Received field."""
    headers = taken(header).headers
    assert headers.startswith(RECEIVED)
    return headers.removeprefix(RECEIVED)


def read_message(path: Path) -> bytes:
    """With CRLF lines, as the doors have them."""
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
