"""`{{unsubscribe_url}}` in a body becomes the URL of its one recipient.

In what we compose ourselves it is replaced before it is encoded. In a message that came whole it is looked
for in its parts of plain text and HTML, in whatever encoding they have; all other octets stay as they are.
What is signed or encrypted inside (RFC 1847), an attachment and a message in the message are left alone.

A template has no URL yet when it is filled, since its recipient has no number: STAND_IN takes its place. It
is a URL, so that a text made from HTML shows it as it will show the real one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from itertools import chain

from msgspec.structs import replace

from mailer.compose.fields import LINE_OCTETS
from mailer.compose.mime import Draft

VARIABLE = "unsubscribe_url"
STAND_IN = "https://unsubscribe.invalid/u/of-each-recipient"  # .invalid is nobody's (RFC 6761 §6.4)

_WRITTEN = r"\{\{-?[ \t]*unsubscribe_url[ \t]*-?\}\}"
_PLACE = re.compile(f"{_WRITTEN}|{re.escape(STAND_IN)}")
_OCTETS = re.compile(_WRITTEN.encode("ascii"))
_MARK = b"unsubscribe_url"
_WORD = b"unsubscribe"
_QP_LINE = 72  # with the "=" at its end it stays below the 76 of RFC 2045 §6.7
_BASE64_LINE = 76  # RFC 2045 §6.8
_DEPTH = 10
_MOST_PARTS = 100
_MOST_OCTETS = 4_000_000  # of text in one message; readers cut off HTML far shorter than that
_CRLF = b"\r\n"
_FIELD = re.compile(
    rb"(?im)^(content-type|content-transfer-encoding|content-disposition)[ \t]*:"
    rb"([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)"
)
_BOUNDARY = re.compile(r'(?i)boundary\s*=\s*(?:"([^"]{1,70})"|([^\s";]{1,70}))')  # RFC 2046 §5.1.1
_CHARSET = re.compile(r'(?i)charset\s*=\s*"?([^\s";]+)')
_WIDE = (
    "utf-16",
    "utf-32",
    "utf-7",
    "ucs",
    "iso-2022",
    "hz-gb",
    "ebcdic",
    "cp037",
    "cp500",
)  # not ASCII


class LineTooLong(ValueError):
    """With the URL a line has more octets than mail allows (RFC 5322 §2.1.1)."""


def is_stood_in(draft: Draft) -> bool:
    """Whether a template was filled with it, so that it must be replaced."""
    return any(STAND_IN in words for words in (draft.text, draft.html) if words)


def has_place(draft: Draft) -> bool:
    """Whether its text or HTML has a place for the URL."""
    return any(_PLACE.search(words) for words in (draft.text, draft.html) if words and _may_have(words))


def fill_draft(draft: Draft, url: str) -> Draft:
    """The same message with the URL in its words."""
    text, html = (words and _PLACE.sub(lambda _: url, words) for words in (draft.text, draft.html))
    return replace(draft, text=text, html=html)


def stand_in(words: str | None) -> str | None:
    """Words whose places hold a URL already, for what is done to HTML before it is sent."""
    return words if words is None or VARIABLE not in words else _PLACE.sub(STAND_IN, words)


def _may_have(words: str) -> bool:
    """Cheaper than the search, and nearly always all that is needed."""
    return VARIABLE in words or STAND_IN in words


def fill_body(headers: bytes, body: bytes, url: str) -> bytes:
    """The body of a whole message with the URL in its parts; the same octets if it has no place for it.

    headers  of the message, CRLF lines

    Raises LineTooLong and nothing else, whatever the octets.
    """
    filler = _Filler(url.encode("ascii"))
    return filler.entity(headers, body, 0)


class _Filler:
    def __init__(self, url: bytes) -> None:
        self._url = url
        self._parts = 0
        self._octets = 0

    def entity(self, headers: bytes, body: bytes, depth: int) -> bytes:
        """Of a message or one part of it."""
        said = _said(headers)
        kind = said.get("content-type", "text/plain").partition(";")[0].strip().lower()
        if kind.startswith("multipart/"):
            boundary = _BOUNDARY.search(said["content-type"])
            is_sealed = kind in ("multipart/signed", "multipart/encrypted")
            if boundary is None or is_sealed or depth >= _DEPTH:
                return body
            return self._multipart(body, (boundary[1] or boundary[2]).encode("utf-8", "replace"), depth)
        if kind not in ("text/plain", "text/html") or said.get(
            "content-disposition", ""
        ).strip().lower().startswith("attachment"):
            return body
        return self._text(said, body)

    def _multipart(self, body: bytes, boundary: bytes, depth: int) -> bytes:
        """RFC 2046 §5.1.1: a delimiter begins its line."""
        pieces = re.split(rb"(?:\A|(?<=\r\n))(--%b(?:--)?[ \t]*(?:\r\n|\Z))" % re.escape(boundary), body)
        made = [pieces[0]]
        is_over = False
        for delimiter, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            is_over = is_over or delimiter.rstrip().endswith(boundary + b"--")
            self._parts += 1
            made += [delimiter, piece if is_over or self._parts > _MOST_PARTS else self._part(piece, depth)]
        return b"".join(made)

    def _part(self, piece: bytes, depth: int) -> bytes:
        if piece.startswith(_CRLF):
            return _CRLF + self.entity(b"", piece[2:], depth + 1)
        head, blank, body = piece.partition(_CRLF + _CRLF)
        return head + blank + self.entity(head + _CRLF, body, depth + 1) if blank else piece

    def _text(self, said: dict[str, str], body: bytes) -> bytes:
        charset = _CHARSET.search(said.get("content-type", ""))
        if charset is not None and charset[1].lower().startswith(_WIDE):
            return body
        self._octets += len(body)
        encoding = said.get("content-transfer-encoding", "7bit").strip().lower()
        write = _WRITERS.get(encoding)
        return body if write is None or self._octets > _MOST_OCTETS else write(body, self._url)


def _said(headers: bytes) -> dict[str, str]:
    """The first value of each field that is read, unfolded."""
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(headers):
        found.setdefault(name.decode().lower(), value.replace(_CRLF, b"").decode("utf-8", "replace"))
    return found


def _as_it_is(body: bytes, url: bytes) -> bytes:
    if _MARK not in body:
        return body
    made, found = _OCTETS.subn(lambda _: url, body)
    if found and max(map(len, made.split(_CRLF))) > LINE_OCTETS:
        raise LineTooLong(f"with the URL of {{{{{VARIABLE}}}}} a line has more than {LINE_OCTETS} octets")
    return made


def _quoted(octet: str) -> str:
    """One character in quoted-printable, as it is or encoded, with a soft line break before it or none."""
    return rf"(?:=[ \t]*\r\n)?(?:{re.escape(octet)}|={ord(octet):02X}|={ord(octet):02x})"


_QP_SPACE = r"(?:(?:=[ \t]*\r\n)|[ \t]|=20|=09)*"
_IN_QP = re.compile(
    "".join(
        chain(
            map(_quoted, "{{"),
            (rf"(?:{_quoted('-')})?", _QP_SPACE),
            map(_quoted, VARIABLE),
            (_QP_SPACE, rf"(?:{_quoted('-')})?"),
            map(_quoted, "}}"),
        )
    ).encode("ascii")
)


def _in_quoted_printable(body: bytes, url: bytes) -> bytes:
    """The URL on lines of its own, which soft breaks join to what stands around it (RFC 2045 §6.7)."""
    if _WORD not in body.replace(b"=\r\n", b""):  # no program encodes letters
        return body
    lines = [url[at : at + _QP_LINE] for at in range(0, len(url), _QP_LINE)]
    encoded = b"=\r\n" + b"=\r\n".join(line.replace(b"=", b"=3D") for line in lines) + b"=\r\n"
    return _IN_QP.sub(lambda _: encoded, body)


def _in_base64(body: bytes, url: bytes) -> bytes:
    """Encoded anew only if it has a place; what is no base64 stays as it is."""
    try:
        plain = base64.b64decode(body)
    except binascii.Error:
        return body
    if _MARK not in plain:
        return body
    made, found = _OCTETS.subn(lambda _: url, plain)
    if not found:
        return body
    text = base64.b64encode(made)
    lines = [text[at : at + _BASE64_LINE] for at in range(0, len(text), _BASE64_LINE)]
    end = len(body) - len(body.rstrip(_CRLF))
    return _CRLF.join(lines) + body[len(body) - end :]


_WRITERS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "7bit": _as_it_is, "8bit": _as_it_is, "binary": _as_it_is,
    "quoted-printable": _in_quoted_printable, "base64": _in_base64,
}  # fmt: skip
