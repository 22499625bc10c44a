"""No text that a request carries leaves as the end of a message, or as a line of an SMTP dialogue.

Every sequence that some server has taken for "end of data" is put into every member of a request that holds
text, and into whole messages. What is accepted is looked at as it would go on the wire.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mailer.queue import bodies
from mailer.relay.carrier import Consignment
from mailer.relay.smtp.content import Wire
from mailer.store.tables import content
from tests.accept.http.conftest import LETTER, Door

COMMANDS = "MAIL FROM:<a@evil.example>\r\nRCPT TO:<b@evil.example>\r\nDATA\r\n"
# Left and right of the dot, after the work of SEC Consult (2023) and what was found since.
ENDS = ["\r\n", "\n", "\r", "\r\r\n", "\n\n", "\r\0\n", "\0\r\n", "\u2028", "\x85", "\x0b", "\x0c", "\x1e"]
SEQUENCES = [f"x{left}.{right}{COMMANDS}" for left in ENDS for right in ENDS] + [
    ".\r\n" + COMMANDS,
    "\r\n.\r\n",
]
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
LETTER_HEAD = b"From: shop@acme.example\r\nTo: ada@example.org\r\n"

Placed = Callable[[str], dict[str, Any]]
PLACES: dict[str, Placed] = {
    "text": lambda s: {"text": s},
    "html": lambda s: {"html": s},
    "subject": lambda s: {"subject": s},
    "header value": lambda s: {"headers": {"X-Order": s}},
    "header name": lambda s: {"headers": {s[:50]: "4711"}},
    "from": lambda s: {"from": f"{s} <shop@acme.example>"},
    "name": lambda s: {"from": {"address": "shop@acme.example", "name": s}},
    "to": lambda s: {"to": f"{s}@example.org"},
    "reply_to": lambda s: {"reply_to": f'"{s}"@example.org'},
    "file name": lambda s: {"attachments": [{"filename": s, "content": "YQ=="}]},
    "content type": lambda s: {"attachments": [{"filename": "a", "content": "YQ==", "content_type": s}]},
    "parameter": lambda s: {
        "attachments": [{"filename": "a", "content": "YQ==", "content_type": f'a/b; c="{s}"'[:255]}]
    },
    "content id": lambda s: {"attachments": [{"filename": "a", "content": "YQ==", "content_id": s[:200]}]},
    "file": lambda s: {"attachments": [{"filename": "a", "content": base64.b64encode(s.encode()).decode()}]},
    "message": lambda s: {
        "attachments": [
            {"filename": "a.eml", "content": base64.b64encode(LETTER_HEAD + b"\r\n" + s.encode()).decode()}
        ]
    },
}  # fmt: skip
MUST_BE_TAKEN = {"text", "html", "file", "message"}


def on_the_wire(door: Door) -> list[bytes]:
    """The content of every message that was accepted, stuffed, with the final dot; then they are gone."""
    with door.room.store.write() as c:
        ids = c.execute(select(content.c.id)).scalars().all()
    loaded = bodies.load(door.room.store, ids)
    with door.room.store.write() as c:
        c.execute(content.delete())
    whole = [one.headers + b"\r\n" + one.body for one in loaded.values()]
    return [Wire.of(_consignment(octets)).content for octets in whole]


def _consignment(octets: bytes) -> Consignment:
    return Consignment(
        attempt_id=1, recipient_id=1, domain="example.org", reverse_path="",
        forward_path="ada@example.org", content=octets,
    )  # fmt: skip


def assert_one_message(octets: bytes) -> None:
    """There is one end of data in it, and it is the end; no other line than that is a dot alone."""
    assert BARE.search(octets) is None
    assert octets.endswith(b"\r\n.\r\n")
    assert octets.count(b"\r\n.\r\n") == 1
    assert not octets.startswith(b".\r\n")


@pytest.mark.parametrize("place", PLACES)
async def test_nothing_is_smuggled_through_json(door: Door, place: str) -> None:
    answers = [await door.send({**LETTER, **PLACES[place](sequence)}) for sequence in SEQUENCES]
    sent = on_the_wire(door)

    assert {answer.status_code for answer in answers} <= {202, 422}
    assert len(sent) == sum(answer.status_code == 202 for answer in answers)
    assert place not in MUST_BE_TAKEN or len(sent) == len(SEQUENCES)
    for octets in sent:
        assert_one_message(octets)
        # In a header field the commands would have to stand on a line of their own.
        head = octets.partition(b"\r\n\r\n")[0]
        assert not re.search(rb"(?m)^(MAIL FROM|RCPT TO|DATA)", head)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("in_header", [False, True])
async def test_nothing_is_smuggled_in_a_whole_message(door: Door, as_json: bool, in_header: bool) -> None:
    """Kept octet for octet, so refused but for the sequence that stuffing is for (RFC 5321 §4.5.2)."""
    answers = []
    for sequence in SEQUENCES:
        field = b"Subject: " + sequence.encode() + b"\r\n" if in_header else b""
        letter = LETTER_HEAD + field + b"\r\n" + (b"" if in_header else sequence.encode()) + b"\r\n"
        if as_json:
            body = json.dumps({"message": base64.b64encode(letter).decode()}).encode()
            media_type = "application/json"
        else:
            body, media_type = letter, "message/rfc822"
        headers = {"content-type": media_type}
        answers.append(await door.client.post("/v1/messages/raw", content=body, headers=headers))
    sent = on_the_wire(door)

    assert {answer.status_code for answer in answers} <= {202, 422}
    assert in_header or sent
    assert len(sent) == sum(answer.status_code == 202 for answer in answers)
    for octets in sent:
        assert_one_message(octets)
