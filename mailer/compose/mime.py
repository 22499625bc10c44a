"""A draft becomes a message: header fields and a 7-bit body (RFC 5322 §2.1, RFC 2045, RFC 2046 §5.1.4).

Text is sent in one of three encodings: as it is where its lines are short and ASCII, quoted-printable, or
base64 where quoted-printable would be longer. All three decode to the same text: every
line ended, the last one too, since mail carries whole lines (RFC 5321 §2.3.8).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.compose import fields, headers
from mailer.compose.address import Mailbox

_LINE_OCTETS = 78  # RFC 5322 §2.1.1: what a line of text should not pass, so that nobody rewraps it
_BOUNDARY = re.compile(
    r"[A-Za-z0-9'()+_,./:=?-]{1,60}"
)  # RFC 2046 §5.1.1, no space, short enough for its line
_LINE_BREAK = re.compile(r"\r\n?")
_CONTROLS = bytes(o for o in range(32) if o not in b"\t\n") + b"\x7f"
_HIGH = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class Draft:
    """What the submitter wants said. Lists may be empty; Bcc recipients are in the envelope alone.

    subject  without line breaks; "" is written as an empty field
    text     None: no plain text part. Any of CRLF, CR, LF ends a line
    html     None: no HTML part. Neither part: a message with an empty body
    headers  further fields in order, each as `headers.check_custom_header` takes it
    """

    from_: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """A message without its per-recipient fields: prefix + headers + CRLF + body is what is signed.

    headers     lines ending in CRLF, without the empty line after them; ASCII unless needs_utf8
    body        lines ending in CRLF, 7-bit, or empty
    needs_utf8  an address in the header fields has no ASCII form (RFC 6532 §3.2)
    """

    headers: bytes
    body: bytes
    needs_utf8: bool


@dataclass(frozen=True, slots=True)
class _Entity:
    """A body with the fields that say what it is (RFC 2045 §2.4). head: lines ending in CRLF."""

    head: str
    body: bytes


def compose(draft: Draft, *, message_id: str, date: datetime, boundary: str) -> Composed:
    """The message of `draft`; the same bytes for the same arguments.

    message_id  with its angle brackets (RFC 5322 §3.6.4)
    date        aware
    boundary    of the multipart; unlike any line of the message: give it a fresh id

    Raises HeaderError for a subject or field that cannot be one.
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("the boundary is not 1 to 60 of the characters that RFC 2046 §5.1.1 allows")
    entity = _content(draft, boundary)
    head = _header_fields(draft, message_id, date) + entity.head
    return Composed(head.encode(), entity.body, needs_utf8=not head.isascii())


def quoted_printable(content: bytes) -> bytes:
    """RFC 2045 §6.7; lines of at most 76. `content` ends its lines in LF, the result in CRLF."""
    quoted = binascii.b2a_qp(content, istext=True)
    if _has_from_line(quoted):
        quoted = (b"\n" + quoted).replace(b"\nFrom ", b"\n=46rom=\n ")[1:]
    return quoted.replace(b"\n", b"\r\n")


def _header_fields(draft: Draft, message_id: str, date: datetime) -> str:
    headers.check_field_text(draft.subject, "the subject")
    headers.check_custom_headers(draft.headers)
    lines = [fields.address_field("From", [draft.from_])]
    if draft.to:
        lines.append(fields.address_field("To", draft.to))
    elif not draft.cc:
        # An empty group (RFC 5322 §3.4): filters take a message without any destination field for spam.
        lines.append("To: undisclosed-recipients:;\r\n")
    if draft.cc:
        lines.append(fields.address_field("Cc", draft.cc))
    if draft.reply_to:
        lines.append(fields.address_field("Reply-To", draft.reply_to))
    lines.append(fields.text_field("Subject", draft.subject))
    lines.append(f"Date: {fields.date_text(date)}\r\nMessage-ID: {message_id}\r\n")
    lines += [headers.custom_field(name, value) for name, value in draft.headers]
    lines.append("MIME-Version: 1.0\r\n")
    return "".join(lines)


def _content(draft: Draft, boundary: str) -> _Entity:
    if draft.html is None:
        return _text_entity("plain", draft.text or "", boundary)
    html = _text_entity("html", draft.html, boundary)
    if draft.text is None:
        return html
    # RFC 2046 §5.1.4: the best alternative comes last.
    return _multipart("alternative", (_text_entity("plain", draft.text, boundary), html), boundary)


def _multipart(subtype: str, parts: Sequence[_Entity], boundary: str) -> _Entity:
    """`parts` under one roof; no part holds the delimiter (see `_encoded`)."""
    delimiter = b"--" + boundary.encode("ascii")
    pieces = []
    for part in parts:
        # The CRLF before a delimiter belongs to it, not to the part (RFC 2046 §5.1.1).
        pieces += [delimiter, b"\r\n", part.head.encode("ascii"), b"\r\n", part.body, b"\r\n"]
    content_type = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n'
    return _Entity(content_type, b"".join((*pieces, delimiter, b"--\r\n")))


def _text_entity(subtype: str, text: str, boundary: str) -> _Entity:
    encoding, body = _encoded(_lines(text), b"--" + boundary.encode("ascii"))
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return _Entity(head, body)


def _lines(text: str) -> bytes:
    """UTF-8, lines ended by LF, the last one too. A lone surrogate, which is no character, becomes "?"."""
    if "\r" in text:
        text = _LINE_BREAK.sub("\n", text)
    if text and not text.endswith("\n"):
        text += "\n"
    return text.encode("utf-8", "replace")


def _encoded(content: bytes, delimiter: bytes) -> tuple[str, bytes]:
    """The transfer encoding (RFC 2045 §6) and `content` in it, lines ending in CRLF, without `delimiter`."""
    if _is_short_ascii(content) and delimiter not in content and not _has_from_line(content):
        return "7bit", content.replace(b"\n", b"\r\n")
    high = len(content) - len(content.translate(None, _HIGH))
    # Three octets for each above 127 in quoted-printable, four for any three in base64.
    if high * 6 <= len(content):
        quoted = quoted_printable(content)
        if delimiter not in quoted:
            return "quoted-printable", quoted
    return "base64", _base64(content)


def _is_short_ascii(content: bytes) -> bool:
    return (
        content.isascii()
        and len(content.translate(None, _CONTROLS)) == len(content)
        and max(map(len, content.split(b"\n"))) <= _LINE_OCTETS
    )


def _has_from_line(content: bytes) -> bool:
    """Mail stores put ">" before "From " at the start of a line, and break the signature (RFC 4155)."""
    return b"\nFrom " in content or content.startswith(b"From ")


def _base64(content: bytes) -> bytes:
    """RFC 2045 §6.8: of the canonical form, whose lines end in CRLF (RFC 2049 §4)."""
    return base64.encodebytes(content.replace(b"\n", b"\r\n")).replace(b"\n", b"\r\n")
