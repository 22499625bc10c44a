"""Cursors: an opaque text for the place where the next page of a list begins.

It bears the place and a digest over that and the filters, so that a cursor cut short, mistyped or taken
to another question is told from a good one. It is no secret: whoever forges one reads on elsewhere in a
list that is the caller's own.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

_PLACE_BYTES = 8
_DIGEST_BYTES = 7  # 15 octets in all: base64 without padding


class BadCursor(ValueError):
    """The text was not made by `cursor` for this question."""


def cursor(position: int, question: str) -> str:
    """question: the list and its filters, in a form that is the same for every page."""
    place = position.to_bytes(_PLACE_BYTES)
    return urlsafe_b64encode(place + _digest(place, question)).decode()


def position(text: str, question: str) -> int:
    """Where the page begins. Raises BadCursor and nothing else."""
    try:
        raw = urlsafe_b64decode(text)
    except ValueError:  # also if it is not ASCII
        raw = b""
    place = raw[:_PLACE_BYTES]
    # Written anew and compared, since decoding forgives what encoding never writes.
    if len(raw) != _PLACE_BYTES + _DIGEST_BYTES or urlsafe_b64encode(raw).decode() != text:
        raise BadCursor("is not a cursor that was given out")
    if raw[_PLACE_BYTES:] != _digest(place, question):
        raise BadCursor("is not a cursor that was given out for this list and these filters")
    return int.from_bytes(place)


def _digest(place: bytes, question: str) -> bytes:
    return hashlib.sha256(place + question.encode()).digest()[:_DIGEST_BYTES]
