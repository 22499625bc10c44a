"""What the installation's secret protects: sealed private keys, and the keys derived from it."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"  # AES-256-GCM, 96-bit random nonce, key by HKDF-SHA256
_NONCE_BYTES = 12
_KEY_BYTES = 32
_SEALING = "seal"


class SealBroken(Exception):
    """The sealed bytes were made under another secret or for another purpose, or were damaged."""


class Vault:
    """One installation's secret, 32 bytes. Safe to share between threads."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise ValueError(f"the installation's secret has {_KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._cipher = AESGCM(self.derive(_SEALING))

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose ("verp", ...), the same at every start (RFC 5869, HKDF)."""
        info = f"ecm-mailer {purpose}".encode()
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(self._secret)

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypted, and bound to `context`: it opens nowhere else (another row, another purpose)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed with the same secret and context; raises SealBroken."""
        version, nonce, rest = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _VERSION:
            raise SealBroken("sealed in a form that this release does not know")
        try:
            return self._cipher.decrypt(nonce, rest, context.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("sealed under another secret, or damaged") from None
