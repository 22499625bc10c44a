"""A DSN: the report of one message to whoever submitted it (RFC 3464 §2, RFC 6522 §3).

Three parts: for people, for programs, and what is returned of the message. All in 7 bits, since a DSN that
fails is lost (RFC 5321 §6.1): UTF-8 that has no other form is encoded, although RFC 6533 §6 would rather have
it in 8 bits.

The message itself is returned only if its submitter said RET=FULL, of a failure, up to FULL_OCTETS: RFC 3461
§4.3 leaves open what holds when nothing was said, and programs read no more than the header.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime

from mailer.compose import deliverystatus, downgrade, fields, mime
from mailer.compose.address import Mailbox
from mailer.compose.deliverystatus import Reported, Status
from mailer.compose.downgrade import CannotDowngrade
from mailer.compose.mime import Composed
from mailer.events import NoticeKind

FULL_OCTETS = 128 * 1024  # RFC 3461 §6.2: over some size the header may do

_LINE_OCTETS = 78
_SUBJECT_CHARS = 200
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_INDENT = "    "

_SUBJECTS = {
    NoticeKind.FAILED: "Not delivered",
    NoticeKind.DELAYED: "Delayed",
    NoticeKind.RELAYED: "Relayed",
}
_OPENINGS = {
    NoticeKind.FAILED: "Your message could not be delivered to:",
    NoticeKind.DELAYED: (
        "Your message could not yet be delivered to the recipients below.\n"
        "You need not send it again: it is tried further."
    ),
    NoticeKind.RELAYED: (
        "Your message was handed to the next mail system for the recipients below.\n"
        "That one sends no confirmations, so this is the last you hear if all goes well."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message that is reported on.

    headers      CRLF lines, without the empty line
    body         None: only the header is returned
    needs_utf8   its header can only be sent with SMTPUTF8
    message_id   as its header has it
    """

    headers: bytes
    body: bytes | None
    needs_utf8: bool
    subject: str
    message_id: str


@dataclass(frozen=True, slots=True)
class _Part:
    """media_type: with parameters. content: in that transfer encoding, CRLF lines."""

    media_type: str
    encoding: str
    content: bytes


def compose(
    status: Status,
    original: Original,
    *,
    from_: Mailbox,
    to: Mailbox,
    message_id: str,
    date: datetime,
    boundary: str,
) -> Composed:
    """The DSN from the operator to the submitter; the same bytes for the same arguments.

    message_id  with its angle brackets;  boundary: fresh, so that nobody can have written it before
    """
    delimiter = b"--" + boundary.encode("ascii")
    parts = (_for_people(status, original), _for_programs(status), _returned(original, delimiter))
    pieces: list[bytes] = []
    for part in parts:
        head = f"Content-Type: {part.media_type}\r\nContent-Transfer-Encoding: {part.encoding}\r\n\r\n"
        pieces += [delimiter, b"\r\n", head.encode("ascii"), part.content, b"\r\n"]
    header = _header(status, original, from_, to) + (
        f"Date: {fields.date_text(date)}\r\nMessage-ID: {message_id}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n'
    )
    return Composed(
        header.encode(), b"".join((*pieces, delimiter, b"--\r\n")), needs_utf8=not header.isascii()
    )


def subject(kind: NoticeKind, about: str) -> str:
    """Of a DSN of this kind, about a message with that subject; one printable line."""
    shown = _one_line(about)[:_SUBJECT_CHARS].strip()
    return f"{_SUBJECTS[kind]}: {shown}" if shown else _SUBJECTS[kind]


def _header(status: Status, original: Original, from_: Mailbox, to: Mailbox) -> str:
    lines = [
        fields.address_field("From", [from_]),
        fields.address_field("To", [to]),
        fields.text_field("Subject", subject(status.kind, original.subject)),
        "Auto-Submitted: auto-replied\r\n",  # RFC 3834 §5
    ]
    if _MESSAGE_ID.fullmatch(original.message_id):
        # RFC 3834 §3.1.6
        lines += [
            fields.structured_field(name, original.message_id) for name in ("In-Reply-To", "References")
        ]
    return "".join(lines)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


# ---- the parts ---------------------------------------------------------------------------------------------


def _for_people(status: Status, original: Original) -> _Part:
    paragraphs = [
        f"This is the mail system of {status.reporting_mta}.",
        _OPENINGS[status.kind],
        *[_paragraph(r) for r in status.recipients],
        "Your message:",
        "\n".join(
            [
                f"{_INDENT}Subject:    {_one_line(original.subject)}",
                f"{_INDENT}Message-ID: {_one_line(original.message_id)}",
                f"{_INDENT}Accepted:   {fields.date_text(status.arrived_at)}",
            ]
        ),
    ]
    return _text("text/plain; charset=utf-8", "\n\n".join(paragraphs).encode("utf-8", "replace") + b"\n")


def _paragraph(r: Reported) -> str:
    lines = [r.address]
    if r.diagnostic:
        who = f"{r.remote_mta} said: " if r.is_reply and r.remote_mta else ""
        lines.append(f"{_INDENT}{who}{r.diagnostic}")
    if r.has_expired:
        lines.append(f"{_INDENT}Its time was over before it could be delivered.")
    if r.in_doubt:
        lines.append(f"{_INDENT}It may have arrived all the same: the answer to one attempt was not heard.")
    if r.retry_until is not None:
        lines.append(f"{_INDENT}It is tried until {fields.date_text(r.retry_until)}.")
    return "\n".join(lines)


def _for_programs(status: Status) -> _Part:
    text = deliverystatus.written(status).encode()
    if status.needs_utf8:
        return _Part("message/global-delivery-status", "base64", _base64(text))
    return _Part("message/delivery-status", "7bit", text)


def _returned(original: Original, delimiter: bytes) -> _Part:
    """The message or its header (RFC 6522 §3, §4; RFC 6533 §6)."""
    if original.body is not None and len(original.headers) + len(original.body) <= FULL_OCTETS:
        whole = _whole(original, original.body)
        if whole is not None and delimiter not in whole.content:
            return whole
    headers = original.headers
    if original.needs_utf8:
        return _Part("message/global-headers", "base64", _base64(headers))
    if headers.isascii() and delimiter not in headers:
        return _Part("text/rfc822-headers", "7bit", headers)
    charset = "utf-8" if _is_utf8(headers) else "unknown-8bit"  # RFC 1428 §3
    return _Part(f"text/rfc822-headers; charset={charset}", "base64", _base64(headers))


def _whole(original: Original, body: bytes) -> _Part | None:
    """None where it has no 7-bit form: an enclosed message may not be encoded (RFC 2046 §5.2.1)."""
    headers = original.headers
    if original.needs_utf8:
        return _Part("message/global", "base64", _base64(headers + b"\r\n" + body))
    try:
        headers, body = downgrade.to_7bit(headers, body)
    except CannotDowngrade:
        return None
    return _Part("message/rfc822", "7bit", headers + b"\r\n" + body)


def _text(media_type: str, content: bytes) -> _Part:
    """content: LF lines."""
    if content.isascii() and max(map(len, content.split(b"\n"))) <= _LINE_OCTETS:
        return _Part(media_type, "7bit", content.replace(b"\n", b"\r\n"))
    return _Part(media_type, "quoted-printable", mime.quoted_printable(content))


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
