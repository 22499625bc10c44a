"""The relaxed form of headers and body (RFC 6376 §3.4.2, §3.4.4): what a signature is really over.

Regular expressions over a body are the dearest step of signing after the RSA operation, and composed
mail seldom needs them: a plain search in C tells whether there is anything to do.
"""

from __future__ import annotations

import re

_WSP_RUN = re.compile(rb"[ \t]+")
_SPACES = re.compile(rb"  +")  # begins with two characters, which are searched for in C
_SHORT_OCTETS = 32 * 1024
_CRLF = b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """`body` as hashed: runs of white space are one space, none ends a line, no empty lines at the end.

    A body without its last CRLF is hashed as it will arrive, with one.
    """
    if body and not body.endswith(_CRLF):
        body += _CRLF
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    if b"  " in body:
        body = _single_spaced(body)
    if b" \r\n" in body:
        body = body.replace(b" \r\n", _CRLF)
    end = len(body)
    while body.endswith(_CRLF, 0, end):
        end -= 2
    if end == 0:
        return b""  # RFC 6376 §3.4.4: a body of empty lines is no body
    return body[: end + 2]


def _single_spaced(text: bytes) -> bytes:
    """Runs of spaces are one space.

    A short text by an expression, in one pass. A long one may be nothing but short runs, at which an
    expression takes 40 ns an octet: each pass halves the runs, and is a search in C.
    """
    if len(text) <= _SHORT_OCTETS:
        return _SPACES.sub(b" ", text)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def relaxed_fields(headers: bytes) -> dict[bytes, list[bytes]]:
    """Fields of a header block by lower-case name, in order, each relaxed: `name:value` CRLF.

    headers  CRLF lines without the empty line; folded or not, any octets. A line without a colon that
             continues nothing is no field, and is left out
    """
    found: dict[bytes, list[bytes]] = {}
    for line in _unfold(headers).split(_CRLF):
        name, colon, value = line.partition(b":")
        if colon:
            name = name.strip(b" \t").lower()
            found.setdefault(name, []).append(b"%b:%b\r\n" % (name, _relaxed_value(value)))
    return found


def relaxed_field(line: bytes) -> bytes:
    """One field, folded or not, without its last CRLF, relaxed; without CRLF."""
    name, _, value = _unfold(line).partition(b":")
    return name.strip(b" \t").lower() + b":" + _relaxed_value(value)


def _unfold(headers: bytes) -> bytes:
    return headers.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")


def _relaxed_value(value: bytes) -> bytes:
    if b"\t" in value or b"  " in value:
        value = _WSP_RUN.sub(b" ", value)
    return value.strip(b" ")
