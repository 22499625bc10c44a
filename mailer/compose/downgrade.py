"""A submitted 8-bit message for a peer that takes 7 bits alone (RFC 6152 §3, RFC 2045 §6).

Done before we sign, or not at all: the parts that hold 8-bit octets are encoded, everything else keeps its
octets. What somebody signed is not touched, since its signature covers the encoding too (RFC 1847 §2.1); nor
is an enclosed message, which may not be encoded as a whole (RFC 2046 §5.2.1) and may bear a signature
of its own. Such mail fails with 5.6.3, which its sender can act on; a broken signature he would never see.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailer.compose import block, mime
from mailer.compose.block import Field
from mailer.compose.malformed import HeaderBlockError

DEPTH = 10  # of multiparts in multiparts; people reach five
DELIMITERS = 10_000  # of all parts; a message of 36 MiB could hold millions and keep us for seconds

_CRLF = b"\r\n"
_SIGNATURES = frozenset({"dkim-signature", "arc-message-signature", "domainkey-signature"})
_UNTOUCHABLE = frozenset({"multipart/signed", "multipart/encrypted"})
_IDENTITY = frozenset({"7bit", "8bit", "binary"})  # RFC 2045 §6.2; 7bit and none are common lies
_HIGH = bytes(range(128, 256))

_TOKEN = rb"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+"  # RFC 2045 §5.1
_MEDIA_TYPE = re.compile(rb"(%b/%b)[ \t]*((?:;.*)?)" % (_TOKEN, _TOKEN))
_PARAMETER = re.compile(
    rb'[ \t;]*+(%b)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;"]+))[ \t]*(?:;|$)' % _TOKEN
)
_QUOTED_PAIR = re.compile(rb"\\(.)")
_ENCODING = re.compile(rb"(%b)[ \t]*(?:\([^()]*\))?" % _TOKEN)


class CannotDowngrade(ValueError):
    """The message has no 7-bit form that we may give it. The text is a sentence for people."""

    status = "5.6.3"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entity stands. default_type: without Content-Type; delimiters: of what it stands in."""

    default_type: bytes = b"text/plain"
    delimiters: tuple[bytes, ...] = ()


def to_7bit(headers: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Headers and body in ASCII that decode to the same content; those given, where they are ASCII.

    headers  CRLF lines without the empty line, as `submitted.receive` makes them; not yet signed by us

    Raises CannotDowngrade and nothing else.
    """
    if headers.isascii() and body.isascii():
        return headers, body
    fields = _fields(headers)
    if any(field.name in _SIGNATURES for field in fields):
        raise CannotDowngrade("the message bears a signature of its submitter")
    if not any(field.name == "mime-version" for field in fields):
        fields = _made_mime(fields, body)
    return _reencode(fields, body, _Place())


def _fields(head: bytes) -> list[Field]:
    if not head.isascii():
        raise CannotDowngrade("a header field is not ASCII")
    try:
        return block.fields_of(head)
    except HeaderBlockError:
        raise CannotDowngrade("a part of the message has a damaged header") from None


def _made_mime(fields: list[Field], body: bytes) -> list[Field]:
    """Of mail from before MIME nobody knows the charset: RFC 1428 §3 has a name for that."""
    made = [*fields, Field("mime-version", b"MIME-Version: 1.0\r\n")]
    if not any(field.name == "content-type" for field in fields):
        charset = b"utf-8" if _is_utf8(body) else b"unknown-8bit"
        made.append(Field("content-type", b"Content-Type: text/plain; charset=%b\r\n" % charset))
    return made


def _reencode(fields: list[Field], body: bytes, place: _Place) -> tuple[bytes, bytes]:
    """The header block and body of an entity that is not ASCII."""
    media_type, parameters = _content_type(fields, place.default_type)
    kind = media_type.partition("/")[0]
    if media_type in _UNTOUCHABLE:
        raise CannotDowngrade("an 8-bit part of the message is signed or encrypted")
    if kind == "message":
        raise CannotDowngrade("an enclosed message is 8-bit")
    if _encoding(fields) not in _IDENTITY:
        raise CannotDowngrade("a part with 8-bit octets says that it is encoded")
    if kind != "multipart":
        encoding, encoded = _encoded(body, place.delimiters, is_text=kind == "text")
        return _with_encoding(fields, encoding), encoded
    parts = _multipart(media_type, _boundary(parameters), body, place)
    return _with_encoding(fields, None), parts


def _one(fields: list[Field], name: str) -> bytes | None:
    values = [field.value for field in fields if field.name == name]
    if len(values) > 1:
        raise CannotDowngrade("a part of the message says twice what it is")
    return values[0] if values else None


def _content_type(fields: list[Field], default: bytes) -> tuple[str, bytes]:
    """In lower case, and its parameters as they stand (RFC 2045 §5.1)."""
    value = _one(fields, "content-type")
    match = _MEDIA_TYPE.fullmatch(default if value is None else value)
    if match is None:
        raise CannotDowngrade("a part of the message does not say what it is")
    return match[1].decode("ascii").lower(), match[2]


def _encoding(fields: list[Field]) -> str:
    value = _one(fields, "content-transfer-encoding")
    match = _ENCODING.fullmatch(b"7bit" if value is None else value)
    return "" if match is None else match[1].decode("ascii").lower()


def _boundary(parameters: bytes) -> bytes:
    found = []
    at = 0
    while at < len(parameters):
        match = _PARAMETER.match(parameters, at)
        if match is None:
            break
        if match[1].lower() == b"boundary":
            found.append(_QUOTED_PAIR.sub(rb"\1", match[2] if match[2] is not None else match[3]))
        at = match.end()
    if len(found) != 1 or not found[0]:
        raise CannotDowngrade("a multipart does not say where its parts begin")
    return found[0]


def _multipart(media_type: str, boundary: bytes, body: bytes, place: _Place) -> bytes:
    """RFC 2046 §5.1.1: the CRLF before a delimiter belongs to it."""
    delimiter = b"--" + boundary
    if len(place.delimiters) == DEPTH:
        raise CannotDowngrade(f"multiparts lie more than {DEPTH} deep in each other")
    if not place.delimiters and body.count(b"\r\n--") > DELIMITERS:
        raise CannotDowngrade(f"the message may have more than {DELIMITERS} parts")
    within = _Place(
        b"message/rfc822" if media_type == "multipart/digest" else b"text/plain",
        (*place.delimiters, delimiter),
    )
    # Fixed octets at its beginning let the search run in C: with a choice there it took forty times as long.
    lines = re.compile(rb"\r\n%b(--)?[ \t]*+(?=\r\n|\Z)" % re.escape(delimiter))
    pieces: list[bytes] = []
    at = 0
    body = _CRLF + body
    for line in lines.finditer(body):
        piece = body[at : line.start()]
        pieces.append(_part(piece, within) if pieces else _outside(piece))
        pieces.append(line[0])
        at = line.end()
        if line[1]:
            return b"".join((*pieces, _outside(body[at:]))).removeprefix(_CRLF)
    raise CannotDowngrade("a multipart has no end")


def _outside(text: bytes) -> bytes:
    """Before the first part or behind the last there is no place to say how it is encoded."""
    if not text.isascii():
        raise CannotDowngrade("8-bit text stands outside the parts of a multipart")
    return text


def _part(piece: bytes, place: _Place) -> bytes:
    """piece: the end of the delimiter's line, and the part."""
    if piece.isascii():
        return piece
    try:
        head, body = block.divide(piece.removeprefix(_CRLF))
    except HeaderBlockError:
        raise CannotDowngrade("a part of the message has a damaged header") from None
    head, body = _reencode(_fields(head), body, place)
    return b"".join((_CRLF, head, _CRLF, body))


def _with_encoding(fields: list[Field], encoding: str | None) -> bytes:
    """The header block that says `encoding` (RFC 2045 §6.1); None: 7bit, which need not be said."""
    line = f"Content-Transfer-Encoding: {encoding or '7bit'}\r\n".encode("ascii")
    texts = [line if field.name == "content-transfer-encoding" else field.text for field in fields]
    if encoding is not None and line not in texts:
        texts.append(line)
    return b"".join(texts)


def _encoded(content: bytes, delimiters: Sequence[bytes], *, is_text: bool) -> tuple[str, bytes]:
    """The transfer encoding (RFC 2045 §6), and `content` in it: whichever is shorter, if it is text."""
    high = len(content) - len(content.translate(None, _HIGH))
    if is_text and high * 6 <= len(content):
        quoted = mime.quoted_printable(content.replace(_CRLF, b"\n"))
        # A line broken for its length may begin like a delimiter; base64 knows no "-".
        if not any(delimiter in quoted for delimiter in delimiters):
            return "quoted-printable", quoted
    return "base64", base64.encodebytes(content).replace(b"\n", _CRLF)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
