"""The tokens that let somebody leave a stream: one for a URL, one for an address.

A link stands in mail for years, longer than any row about that mail is kept. So the token of a URL carries
all that an unsubscription needs (tenant, stream, address) and which recipient it was made for, encrypted and
authenticated as one: nobody can read it, make one, or change one. The encryption takes no random number
(AES-SIV, RFC 5297), so that every attempt, and the body, have the same URL.

An address has 64 octets before its "@" (RFC 5321 §4.5.3.1.1) and its letters are folded on the way, so its
token has room for the recipient alone, as that of a reverse-path (verp.py) and with a MAC for this purpose.
What it lacks stands in the subject that the URI gives the mail (RFC 6068 §2): the token of a URL again, in
letters and digits whose case says nothing, since nobody knows what a mail program does to a subject.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mailer.compose import verp

MAIL_PREFIX = "unsubscribe-"
SUBJECT = "unsubscribe"  # before a token, as RFC 2369 §3.2 has it
MOST_CHARS = 1024  # of a URL's token; that of the longest address we take has 600

_VERSION = b"\x01"
_PURPOSE = b"ecm-mailer unsubscribe"
_IDS = struct.Struct(">qqq")  # tenant, stream, recipient; ids have 63 bits
_MAIL_PURPOSE = b"unsubscribe\0"
_LEAST_SUBJECT_CHARS = 66  # of base32: an address of one octet
_MOST_SUBJECT_CHARS = 640  # that of the longest address we take has 578
_MOST_TRIES = 50  # at tokens in one text
_SUBJECT_TOKEN = re.compile(rf"[A-Za-z2-7]{{{_LEAST_SUBJECT_CHARS},{_MOST_SUBJECT_CHARS}}}")
_BROKEN_TOKEN = re.compile(
    rf"\b{SUBJECT}\W{{1,20}}([A-Za-z2-7][A-Za-z2-7\s]{{1,{2 * _MOST_SUBJECT_CHARS}}})", re.I
)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom a link is for.

    recipient_id  of the message that it stands in; its row may be gone when the link is used
    address       forward-path as it went on the wire
    """

    tenant_id: int
    stream_id: int
    recipient_id: int
    address: str


def make_token(subscriber: Subscriber, secret: bytes) -> str:
    """[A-Za-z0-9_-], some 90 characters; the same for the same arguments. secret: 32 octets."""
    return base64.urlsafe_b64encode(_sealed(subscriber, secret)).rstrip(b"=").decode("ascii")


def read_token(text: str, secrets: Sequence[bytes]) -> Subscriber | None:
    """Whom it is for, if `text` is a token made with one of `secrets`; None for anything else."""
    if len(text) > MOST_CHARS or not text.isascii():
        return None
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    # One way to write it only: what decodes to the same octets is another text all the same.
    if not octets.startswith(_VERSION) or base64.urlsafe_b64encode(octets).decode().rstrip("=") != text:
        return None
    return _unsealed(octets, secrets)


def make_mail_token(recipient_id: int, secret: bytes) -> str:
    """26 characters of [a-z2-7]."""
    return verp.make_token(recipient_id, secret, purpose=_MAIL_PURPOSE)


def mail_address(recipient_id: int, secret: bytes, domain: str) -> str:
    """Where a message takes its recipient off the stream."""
    return f"{MAIL_PREFIX}{make_mail_token(recipient_id, secret)}@{domain}"


def read_mail_token(text: str, secrets: Sequence[bytes]) -> int | None:
    """The recipient id, if `text` is a token, alone or behind its prefix as in a local part, in any case of
    letters; else None."""
    return verp.read_token(text.lower().removeprefix(MAIL_PREFIX), secrets, purpose=_MAIL_PURPOSE)


def make_subject(subscriber: Subscriber, secret: bytes) -> str:
    """The subject of a mail that leaves: a word and a token of [a-z2-7], some 100 characters."""
    token = base64.b32encode(_sealed(subscriber, secret)).rstrip(b"=").decode("ascii").lower()
    return f"{SUBJECT} {token}"


def find_in_words(words: str, secrets: Sequence[bytes]) -> Subscriber | None:
    """Whom a mail speaks of, by a token that `make_subject` made, anywhere in its words; None: it has none.

    In any case of letters, behind whatever is put before a subject, and broken by white space: mail programs
    cut long words.
    """
    for text in islice(_perhaps_tokens(words), _MOST_TRIES):
        found = _read_subject_token(text, secrets)
        if found is not None:
            return found
    return None


def _perhaps_tokens(words: str) -> Iterator[str]:
    yield from (match[0] for match in _SUBJECT_TOKEN.finditer(words))
    for match in _BROKEN_TOKEN.finditer(words):
        # Words may follow the token, and nothing says where it ends.
        ends = accumulate(match[1].split())
        yield from (text for text in ends if _LEAST_SUBJECT_CHARS <= len(text) <= _MOST_SUBJECT_CHARS)


def _read_subject_token(text: str, secrets: Sequence[bytes]) -> Subscriber | None:
    try:
        octets = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    return _unsealed(octets, secrets) if octets.startswith(_VERSION) else None


def _sealed(subscriber: Subscriber, secret: bytes) -> bytes:
    ids = _IDS.pack(subscriber.tenant_id, subscriber.stream_id, subscriber.recipient_id)
    return _VERSION + _cipher(secret).encrypt(ids + subscriber.address.encode(), [_PURPOSE, _VERSION])


def _unsealed(octets: bytes, secrets: Sequence[bytes]) -> Subscriber | None:
    # All secrets are tried, and the tag is compared in constant time (OpenSSL, CRYPTO_memcmp).
    opened = [_opened(octets[len(_VERSION) :], secret) for secret in secrets]
    return next((subscriber for subscriber in opened if subscriber is not None), None)


@lru_cache(maxsize=8)
def _cipher(secret: bytes) -> AESSIV:
    return AESSIV(secret)


def _opened(sealed: bytes, secret: bytes) -> Subscriber | None:
    try:
        plain = _cipher(secret).decrypt(sealed, [_PURPOSE, _VERSION])
    except (InvalidTag, ValueError):  # ValueError: too short for a tag
        return None
    if len(plain) <= _IDS.size:
        return None
    tenant_id, stream_id, recipient_id = _IDS.unpack_from(plain)
    return Subscriber(tenant_id, stream_id, recipient_id, plain[_IDS.size :].decode())
