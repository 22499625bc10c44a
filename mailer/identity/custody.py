"""DKIM keys of sending domains: made, taken in, kept sealed, handed to the signer, retired."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import Connection, select, update

from mailer.compose.dkim import Algorithm, SigningKey, load_private_key
from mailer.identity.names import BadName, IdentityError, Unknown
from mailer.identity.vault import Vault
from mailer.store import Store
from mailer.store.tables import dkim_key, sending_domain

RSA = "rsa-sha256"
ED25519 = "ed25519-sha256"
ACTIVE = "active"
RETIRED = "retired"
_RSA_BITS = 2048
_LEAST_RSA_BITS = 1024  # RFC 8301 §3.2: verifiers take no shorter key
_SELECTOR_LENGTH = 63


class BadKey(IdentityError):
    """The text holds no private key that DKIM can sign with."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key not yet in custody. private_pem: PKCS #8, clear. public_key: base64 as in p= of the record."""

    selector: str
    algorithm: str
    private_pem: bytes
    public_key: str


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """What the world must find in the DNS about a key. state: active | retired."""

    selector: str
    algorithm: str
    public_key: str
    state: str

    @property
    def key_type(self) -> str:
        """rsa | ed25519, as in k= of the record."""
        return self.algorithm.partition("-")[0]

    @property
    def txt(self) -> str:
        """The record's text (RFC 6376 §3.6.1, RFC 8463 §4.2)."""
        return f"v=DKIM1; k={self.key_type}; p={self.public_key}"


@dataclass(frozen=True, slots=True)
class SigningDomain:
    """An active sending domain with the keys it signs with now, RSA before Ed25519."""

    name: str
    return_path_domain: str
    keys: tuple[SigningKey, ...]


def generate(taken: Collection[str], now: datetime) -> tuple[KeyPair, KeyPair]:
    """A fresh RSA-2048 and a fresh Ed25519 key under selectors not `taken`; takes about 0.1 s of CPU.

    Both, since not every verifier knows Ed25519 yet (RFC 8463 §3 asks for an RSA signature beside it).
    """
    rsa = generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return (
        _pair(_free_selector(taken, now, "r"), rsa),
        _pair(_free_selector(taken, now, "e"), Ed25519PrivateKey.generate()),
    )


def read_pem(pem: bytes, selector: str) -> KeyPair:
    """The key in `pem`, checked; raises BadKey, BadName (the selector is not one DNS label or more)."""
    labels = selector.lower().split(".")
    if len(selector) > _SELECTOR_LENGTH or not all(_is_label(label) for label in labels):
        raise BadName(f"a DKIM selector is made of DNS labels such as mail2026, {selector!r} is not")
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey("the DKIM key is not a private key in PEM form without a pass phrase") from None
    if isinstance(private, RSAPrivateKey) and private.key_size < _LEAST_RSA_BITS:
        raise BadKey(f"the RSA key has {private.key_size} bits, verifiers want {_LEAST_RSA_BITS} or more")
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise BadKey("the DKIM key is neither RSA nor Ed25519")
    return _pair(selector.lower(), private)


def read_pem_file(path: Path, selector: str) -> KeyPair:
    """The key in a PEM file; raises BadKey, BadName."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise BadKey(f"the DKIM key file {path} cannot be read: {error.strerror}") from None
    return read_pem(pem, selector)


def take_in(
    connection: Connection,
    vault: Vault,
    domain_id: int,
    pairs: Sequence[KeyPair],
    *,
    new_id: Callable[[], int],
    now: datetime,
) -> None:
    """Keeps `pairs` sealed, active from now on. The caller has seen to it that the selectors are free."""
    for pair in pairs:
        key_id = new_id()
        sealed = vault.seal(pair.private_pem, _context(key_id))
        values = {
            "id": key_id, "domain_id": domain_id, "selector": pair.selector, "algorithm": pair.algorithm,
            "private_key": sealed, "public_key": pair.public_key, "state": ACTIVE, "created_at": now,
        }  # fmt: skip
        connection.execute(dkim_key.insert().values(values))


def published(connection: Connection, domain_id: int) -> list[PublishedKey]:
    """All keys of a domain, the retired too: mail they signed may still be on its way."""
    keys = select(dkim_key).where(dkim_key.c.domain_id == domain_id).order_by(dkim_key.c.id)
    return [
        PublishedKey(row.selector, row.algorithm, row.public_key, row.state)
        for row in connection.execute(keys)
    ]


def signing_keys(store: Store, vault: Vault, domain_id: int) -> SigningDomain | None:
    """What the signer needs; None for a domain that is unknown or revoked. Raises SealBroken."""
    with store.read() as connection:
        domain = connection.execute(
            select(sending_domain).where(sending_domain.c.id == domain_id, sending_domain.c.state == ACTIVE)
        ).first()
        active = select(dkim_key).where(dkim_key.c.domain_id == domain_id, dkim_key.c.state == ACTIVE)
        rows = connection.execute(active.order_by(dkim_key.c.algorithm.desc(), dkim_key.c.id)).all()
    if domain is None:
        return None
    keys = tuple(
        SigningKey(
            r.selector,
            Algorithm(r.algorithm),
            load_private_key(vault.open(r.private_key, _context(r.id)), trusted=True),
        )
        for r in rows
    )
    return SigningDomain(domain.name, domain.return_path_domain, keys)


def txt_record(store: Store, name: str) -> str | None:
    """What `<selector>._domainkey.<domain>` should hold, from our own books; None if it is not ours."""
    selector, found, domain = name.lower().rstrip(".").partition("._domainkey.")
    if not found:
        return None
    wanted = (
        select(dkim_key)
        .join(sending_domain, sending_domain.c.id == dkim_key.c.domain_id)
        .where(sending_domain.c.name == domain, dkim_key.c.selector == selector)
    )
    with store.read() as connection:
        row = connection.execute(wanted).first()
    return PublishedKey(row.selector, row.algorithm, row.public_key, row.state).txt if row else None


def retire(store: Store, domain_id: int, selector: str) -> None:
    """Signs no more; its record must stay published while mail it signed is on its way. Raises Unknown."""
    key = dkim_key.c.domain_id == domain_id, dkim_key.c.selector == selector.lower()
    with store.write() as connection:
        if not connection.execute(update(dkim_key).where(*key).values(state=RETIRED)).rowcount:
            raise Unknown(f"the domain has no DKIM key with the selector {selector!r}")


def _context(key_id: int) -> str:
    return f"dkim_key {key_id}"


def _pair(selector: str, private: RSAPrivateKey | Ed25519PrivateKey) -> KeyPair:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(private, Ed25519PrivateKey):
        # The bare 32 octets, not a SubjectPublicKeyInfo as for RSA (RFC 8463 §4.2).
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return KeyPair(selector, ED25519, pem, base64.b64encode(raw).decode())
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(selector, RSA, pem, base64.b64encode(der).decode())


def _free_selector(taken: Collection[str], now: datetime, suffix: str) -> str:
    """`m20260131r`, or with a number: a selector is never used for a second key."""
    base, number = f"m{now:%Y%m%d}", 1
    while (selector := f"{base}{suffix if number == 1 else f'-{number}{suffix}'}") in taken:
        number += 1
    return selector


def _is_label(text: str) -> bool:
    plain = text.replace("-", "").replace("_", "")
    return plain.isascii() and plain.isalnum() and not text.startswith("-") and not text.endswith("-")
