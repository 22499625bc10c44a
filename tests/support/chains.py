"""Certificate chains: a root, an issuer below it, and hosts' certificates."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from mailer import clock
from mailer.policy.tls_dane import Tlsa

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Holder:
    """A certificate and its key; issuer: who signed it, None: itself."""

    certificate: x509.Certificate
    key: Key
    issuer: Holder | None = None

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain(self) -> list[Holder]:
        """Itself and its issuers, but for one that signed itself."""
        above = self.issuer.chain if self.issuer is not None and self.issuer.issuer is not None else []
        return [self, *above]

    @property
    def whole_chain(self) -> list[Holder]:
        return [self, *(self.issuer.whole_chain if self.issuer is not None else [])]

    def tlsa(self, usage: int, selector: int, matching: int) -> Tlsa:
        key = self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        octets = key if selector else self.der
        made = (octets, hashlib.sha256(octets).digest(), hashlib.sha512(octets).digest())
        return Tlsa(usage, selector, matching, made[matching])

    def served(self, folder: Path, *, whole: bool = False) -> ssl.SSLContext:
        """A server's context with this certificate and its issuers. whole: with the root."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(folder, whole=whole))
        return context

    def pem(self, folder: Path, *, whole: bool = False) -> Path:
        """A file with the key, the certificate and its issuers."""
        path = folder / f"{self.certificate.serial_number:x}.pem"
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = self.whole_chain if whole else self.chain
        path.write_bytes(key + b"".join(h.certificate.public_bytes(Encoding.PEM) for h in chain))
        return path


def trusting(*roots: Holder) -> ssl.SSLContext:
    """A client that trusts these and nobody else, and checks names."""
    text = "".join(root.certificate.public_bytes(Encoding.PEM).decode() for root in roots)
    return ssl.create_default_context(cadata=text)


def authority(
    name: str,
    issuer: Holder | None = None,
    *,
    path_length: int | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Holder:
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    return _made(name, issuer, [(basic, True), *extensions])


def host(
    *names: str,
    issuer: Holder | None = None,
    until: datetime | None = None,
    common_name: str = "host",
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Holder:
    """names: DNS names; without any there is only the common name."""
    made: list[tuple[x509.ExtensionType, bool]] = [*extensions]
    if names:
        made.append((x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False))
    return _made(common_name, issuer, made, until=until)


def _made(
    name: str,
    issuer: Holder | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    until: datetime | None = None,
) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    above = issuer.certificate if issuer is not None else None
    ends = until or clock.now() + timedelta(days=30)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(ends, clock.now()) - timedelta(days=7))  # some tests play in days past
        .not_valid_after(ends)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer is not None else key
    return Holder(builder.sign(signer, hashes.SHA256()), key, issuer)
