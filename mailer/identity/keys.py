"""API keys as texts: `mk_<id>_<secret>_<checksum>`, and as what is stored of them.

The id is the key's row, the secret 256 random bits, both in Crockford's base32 (lower case); the
checksum (24 bits of CRC-32 over what stands before it) lets a door, and anybody's leak scanner, refuse
a mistyped text without asking the database.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from dataclasses import dataclass

from mailer import ids

_KIND = "mk"
_SECRET_BYTES = 32
_SECRET_DIGITS = 52
_CHECKSUM_DIGITS = 6
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_ALPHABET)}
_LENGTH = len(_KIND) + 13 + _SECRET_DIGITS + _CHECKSUM_DIGITS + 3
# Python's own base 32 reads 0-9a-v: translating is eight times as fast as a loop over the digits.
_TO_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


class MalformedKey(ValueError):
    """The text is no API key, or was mistyped. The message never repeats the text."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """text: shown once to its owner, never stored by us. secret_hash: SHA-256 of the secret's 32 bytes."""

    text: str
    key_id: int
    secret_hash: bytes


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """What a caller claims: well-formed, not yet known to be good."""

    key_id: int
    secret_hash: bytes


def new_key(key_id: int) -> NewKey:
    """A key nobody has seen, for the row `key_id`."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    stem = f"{ids.show(_KIND, key_id)}_{_digits(secret)}"
    return NewKey(f"{stem}_{_checksum(stem)}", key_id, hashlib.sha256(secret).digest())


def parse_key(text: str) -> PresentedKey:
    """Raises MalformedKey; asks nobody. Only the exact text that `new_key` made is taken."""
    stem, _, checksum = text.rpartition("_")
    if len(text) != _LENGTH or not text.isascii() or checksum != _checksum(stem):
        raise MalformedKey("the API key is not complete or was mistyped")
    shown_id, _, digits = stem.rpartition("_")
    try:
        key_id = ids.parse(_KIND, shown_id)
    except ids.MalformedId:
        raise MalformedKey("the text is not an API key of this service") from None
    return PresentedKey(key_id, hashlib.sha256(_secret(digits)).digest())


def _digits(secret: bytes) -> str:
    value = int.from_bytes(secret)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_SECRET_DIGITS - 1), -1, -5))


def _secret(digits: str) -> bytes:
    if len(digits) != _SECRET_DIGITS or not _VALUE.keys() >= set(digits):
        raise MalformedKey("the text is not an API key of this service")
    try:
        return int(digits.translate(_TO_PYTHON), 32).to_bytes(_SECRET_BYTES)
    except OverflowError:  # 52 digits hold 260 bits
        raise MalformedKey("the text is not an API key of this service") from None


def _checksum(stem: str) -> str:
    return f"{zlib.crc32(stem.encode()) & 0xFFFFFF:06x}"
