"""DANE for SMTP: which TLSA records count, and whether a certificate chain matches them (RFC 7672). Pure.

Only usages 2 and 3 count between mail servers (RFC 7672 §3.1.3). Usage 3 names the server's own certificate
or key; its names and dates say nothing then (§3.1.1). Usage 2 names an issuer in the chain that the server
sent: the chain up to it must hold, and the certificate must bear one of the names asked for (§3.1.2, §3.2.2).
An issuer whose whole certificate stands in the record (2 0 0) need not be in the chain. One of which only a
digest or a key stands there must be: it cannot be had from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

TRUST_ANCHOR, END_ENTITY = 2, 3  # DANE-TA, DANE-EE (RFC 7218 §2.1)
_MOST_CERTIFICATES = 10  # of a chain; more are not looked at
_WHOLE, _KEY = 0, 1  # selectors (RFC 7218 §2.2)
_EXACT = 0  # matching type (RFC 7218 §2.3)
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)
# What stands in a chain and is understood here; anything else that is critical makes a certificate useless
# (RFC 5280 §4.2). Name constraints are not evaluated, so a critical one counts among them.
_UNDERSTOOD = (
    x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName,
    x509.CertificatePolicies,
)  # fmt: skip


_E = TypeVar("_E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One record (RFC 6698 §2.1). data: certificate association data."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether a mail server can be authenticated by it (RFC 7672 §3.1.3)."""
        if self.usage not in (TRUST_ANCHOR, END_ENTITY) or self.selector not in (_WHOLE, _KEY):
            return False
        digest = _DIGESTS.get(self.matching)
        return self.matching == _EXACT if digest is None else len(self.data) == digest().digest_size

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a chain was not authenticated. result: the word of RFC 8460 §4.3."""

    result: str
    cause: str


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that count, in one order, without doubles."""
    return tuple(sorted({record for record in records if record.is_usable}))


def authenticate(
    chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str], now: datetime
) -> int | Mismatch:
    """The usage (2 or 3) by which the server is who it should be, or why it is not.

    chain    certificates as DER, the server's own first, as the server sent them
    records  usable ones, at least one
    names    reference identifiers, for usage 2 only (RFC 7672 §3.2.2); A-labels, lower case
    """
    if not chain:
        return Mismatch("validation-failure", "the server sent no certificate")
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        if any(_matches(record, leaf) for record in records if record.usage == END_ENTITY):
            return END_ENTITY
        anchors = [record for record in records if record.usage == TRUST_ANCHOR]
        if anchors:
            return _by_issuer(leaf, chain[1:], anchors, names, now)
    except _UNREADABLE as error:
        return Mismatch("validation-failure", f"a certificate cannot be read: {error}")
    return Mismatch("validation-failure", f"no TLSA record matches the certificate ({_listed(records)})")


def _by_issuer(
    leaf: x509.Certificate,
    sent: Sequence[bytes],
    anchors: Sequence[Tlsa],
    names: Sequence[str],
    now: datetime,
) -> int | Mismatch:
    issuers = [x509.load_der_x509_certificate(der) for der in sent[:_MOST_CERTIFICATES]]
    trusted = [c for c in issuers if any(_matches(record, c) for record in anchors)]
    trusted += [
        x509.load_der_x509_certificate(record.data)
        for record in anchors
        if (record.selector, record.matching) == (_WHOLE, _EXACT)
    ]
    if not trusted:
        return Mismatch("certificate-not-trusted", f"no issuer matches a TLSA record ({_listed(anchors)})")
    path = _path(leaf, issuers, trusted)
    if path is None:
        return Mismatch("certificate-not-trusted", "the chain does not lead to the issuer of the TLSA record")
    for certificate in path:
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return Mismatch("certificate-expired", f"out of date: {certificate.subject.rfc4514_string()}")
    if not bears_name(leaf, names):
        return Mismatch("certificate-host-mismatch", f"the certificate is for none of {', '.join(names)}")
    return TRUST_ANCHOR


def _path(
    leaf: x509.Certificate, issuers: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> list[x509.Certificate] | None:
    """The certificates from the leaf to a trusted one, each signed by the next; None: there is no way."""
    path = [leaf]
    if _has_unknown(leaf):
        return None
    while True:
        top, below = path[-1], len(path) - 1
        end = next((c for c in trusted if _signed_by(top, c, below)), None)
        if end is not None:
            return [*path, end]
        step = next((c for c in issuers if c not in path and _signed_by(top, c, below)), None)
        if step is None:
            return None
        path.append(step)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate, below: int) -> bool:
    """below: intermediates between the issuer and the leaf (RFC 5280 §4.2.1.9)."""
    if _has_unknown(issuer) or not _may_sign(issuer, below):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(issuer: x509.Certificate, below: int) -> bool:
    basic = _extension(issuer, x509.BasicConstraints)
    usage = _extension(issuer, x509.KeyUsage)
    if basic is None:
        return issuer.version is x509.Version.v1  # RFC 5280 §6.1.4 (k): known otherwise, by its record
    fits = basic.path_length is None or below <= basic.path_length
    return basic.ca and fits and (usage is None or usage.key_cert_sign)


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _has_unknown(certificate: x509.Certificate) -> bool:
    return any(e.critical and not isinstance(e.value, _UNDERSTOOD) for e in certificate.extensions)


def bears_name(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    """Whether it is for one of `names`: by DNS names, or without any by common name (RFC 7672 §3.2.2).

    "*" stands for the whole first label (RFC 6125 §6.4.3).
    """
    alternative = _extension(certificate, x509.SubjectAlternativeName)
    borne = list(alternative.get_values_for_type(x509.DNSName)) if alternative is not None else []
    if not borne:
        borne = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    lowered = {name.lower().rstrip(".") for name in borne}
    return any(name in lowered or f"*.{name.partition('.')[2]}" in lowered for name in names)


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == _WHOLE:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = _DIGESTS.get(record.matching)
    return record.data == (octets if digest is None else digest(octets).digest())


def _listed(records: Sequence[Tlsa]) -> str:
    return ", ".join(f"{r.usage} {r.selector} {r.matching}" for r in records)
