"""Octets of strangers as text: charsets and encoded words (RFC 2047). Nothing in it raises."""

from __future__ import annotations

import binascii
import codecs
import re

_WORD = re.compile(rb"=\?([^?\s]{1,40})\?([bBqQ])\?([^?\s]*)\?=")
# Python codecs that are no charsets of mail, or that make work or warnings out of hostile input.
_NOT_CHARSETS = {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "unicode-escape"}


def text_of(octets: bytes, charset: str | None) -> str:
    """By its charset where that is one, else as UTF-8; what does not fit is replaced. No lone surrogates."""
    try:
        name = codecs.lookup(charset or "utf-8").name
        text = octets.decode("utf-8" if name in _NOT_CHARSETS else name, "replace")
    except (LookupError, UnicodeError, ValueError):
        text = octets.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode()


def field_text(value: bytes) -> str:
    """A field's value with its encoded words read; raw UTF-8 is taken as such (RFC 6532 §3.1)."""
    pieces: list[tuple[bytes, str | None]] = []
    at = 0
    for found in _WORD.finditer(value):
        between = value[at : found.start()]
        # RFC 2047 §6.2: blanks between two encoded words are not there.
        if between and not (pieces and pieces[-1][1] and between.isspace()):
            pieces.append((between, None))
        _append(pieces, _unwrapped(found[2], found[3]), found[1].decode("ascii", "replace"))
        at = found.end()
    pieces.append((value[at:], None))
    return "".join(text_of(octets, charset) for octets, charset in pieces)


def _append(pieces: list[tuple[bytes, str | None]], octets: bytes, charset: str) -> None:
    """Some senders cut a character in two between words (against RFC 2047 §5): joined, it reads."""
    charset = charset.partition("*")[0].lower()  # RFC 2231 §5: a language may follow
    if pieces and pieces[-1][1] == charset:
        pieces[-1] = pieces[-1][0] + octets, charset
    else:
        pieces.append((octets, charset))


def _unwrapped(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    try:
        return binascii.a2b_base64(text + b"===")
    except binascii.Error:
        return text
