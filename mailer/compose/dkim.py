"""DKIM signatures over composed and submitted mail (RFC 6376, RFC 8463, RFC 8301), relaxed/relaxed.

`cryptography` does the arithmetic; what is signed, and how it is written down, stands here. dkimpy would do
the same at 28 times the CPU (9.3 ms a signature, its RSA being plain Python); it is the verifier in the
tests, together with OpenDKIM.

The body is hashed once, when the message is accepted; a signature needs its header fields only.
"""

from __future__ import annotations

import base64
import enum
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import cast

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailer import signbatch
from mailer.compose.canonical import relaxed_body, relaxed_field, relaxed_fields
from mailer.digest import sha256

RSA_BITS = range(1024, 4096 + 1)  # RFC 8301 §3.2: what every verifier must be able to check

# RFC 6376 §5.4.1: what a reader sees or a program acts on. Named once more than they occur ("over-signed",
# RFC 6376 §8.15), so that nobody can add a second From or Subject to a signed message.
_OVERSIGNED = frozenset(
    (b"from", b"to", b"cc", b"reply-to", b"subject", b"date", b"message-id", b"content-type")
)
# List-Unsubscribe(-Post) and Feedback-ID are not over-signed: a list that forwards the message adds its own.
SIGNED_FIELDS = (
    b"from", b"to", b"cc", b"reply-to", b"subject", b"date", b"message-id", b"mime-version",
    b"content-type", b"content-transfer-encoding", b"x-mailer-ref",
    b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id",
)  # fmt: skip

_SIGNED = tuple((name, name in _OVERSIGNED) for name in SIGNED_FIELDS)
_LINE_OCTETS = 76
_PADDING = PKCS1v15()
_HASH = SHA256()


class Algorithm(enum.StrEnum):
    """As the a= tag and the database say it (RFC 6376 §3.3, RFC 8463 §3)."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


class SigningKeyError(ValueError):
    """Not a private key that DKIM can sign with. The message says why and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key under its selector (RFC 6376 §3.1). algorithm fits the kind of `private`.

    batch  the same key, to sign many at once; None: one at a time
    """

    selector: str
    algorithm: Algorithm
    private: RSAPrivateKey | Ed25519PrivateKey
    batch: signbatch.Key | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", signbatch.key_of(self.private))


def load_private_key(pem: bytes, *, trusted: bool = False) -> RSAPrivateKey | Ed25519PrivateKey:
    """The RSA or Ed25519 key in `pem` (PKCS #1 or #8, no passphrase). Raises SigningKeyError.

    trusted  the text was checked when it was taken in, and came back from our own sealed store: the
             arithmetic is not checked again, which takes 36 ms for RSA
    """
    # The size is looked at first: to check the arithmetic of a huge key takes minutes.
    key = _read_pem(pem, check=False)
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise SigningKeyError("the key is neither RSA nor Ed25519")
    if key.key_size not in RSA_BITS:
        raise SigningKeyError(f"an RSA key has 1024 to 4096 bits, this one has {key.key_size}")
    if not trusted:
        _read_pem(pem, check=True)
    return key


def body_hash(body: bytes) -> str:
    """The bh= value: base64 of SHA-256 of the relaxed body (RFC 6376 §3.7)."""
    return base64.b64encode(sha256(relaxed_body(body))).decode("ascii")


class Letter(msgspec.Struct, frozen=True):
    """What is signed, and how.

    headers    the whole block with the per-recipient fields, CRLF lines, without the empty line
    body_hash  of the body that follows, from `body_hash`
    domain     A-labels; the d= that alignment with From is judged by
    keys       one field for each
    at         aware; the t= tag
    """

    headers: bytes
    body_hash: str
    domain: str
    keys: Sequence[SigningKey]
    at: datetime


def sign(letters: Sequence[Letter]) -> list[bytes]:
    """DKIM-Signature fields to put before the headers of each: RSA first (RFC 8463 §6), CRLF lines.

    What is signed together costs less, see signbatch.py.
    """
    begun: list[list[bytes]] = []
    keys: list[SigningKey] = []
    signed: list[bytes] = []
    for letter in letters:
        names, fields = _choose(relaxed_fields(letter.headers))
        values = (int(letter.at.timestamp()), letter.body_hash.encode("ascii"))
        mine = []
        # RSA first: verifiers that stop at the first signature know RSA, and not all know Ed25519.
        for key in letter.keys if len(letter.keys) == 1 else sorted(letter.keys, key=_is_ed25519):
            written, relaxed = _field(key.algorithm, letter.domain, key.selector, names)
            mine.append(written % values)
            keys.append(key)
            signed.append(fields + relaxed % values)
        begun.append(mine)
    signatures = iter(_signatures(keys, signed))
    return [
        b"".join([part for field in mine for part in (field, _folded(next(signatures)), b"\r\n")])
        for mine in begun
    ]


def _is_ed25519(key: SigningKey) -> bool:
    return key.algorithm is Algorithm.ED25519


@lru_cache(maxsize=1024)
def _field(algorithm: Algorithm, domain: str, selector: str, names: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The field as it is written and as it is signed, up to its b=, with places for t= and bh=. There are few
    different ones, since most messages of a domain have the same fields."""
    domain, selector = (word.replace("%", "%%") for word in (domain, selector))
    written = (
        f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;\r\n d={domain};\r\n"
        f" s={selector}; t=%d;\r\n {_h_tag(names)}\r\n bh=%b;\r\n b="
    ).encode("ascii")
    return written, relaxed_field(written)


def _read_pem(pem: bytes, *, check: bool) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=not check)
    except TypeError:
        raise SigningKeyError("the private key is protected by a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SigningKeyError("the text is not a private key in PEM form, or the key is damaged") from None


def _choose(canonical: dict[bytes, list[bytes]]) -> tuple[tuple[bytes, ...], bytes]:
    """Names for h=, and the signed fields in that order (RFC 6376 §5.4.2: the last of a name first)."""
    names: list[bytes] = []
    signed: list[bytes] = []
    for name, over in _SIGNED:
        occurrences = canonical.get(name)
        if occurrences is not None:
            names += [name] * (len(occurrences) + over)
            signed += reversed(occurrences)
        elif over:
            names.append(name)
    return tuple(names), b"".join(signed)


def _h_tag(names: tuple[bytes, ...]) -> str:
    """`h=...;` in lines."""
    lines = ["h="]
    for name in (n.decode("ascii") for n in names):
        if len(lines[-1]) + len(name) >= _LINE_OCTETS:
            lines.append("")
        lines[-1] += name + ":"
    lines[-1] = lines[-1].removesuffix(":") + ";"
    return "\r\n ".join(lines)


def _signatures(keys: Sequence[SigningKey], signed: Sequence[bytes]) -> list[bytes]:
    """In base64, of each of `signed` with the key at its place."""
    made: dict[int, bytes] = {}
    library = signbatch.library()
    if library is not None:
        for places in _batches(keys):
            several = library.sign(
                [batch for i in places if (batch := keys[i].batch)],
                [hashlib.sha256(signed[i]).digest() for i in places],
            )
            if several is not None:  # else they are made one by one
                made.update(zip(places, several, strict=True))
    return [
        base64.b64encode(made[i] if i in made else _signature(key, data))
        for i, (key, data) in enumerate(zip(keys, signed, strict=True))
    ]


def _batches(keys: Sequence[SigningKey]) -> Iterator[Sequence[int]]:
    """Places of keys of one kind, as many as are signed with at once; few are not worth it."""
    kinds: dict[str, tuple[int, list[int]]] = {}
    for i, key in enumerate(keys):
        if key.batch is not None:
            kinds.setdefault(key.batch.kind, (key.batch.fewest, []))[1].append(i)
    for fewest, places in kinds.values():
        for start in range(0, len(places), signbatch.LANES):
            batch = places[start : start + signbatch.LANES]
            if len(batch) >= fewest:
                yield batch


def _signature(key: SigningKey, data: bytes) -> bytes:
    # The algorithm fits the key; to ask the key itself goes through an abstract class, as dear as the rest.
    if key.algorithm is Algorithm.RSA:
        return cast(RSAPrivateKey, key.private).sign(data, _PADDING, _HASH)
    # RFC 8463 §3: Ed25519 signs the SHA-256 of the data, as the name of the algorithm says.
    return cast(Ed25519PrivateKey, key.private).sign(hashlib.sha256(data).digest())


def _folded(value: bytes) -> bytes:
    """Base64 in lines; white space within b= means nothing (RFC 6376 §3.5)."""
    first = _LINE_OCTETS - len(" b=")
    rest = range(first, len(value), _LINE_OCTETS - 1)
    return b"\r\n ".join([value[:first], *[value[at : at + _LINE_OCTETS - 1] for at in rest]])
