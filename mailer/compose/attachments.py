"""Files that travel with a message: what they are called, what they are, and how a part of them is headed.

A file's octets arrive as they were given, for they are sent in base64. The one exception is a message in a
message, which may not be encoded (RFC 2046 §5.2.1): it is taken where it is 7-bit lines already.
"""

from __future__ import annotations

import codecs
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailer.compose import block, parameters
from mailer.compose.malformed import LineError
from mailer.compose.mediatype import (
    OCTET_STREAM,
    MediaType,
    MediaTypeError,
    guess_media_type,
    parse_media_type,
)

ATTACHMENTS = 100  # of one message
FILENAME_CHARS = 255
CONTENT_ID_CHARS = 200

# Line breaks and other controls, halves of characters, and what turns the direction of text around, by which
# a name that ends in "exe" is shown as one that ends in "pdf".
_NOT_IN_FILENAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# RFC 2392 §2 wants an addr-spec as RFC 5322 §3.6.4 has it; the half without "@" is what most programs write,
# and what readers find as well.
_CONTENT_ID = re.compile(rf"{_ATOM}(?:\.{_ATOM})*(?:@{_ATOM}(?:\.{_ATOM})*)?")
_CID = re.compile(r"(?i)\bcid:([^\s\"'<>()]+)")
_MESSAGE = "message/rfc822"
_PIECE = 64 * 1024


class AttachmentError(ValueError):
    """The attachment cannot be sent so. The message is a sentence for people and repeats no value.

    field  filename, content, content_type or content_id
    """

    def __init__(self, detail: str, field: str) -> None:
        super().__init__(detail)
        self.field = field


class Disposition(StrEnum):
    """How a reader should show a part (RFC 2183 §2.1, §2.2)."""

    ATTACHMENT = "attachment"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file; made by `attachment`.

    filename    as people read it
    content     its octets; of message/rfc822 7-bit CRLF lines
    media_type  what it is; neither multipart/* nor another message/* than rfc822
    content_id  what the HTML part calls it by, without angle brackets; None: nothing calls it
    """

    filename: str
    content: bytes
    media_type: MediaType
    disposition: Disposition
    content_id: str | None = None

    @property
    def is_message(self) -> bool:
        return self.media_type.essence == _MESSAGE


def attachment(
    filename: str,
    content: bytes,
    *,
    content_type: str | None = None,
    content_id: str | None = None,
    disposition: Disposition | None = None,
) -> Attachment:
    """A file ready to be composed. Raises AttachmentError and nothing else, whatever is given.

    content_type  None: the file's name tells
    content_id    with angle brackets or without
    disposition   None: inline with a content id, else attachment
    """
    _check_filename(filename)
    if content_id is not None:
        content_id = _read_content_id(content_id)
    if disposition is None:
        disposition = Disposition.ATTACHMENT if content_id is None else Disposition.INLINE
    media_type = guess_media_type(filename) if content_type is None else _read_media_type(content_type)
    if media_type.essence == _MESSAGE:
        try:
            content = _seven_bit_lines(content)
        except AttachmentError:
            if content_type is not None:
                raise
            media_type = MediaType(OCTET_STREAM)
    elif media_type.essence.startswith("text/") and not media_type.has_charset and _is_utf8(content):
        # RFC 2046 §4.1.2: without it, the text would be in US-ASCII.
        media_type = MediaType(media_type.essence, (*media_type.parameters, ("charset", "utf-8")))
    return Attachment(filename, content, media_type, disposition, content_id)


def head(given: Attachment) -> str:
    """The fields of the part (RFC 2045 §3, RFC 2183 §2), CRLF at the end of each line."""
    written = [parameters.quoted(name, value) for name, value in given.media_type.parameters]
    name = parameters.name_for_outlook(given.filename)
    lines = [
        parameters.structured("Content-Type", given.media_type.essence, *written, name),
        f"Content-Transfer-Encoding: {'7bit' if given.is_message else 'base64'}\r\n",
        parameters.structured(
            "Content-Disposition", given.disposition, parameters.parameter("filename", given.filename)
        ),
    ]
    if given.content_id is not None:
        lines.append(f"Content-ID: <{given.content_id}>\r\n")
    return "".join(lines)


def divide(attachments: Sequence[Attachment], html: str | None) -> tuple[list[Attachment], list[Attachment]]:
    """Those that the HTML part shows by `cid:` (RFC 2392 §2), and all others, both in order.

    What nothing calls for is not put beside the HTML: several readers show such a part nowhere.
    """
    called = called_for(html) if html and any(a.content_id for a in attachments) else frozenset()
    shown = [a for a in attachments if a.content_id in called]
    return shown, [a for a in attachments if a.content_id not in called]


def called_for(html: str) -> frozenset[str]:
    """Of a URL the percent-encoding (RFC 2392 §2) and HTML's own way to write "&" are undone."""
    return frozenset(urllib.parse.unquote(url.replace("&amp;", "&")) for url in _CID.findall(html))


def _check_filename(filename: str) -> None:
    if not filename.strip():
        raise AttachmentError("an attachment needs a file name", "filename")
    if len(filename) > FILENAME_CHARS:
        raise AttachmentError(f"a file name is at most {FILENAME_CHARS} characters long", "filename")
    if _NOT_IN_FILENAME.search(filename):
        raise AttachmentError(
            "a file name holds a line break, a control character or a change of text direction", "filename"
        )


def _read_content_id(content_id: str) -> str:
    if content_id.startswith("<") and content_id.endswith(">"):
        content_id = content_id[1:-1]
    if len(content_id) > CONTENT_ID_CHARS or _CONTENT_ID.fullmatch(content_id) is None:
        raise AttachmentError(
            f"a content id is at most {CONTENT_ID_CHARS} characters of the form name or name@domain",
            "content_id",
        )
    return content_id


def _read_media_type(text: str) -> MediaType:
    try:
        media_type = parse_media_type(text)
    except MediaTypeError as error:
        raise AttachmentError(str(error), "content_type") from None
    kind = media_type.essence.partition("/")[0]
    if kind == "multipart":
        raise AttachmentError("an attachment has one part: multipart/* cannot be attached", "content_type")
    if kind == "message" and media_type.essence != _MESSAGE:
        # RFC 2046 §5.2.2, §5.2.3: pieces of messages, and pointers that a reader would follow.
        raise AttachmentError("of message/*, only message/rfc822 can be attached", "content_type")
    return media_type


def _seven_bit_lines(message: bytes) -> bytes:
    """With CRLF where every line ends in LF, as files on a disk have it."""
    if b"\r" not in message:
        message = message.replace(b"\n", b"\r\n")
    try:
        block.check_lines(message)
    except LineError:
        pass
    else:
        if message.isascii():
            return message
    raise AttachmentError(
        "a message/rfc822 attachment may not be encoded (RFC 2046 §5.2.1), so it must be ASCII in whole lines"
        " of at most 998 octets; as application/octet-stream its octets arrive as they are",
        "content",
    )


def _is_utf8(content: bytes) -> bool:
    """Piece by piece: as a whole the text would take several times the memory of its octets."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    octets = memoryview(content)
    try:
        for start in range(0, len(octets), _PIECE):
            decoder.decode(octets[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
