"""Octets that a request carries as base64 in a JSON string (RFC 4648), read piece by piece.

The string may be a large part of the request: it is read where it lies, so that beside the request only the
octets take room. Taken is what common programs write: the standard alphabet and the URL-safe one, with
padding or without, in one line or in many (Ruby, PHP and Python have functions that break lines), and with
the escapes that JSON allows (PHP writes "/" as "\\/", .NET "+" as "\\u002B"). Nothing else is skipped: a file
with a hole in it would arrive broken.
"""

from __future__ import annotations

import binascii
from io import BytesIO

import msgspec

_PIECE = 1024 * 1024
_ESCAPE = len(r"\u002B")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648 §5
_SPACE = b" \t\r\n"  # RFC 2045 §6.8
_QUOTE = ord('"')


class Base64Error(ValueError):
    """The value is not base64. The message goes on a sentence about it."""


def decode(value: msgspec.Raw | bytes) -> bytes:
    """The octets of `value`, a JSON string as it stands in the request. Raises Base64Error."""
    text = memoryview(value)
    if len(text) < 2 or text[0] != _QUOTE:
        raise Base64Error("must be a string of base64")
    if bytes(text[1:6]).lower() == b"data:":
        raise Base64Error("must be base64 alone, without the 'data:...;base64,' in front of it")
    decoder = _Decoder()
    end = len(text) - 1
    at = 1
    while at < end:
        piece = bytes(text[at : min(at + _PIECE, end)])
        at += len(piece)
        cut = _cut_escape(piece) if at < end else len(piece)
        at -= len(piece) - cut
        decoder.feed(_unescaped(piece[:cut]))
    return decoder.end()


class _Decoder:
    """Base64 in, octets out; four characters make three octets."""

    def __init__(self) -> None:
        self._out = BytesIO()
        self._rest = b""  # fewer than four characters
        self._is_over = False

    def feed(self, text: bytes) -> None:
        text = self._rest + text.translate(_STANDARD, _SPACE)
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        if whole:
            self._write(text[:whole])

    def end(self) -> bytes:
        rest = self._rest
        if b"=" in rest or len(rest) == 1:
            raise Base64Error("is base64 that was cut short")
        if rest:
            self._write(rest + b"=" * (4 - len(rest)))
        return self._out.getvalue()  # the buffer itself, not a copy of it

    def _write(self, quads: bytes) -> None:
        try:
            if self._is_over:
                raise Base64Error("is base64 with something after its end")
            self._out.write(binascii.a2b_base64(quads, strict_mode=True))
        except binascii.Error:
            raise Base64Error("is not base64") from None
        self._is_over = quads.endswith(b"=")


def _cut_escape(piece: bytes) -> int:
    """Where an escape that goes on in the next piece begins; the piece's length if there is none."""
    at = piece.rfind(b"\\", len(piece) - _ESCAPE + 1)
    return len(piece) if at < 0 else at


def _unescaped(piece: bytes) -> bytes:
    if b"\\" not in piece:
        return piece
    try:
        return msgspec.json.decode(b'"%b"' % piece, type=str).encode()
    except (msgspec.DecodeError, UnicodeError):
        raise Base64Error("is not base64") from None
