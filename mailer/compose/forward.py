"""A mail for postmaster or abuse as the operator gets it: attached as it came, under a header of ours.

Attached and not redirected: From is ours and signed, so that no policy of the stranger's domain (RFC 7489)
keeps it from the operator, and nothing in it can steer a program that reads our header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mailer.compose import fields
from mailer.compose.address import Mailbox
from mailer.compose.mime import Composed

PASSED_ON = "X-Mailer-Passed-On"  # whose host did so; a mail that bears it is not passed on again
_SUBJECT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What stands around the mail.

    facts    of how it came, for people; printable
    subject  of the mail, as it stood there
    host     our own name, in the mark
    """

    from_: Mailbox
    to: Mailbox
    subject: str
    host: str
    facts: Mapping[str, str]


def compose(content: bytes, cover: Cover, *, message_id: str, date: datetime, boundary: str) -> Composed:
    """content: CRLF lines, possibly 8-bit. message_id: with its angle brackets. boundary: fresh."""
    shown = "".join(c if c.isprintable() else " " for c in cover.subject)[:_SUBJECT_CHARS].strip()
    header = "".join(
        (
            fields.address_field("From", [cover.from_]),
            fields.address_field("To", [cover.to]),
            fields.text_field("Subject", f"Fwd: {shown}" if shown else "Fwd: mail without a subject"),
            "Auto-Submitted: auto-generated\r\n",  # RFC 3834 §5
            f"{PASSED_ON}: {cover.host}\r\n",
            f"Date: {fields.date_text(date)}\r\nMessage-ID: {message_id}\r\nMIME-Version: 1.0\r\n",
            f'Content-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n',
        )
    )
    told = "".join(f"{name}: {value}\r\n" for name, value in cover.facts.items()).encode("utf-8", "replace")
    delimiter = b"--" + boundary.encode("ascii")
    body = b"".join(
        (
            *_part(delimiter, b"text/plain; charset=utf-8", told),
            *_part(delimiter, b"message/rfc822", content),
            delimiter,
            b"--\r\n",
        )
    )
    return Composed(header.encode(), body, needs_utf8=not header.isascii())


def _part(delimiter: bytes, media_type: bytes, content: bytes) -> tuple[bytes, ...]:
    """Never encoded: RFC 2046 §5.2.1 allows no more of a message/rfc822."""
    encoding = b"7bit" if content.isascii() else b"8bit"
    head = b"\r\nContent-Type: " + media_type + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    return delimiter, head, content, b"\r\n"  # which belongs to the next delimiter (RFC 2046 §5.1.1)
