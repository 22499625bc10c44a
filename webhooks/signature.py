"""What proves that a callback is ours: an HMAC over id, time and body (Standard Webhooks, symmetric v1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_SECRET_BYTES = 32  # the specification asks for 24 to 64
_SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with


def new_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def shown(secret: bytes) -> str:
    """As the libraries of consumers want it: `whsec_` and base64."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def sign(keys: Sequence[bytes], *, callback: str, timestamp: int, body: bytes) -> str:
    """The header field: one signature for each of `keys`, so that both sides of a rotation verify.

    callback   the `webhook-id`
    timestamp  seconds since 1970, of this attempt: consumers refuse old ones against replays
    """
    signed = b"%s.%d.%s" % (callback.encode(), timestamp, body)
    digests = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
