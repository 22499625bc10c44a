"""The token that stands for one recipient: in its reverse-path, and in X-Mailer-Ref.

A bounce comes back to the reverse-path (RFC 5321 §4.4, RFC 3834 §4), often without a usable report in
it; the token says whose it is, and its MAC that we made it, so that nobody can bounce other people's
addresses. The same on every attempt: greylists remember sender and recipient together (RFC 6647 §2.4).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from functools import lru_cache

_ID_OCTETS = 8
_MAC_OCTETS = 8  # a guess is right once in 2**64 bounces
_CHARS = 26  # of base32 for 16 octets; the local part may have 64 (RFC 5321 §4.5.3.1.1)
_PADDING = "=" * 6
_PURPOSE = b"return-path\0"


def make_token(recipient_id: int, secret: bytes) -> str:
    """26 characters of [a-z2-7]: the id (63 bits) and its MAC; the same for the same arguments."""
    octets = recipient_id.to_bytes(_ID_OCTETS, "big")
    mac = _keyed(secret).copy()
    mac.update(octets)
    return base64.b32encode(octets + mac.digest()[:_MAC_OCTETS])[:_CHARS].decode("ascii").lower()


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> hmac.HMAC:
    """Keyed once: for so few octets that is most of the work."""
    return hmac.new(secret, _PURPOSE, "sha256")


def read_token(text: str, secrets: Sequence[bytes]) -> int | None:
    """The recipient id, if `text` is a token made with one of `secrets`; None for anything else.

    In any case of letters: hosts on the way fold local parts although they must not (RFC 5321 §2.4).
    """
    lowered = text.lower()
    if len(lowered) != _CHARS or not lowered.isascii():
        return None
    try:
        octets = base64.b32decode(lowered.upper() + _PADDING)
    except binascii.Error:
        return None
    recipient_id = int.from_bytes(octets[:_ID_OCTETS], "big")
    # All secrets are tried, and compared in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(make_token(recipient_id, s), lowered) for s in secrets]
    return recipient_id if any(matches) else None


def reverse_path(token: str, return_path_domain: str) -> str:
    """Without angle brackets, as `MAIL FROM` carries it."""
    return f"{token}@{return_path_domain}"
