"""What a mail shows of the message it is about: in a part, in its text, or in the report's own fields."""

from __future__ import annotations

import re

from mailer.report.reading.addresses import listed, one_address
from mailer.report.reading.fields import SECTION_OCTETS, Fields, fields_in
from mailer.report.reading.kinds import Original
from mailer.report.reading.mime import Part, read_message

_CARRIED_OCTETS = 256 * 1024
_SUBJECT_CHARS = 500
_SCANNED_OCTETS = 4 * 1024 * 1024

_HEADERS = frozenset(
    {"text/rfc822-headers", "message/global-headers", "text/rfc822-header", "message/partial"}
)
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/rfc-822", "message/news"})
# compose/verp.py: letters and digits, folded on the way; SRS and others put theirs around it.
_REF = re.compile(r"[a-z0-9]{20,30}", re.IGNORECASE)
_REF_FIELD = re.compile(
    rb"^[>| \t]{0,8}X-Mailer-Ref[ \t]*:[ \t\r\n>]*([A-Za-z0-9]{20,30})\b", re.IGNORECASE | re.MULTILINE
)
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,500})>")
_ENVELOPE_FROM = re.compile(r"envelope-(?:from|sender)[:\s]+<([^<>\s]{3,320})>", re.IGNORECASE)


def header_of_original(root: Part, copied: str) -> Fields:
    """The header of the message that came back; empty where none did.

    copied  what stands behind the words of the mail, where hosts put the copy into the text
    """
    for part in root.walk():
        if part is root or part.is_nested:
            continue
        essence = part.type.essence
        if essence in _MESSAGES and part.children:
            return part.children[0].fields
        if essence in _MESSAGES or essence in _HEADERS:
            found = _header_in(part)
            if found.all:
                return found
    header = copied.lstrip("\n \t>|-").partition("\n\n")[0]
    return fields_in(re.sub(r"^[>|] ?", "", header, flags=re.MULTILINE)[:SECTION_OCTETS])


def _header_in(part: Part) -> Fields:
    carried = part.octets(_CARRIED_OCTETS).lstrip(b"\r\n")
    return read_message(carried).fields


def carried_message(part: Part) -> bytes:
    """The octets of a part that is a message, or its header, without the transfer encoding."""
    return part.octets(_CARRIED_OCTETS)


def original_from(header: Fields, content: bytes) -> Original:
    """header: of the message that came back. content: the whole mail."""
    envelope_from = one_address(header.raw("return-path")) or _from_trace(header)
    return Original(
        message_id=_message_id(header),
        mailer_ref=_ref(header, content, envelope_from),
        envelope_from=envelope_from,
        subject=header.text("subject")[:_SUBJECT_CHARS] or None,
        recipients=listed([*header.every("to"), *header.every("cc")]),
    )


def _message_id(header: Fields) -> str | None:
    value = header.raw("message-id")
    match = _MESSAGE_ID.search(value)
    if match is not None:
        return match[1]
    return value.strip()[:_SUBJECT_CHARS] or None


def _from_trace(header: Fields) -> str | None:
    for received in header.every("received"):
        match = _ENVELOPE_FROM.search(received)
        if match is not None:
            return one_address(match[1])
    return None


def _ref(header: Fields, content: bytes, envelope_from: str | None) -> str | None:
    given = header.raw("x-mailer-ref").strip()
    if _REF.fullmatch(given):
        return given.lower()
    if envelope_from is not None:
        # SRS0=hash=time=domain=local@forwarder keeps the local part (https://www.libsrs2.org/srs/srs.pdf).
        local = re.split(r"[=+]", envelope_from.rpartition("@")[0])[-1]
        if len(local) >= 26 and _REF.fullmatch(local):
            return local.lower()
    found = _REF_FIELD.search(content[:_SCANNED_OCTETS])
    return found[1].decode("ascii").lower() if found is not None else None
