"""The relaxed form of headers and body (RFC 6376 §3.4.2, §3.4.4): what a signature is really over.

Regular expressions over a body are the dearest step of signing after the RSA operation, and composed
mail seldom needs them: a plain search in C tells whether there is anything to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_WSP_RUN = re.compile(rb"[ \t]+")
_EMPTY_LINES_AT_END = re.compile(rb"(?:\r\n)+\Z")


def relaxed_body(body: bytes) -> bytes:
    """`body` (CRLF lines) as hashed: runs of white space are one space, none at line ends, no empty lines last."""
    if b"\t" in body or b"  " in body:
        body = _WSP_RUN.sub(b" ", body)
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    if not body.endswith(b"\r\n"):
        # RFC 6376 §3.4.4 (a) speaks of lines: white space before the missing CRLF ends one too.
        body = body.removesuffix(b" ")
        return body + b"\r\n" if body else b""
    if body.endswith(b"\r\n\r\n") or body == b"\r\n":
        body = _without_empty_lines_at_end(body)
    return body
