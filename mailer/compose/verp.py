"""The token that stands for one recipient: in its reverse-path, and in X-Mailer-Ref.

A bounce comes back to the reverse-path (RFC 5321 §4.4, RFC 3834 §4), often without a usable report in
it; the token says whose it is, and its MAC that we made it, so that nobody can bounce other people's
addresses. The same on every attempt: greylists remember sender and recipient together (RFC 6647 §2.4).

Secrets change without an end of anything: which one holds is decided by the time at which the recipient was
accepted, which its id tells. So a token stays as it is over all attempts, all processes that know the secrets
agree, and of what one secret could forge, only its own time is lost with it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailer import ids

_ID_OCTETS = 8
_MAC_OCTETS = 8  # a guess is right once in 2**64 bounces
_CHARS = 26  # of base32 for 16 octets; the local part may have 64 (RFC 5321 §4.5.3.1.1)
_PADDING = "=" * 6
_PURPOSE = b"return-path\0"


def make_token(recipient_id: int, secret: bytes, *, purpose: bytes = _PURPOSE) -> str:
    """26 characters of [a-z2-7]: the id (63 bits) and its MAC; the same for the same arguments."""
    octets = recipient_id.to_bytes(_ID_OCTETS, "big")
    mac = _keyed(secret, purpose).copy()
    mac.update(octets)
    return base64.b32encode(octets + mac.digest()[:_MAC_OCTETS])[:_CHARS].decode("ascii").lower()


@lru_cache(maxsize=8)
def _keyed(secret: bytes, purpose: bytes) -> hmac.HMAC:
    """Keyed once: for so few octets that is most of the work."""
    return hmac.new(secret, purpose, "sha256")


def read_token(text: str, secrets: Sequence[bytes], *, purpose: bytes = _PURPOSE) -> int | None:
    """The recipient id, if `text` is a token made with one of `secrets`; None for anything else.

    In any case of letters: hosts on the way fold local parts although they must not (RFC 5321 §2.4).
    """
    lowered = text.lower()
    recipient_id = _claimed_id(lowered)
    if recipient_id is None:
        return None
    # All secrets are tried, and compared in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(make_token(recipient_id, s, purpose=purpose), lowered) for s in secrets]
    return recipient_id if any(matches) else None


def _claimed_id(lowered: str) -> int | None:
    """What a token says before anything proves it; None: it has no token's form."""
    if len(lowered) != _CHARS or not lowered.isascii():
        return None
    try:
        octets = base64.b32decode(lowered.upper() + _PADDING)
    except binascii.Error:
        return None
    recipient_id = int.from_bytes(octets[:_ID_OCTETS], "big")
    return recipient_id if recipient_id < 1 << 63 else None


@dataclass(frozen=True, slots=True)
class Epoch:
    """secret: of the tokens of recipients that were accepted from then on, in milliseconds since 1970."""

    starts_ms: int
    secret: bytes


class TokenKeys:
    """The secrets of an installation, each for its time. Immutable."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        """Raises ValueError: none holds from the beginning."""
        self.epochs = tuple(sorted(epochs, key=lambda epoch: -epoch.starts_ms))
        if not self.epochs or self.epochs[-1].starts_ms > 0:
            raise ValueError("some secret must hold from the beginning")

    def make(self, recipient_id: int) -> str:
        """The same for the same recipient, whatever secrets come later."""
        return make_token(recipient_id, self._secret_of(recipient_id))

    def read(self, text: str) -> int | None:
        """The recipient id, if `text` is the token that `make` makes of it, in any case of letters."""
        recipient_id = _claimed_id(text.lower())
        return None if recipient_id is None else read_token(text, (self._secret_of(recipient_id),))

    def _secret_of(self, recipient_id: int) -> bytes:
        made = ids.made_ms(recipient_id)
        for epoch in self.epochs:
            if epoch.starts_ms <= made:
                return epoch.secret
        raise AssertionError("some secret holds from the beginning")


def constant_keys(secret: bytes) -> TokenKeys:
    """One secret for all times."""
    return TokenKeys((Epoch(0, secret),))


def reverse_path(token: str, return_path_domain: str) -> str:
    """Without angle brackets, as `MAIL FROM` carries it."""
    return f"{token}@{return_path_domain}"
