"""A draft becomes a message: header fields and a 7-bit body (RFC 5322 §2.1, RFC 2045, RFC 2046 §5.1.4).

Text is sent in one of three encodings: as it is where its lines are short and ASCII, quoted-printable, or
base64 where quoted-printable would be longer. All three decode to the same text: every
line ended, the last one too, since mail carries whole lines (RFC 5321 §2.3.8).

Parts nest as readers expect: mixed (all files) of alternative (plain text, or what follows) of related (HTML
with the files that it shows; RFC 2387 §3). A level with one part only is left out.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime

import msgspec

from mailer.compose import attachments, fields, headers
from mailer.compose.address import Mailbox
from mailer.compose.attachments import Attachment, AttachmentError
from mailer.compose.entity import Entity, Leaf, Multipart

_LINE_OCTETS = 78  # RFC 5322 §2.1.1: what a line of text should not pass, so that nobody rewraps it
_BOUNDARY = re.compile(
    r"[A-Za-z0-9'()+_,./:=?-]{1,60}"
)  # RFC 2046 §5.1.1, no space, short enough for its line
_LINE_BREAK = re.compile(r"\r\n?")
_CONTROLS = bytes(o for o in range(32) if o not in b"\t\n") + b"\x7f"
_HIGH = bytes(range(128, 256))


class Draft(msgspec.Struct, frozen=True):
    """What the submitter wants said. Lists may be empty; Bcc recipients are in the envelope alone.

    subject      without line breaks; "" is written as an empty field
    text         None: no plain text part. Any of CRLF, CR, LF ends a line
    html         None: no HTML part. Neither part, and no file: a message with an empty body
    headers      further fields in order, each as `headers.check_custom_header` takes it
    attachments  in order; a content id at most once
    """

    from_: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


class Composed(msgspec.Struct, frozen=True):
    """A message without its per-recipient fields: prefix + headers + CRLF + body is what is signed.

    headers     lines ending in CRLF, without the empty line after them; ASCII unless needs_utf8
    body        lines ending in CRLF, 7-bit, or empty
    needs_utf8  an address in the header fields has no ASCII form (RFC 6532 §3.2)
    """

    headers: bytes
    body: bytes
    needs_utf8: bool


def compose(draft: Draft, *, message_id: str, date: datetime, boundary: str) -> Composed:
    """The message of `draft`; the same bytes for the same arguments.

    message_id  with its angle brackets (RFC 5322 §3.6.4)
    date        aware
    boundary    of the multipart; unlike any line of the message: give it a fresh id

    Raises HeaderError for a subject or field that cannot be one, AttachmentError for an attached message that
    holds the boundary.
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("the boundary is not 1 to 60 of the characters that RFC 2046 §5.1.1 allows")
    entity = entity_of(draft, boundary)
    head = _header_fields(draft, message_id, date) + entity.head
    return Composed(head.encode(), entity.body(), needs_utf8=not head.isascii())


def entity_of(draft: Draft, boundary: str) -> Entity:
    """What `compose` writes as the body. Raises AttachmentError."""
    if not draft.attachments:
        return _content(draft, (), (boundary,))
    # None is the beginning of another: a reader may compare the beginning of a line only (RFC 2046 §5.1.1).
    boundaries = (boundary, f"1{boundary}", f"2{boundary}")
    shown, others = attachments.divide(draft.attachments, draft.html)
    content = _content(draft, tuple(_file(a, boundaries) for a in shown), boundaries)
    if not others:
        return content
    # A message of files alone has no empty text in front of them.
    texts = () if draft.text is None and draft.html is None else (content,)
    return Multipart("mixed", (*texts, *(_file(a, boundaries) for a in others)), boundaries[2])


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


def _content(draft: Draft, shown: tuple[Leaf, ...], boundaries: tuple[str, ...]) -> Entity:
    """shown: the files that the HTML part shows. boundaries: of the alternative, the related part, ..."""
    if draft.html is None:
        return _text_entity("plain", draft.text or "", boundaries)
    html: Entity = _text_entity("html", draft.html, boundaries)
    if shown:
        # RFC 2387 §3.1: the type of the root, which comes first.
        html = Multipart("related", (html, *shown), boundaries[1], (' type="text/html"',))
    if draft.text is None:
        return html
    # RFC 2046 §5.1.4: the best alternative comes last.
    return Multipart("alternative", (_text_entity("plain", draft.text, boundaries), html), boundaries[0])


def _file(given: Attachment, boundaries: tuple[str, ...]) -> Leaf:
    head, essence = attachments.head(given), given.media_type.essence
    if not given.is_message:
        return Leaf(head, given.content, essence, "base64", is_encoded=False, file=given)
    if _holds(given.content, _delimiters(boundaries)):
        raise AttachmentError("the attached message holds the boundary of this one", "content")
    return Leaf(head, given.content, essence, "7bit", file=given)


def _text_entity(subtype: str, text: str, boundaries: tuple[str, ...]) -> Leaf:
    encoding, body = _encoded(_lines(text), _delimiters(boundaries))
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return Leaf(head, body, f"text/{subtype}", encoding)


def _delimiters(boundaries: tuple[str, ...]) -> list[bytes]:
    return [b"--" + boundary.encode("ascii") for boundary in boundaries]


def _lines(text: str) -> bytes:
    """UTF-8, lines ended by LF, the last one too. A lone surrogate, which is no character, becomes "?"."""
    if "\r" in text:
        text = _LINE_BREAK.sub("\n", text)
    if text and not text.endswith("\n"):
        text += "\n"
    return text.encode("utf-8", "replace")


def _encoded(content: bytes, delimiters: list[bytes]) -> tuple[str, bytes]:
    """The transfer encoding (RFC 2045 §6) and `content` in it, lines ending in CRLF, without `delimiters`."""
    if _is_short_ascii(content) and not _holds(content, delimiters) and not _has_from_line(content):
        return "7bit", content.replace(b"\n", b"\r\n")
    high = 0 if content.isascii() else len(content) - len(content.translate(None, _HIGH))
    # Three octets for each above 127 in quoted-printable, four for any three in base64.
    if high * 6 <= len(content):
        quoted = quoted_printable(content)
        if not _holds(quoted, delimiters):
            return "quoted-printable", quoted
    return "base64", _base64(content)


def _holds(content: bytes, delimiters: list[bytes]) -> bool:
    return any(delimiter in content for delimiter in delimiters)


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
