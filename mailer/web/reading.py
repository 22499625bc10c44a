"""A kept message taken apart for showing. Nothing in it raises: what cannot be read is shown as it stands."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.policy import compat32
from email.utils import collapse_rfc2231_value

from mailer.web.words import field_text, text_of

_ENVELOPE_FIELDS = 2  # Return-Path and Delivered-To, put on top by the inbox (RFC 5321 §4.4)
_VERBATIM = compat32.clone(linesep="\r\n", max_line_length=None, mangle_from_=False)
_MOST_PARTS = 500
_DEEPEST = 30
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)  # RFC 5322 §2.2, §4.5
_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree.

    number        from 0 in the order of the message; stable, part of the download's address
    content_type  lower case, without parameters
    filename      as the sender gave it, decoded: not safe as a path; None if none was given
    content_id    without angle brackets (RFC 2392); None if none was given
    content       decoded from its transfer encoding
    charset       as declared; None if it was not
    """

    number: int
    content_type: str
    filename: str | None
    content_id: str | None
    is_attachment: bool
    content: bytes = field(repr=False)
    charset: str | None

    @property
    def text(self) -> str:
        return text_of(self.content, self.charset)


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole message. fields: names and values in order, unfolded, decoded (RFC 2047).

    text, html   the parts to show; None if there is none
    attachments  all other parts
    fault        why the parts could not be told apart; None if they could
    """

    return_path: str
    delivered_to: str
    fields: tuple[tuple[str, str], ...]
    text: Part | None
    html: Part | None
    attachments: tuple[Part, ...]
    parts: tuple[Part, ...]
    fault: str | None

    def first(self, name: str) -> str:
        """The value of the first field with this name; empty if there is none."""
        return _first(self.fields, name)


def read(data: bytes) -> Reading:
    """Takes a file of the inbox apart."""
    fields, fault = header_fields(data), None
    try:
        parts = tuple(_parts(email.message_from_bytes(data, policy=compat32)))
    except RecursionError:
        parts, fault = (), "Its parts are nested too deep to be shown. The source shows all."
    bodies = [part for part in parts if not part.is_attachment]
    text = next((part for part in bodies if part.content_type == "text/plain"), None)
    html = next((part for part in bodies if part.content_type == "text/html"), None)
    return Reading(
        return_path=_first(fields, "return-path"),
        delivered_to=_first(fields, "delivered-to"),
        fields=fields[_ENVELOPE_FIELDS:],
        text=text,
        html=html,
        attachments=tuple(part for part in parts if part is not text and part is not html),
        parts=parts,
        fault=fault,
    )


def header_fields(data: bytes) -> tuple[tuple[str, str], ...]:
    """All fields of the header section, in order. A line that is no field ends nothing and is left out."""
    end = _HEADER_END.search(data)
    section = data[: end.start()] if end else data
    unfolded = re.sub(rb"\r?\n(?=[ \t])", b"", section)  # RFC 5322 §2.2.3
    found = (_FIELD.fullmatch(line.rstrip(b"\r")) for line in unfolded.split(b"\n"))
    return tuple((f[1].decode("ascii"), field_text(f[2].strip())) for f in found if f)


def _first(fields: tuple[tuple[str, str], ...], name: str) -> str:
    return next((value for found, value in fields if found.lower() == name), "")


def _parts(root: Message) -> Iterator[Part]:
    for number, leaf in enumerate(_leaves(root, 0)):
        if number >= _MOST_PARTS:
            return
        yield _part(number, leaf)


def _leaves(entity: Message, depth: int) -> Iterator[Message]:
    """A message inside (message/rfc822) is a leaf: it is downloaded, not mixed into this one."""
    # Not get_payload() first: on a leaf it decodes, and raises on some charsets (RFC 2231 parameters).
    if entity.get_content_maintype() != "multipart" or not entity.is_multipart() or depth > _DEEPEST:
        yield entity
        return
    for child in entity.get_payload():
        if isinstance(child, Message):
            yield from _leaves(child, depth + 1)


def _part(number: int, leaf: Message) -> Part:
    content_type = leaf.get_content_type()
    if not _CONTENT_TYPE.fullmatch(content_type):
        content_type = "application/octet-stream"
    filename = _filename(leaf)
    disposition = str(leaf.get("content-disposition", "")).partition(";")[0].strip().lower()
    is_body = content_type in {"text/plain", "text/html"} and disposition != "attachment" and not filename
    return Part(
        number=number,
        content_type=content_type,
        filename=filename,
        content_id=str(leaf.get("content-id", "")).strip().strip("<>") or None,
        is_attachment=not is_body,
        content=_content(leaf),
        charset=_charset(leaf),
    )


def _filename(leaf: Message) -> str | None:
    """From Content-Disposition, else from Content-Type (RFC 2183 §2.3, RFC 2231 §3)."""
    try:
        value = leaf.get_param("filename", None, "content-disposition") or leaf.get_param("name", None)
        text = collapse_rfc2231_value(value) if value else ""
    except (ValueError, LookupError, TypeError):
        return "unreadable name"
    return field_text(text.encode("utf-8", "replace")) or None


def _charset(leaf: Message) -> str | None:
    try:
        return leaf.get_content_charset()
    except (ValueError, LookupError, TypeError):
        return None


def _content(leaf: Message) -> bytes:
    if leaf.is_multipart():
        return _enclosed(leaf)
    content = leaf.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _enclosed(leaf: Message) -> bytes:
    """A message in a message, written by the parser that read it, without folding or quoting of "From "."""
    inner = leaf.get_payload()
    try:
        return b"\r\n".join(m.as_bytes(policy=_VERBATIM) for m in inner if isinstance(m, Message))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return str(inner).encode("utf-8", "replace")
