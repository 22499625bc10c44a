"""Which signature makes a report good: one by a domain on the operator's list, that holds, over all of it."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailer.report.trust import Trust

REPORT = (
    b"From: fbl@feedback.example\r\nTo: complaints@x.example\r\nSubject: complaint\r\n\r\nIt is spam.\r\n"
)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(key: rsa.RSAPrivateKey, domain: bytes, content: bytes = REPORT, *, length: bool = False) -> bytes:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return bytes(dkim.sign(content, b"s1", domain, pem, length=length)) + content


def records(key: rsa.RSAPrivateKey, asked: list[bytes]):  # type: ignore[no-untyped-def]
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def txt(name: bytes) -> bytes | None:
        asked.append(name)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    return txt


def test_a_listed_domain_that_signed_is_trusted_and_no_other(key: rsa.RSAPrivateKey) -> None:
    asked: list[bytes] = []
    trust = Trust(["feedback.example"], records(key, asked))

    assert trust(signed(key, b"feedback.example"))
    assert trust(signed(key, b"Feedback.Example"))
    assert not trust(signed(key, b"other.example"))
    assert not trust(signed(key, b"sub.feedback.example"))
    assert not trust(REPORT)
    assert all(name.lower().startswith(b"s1._domainkey.feedback.example") for name in asked)


def test_a_trusted_signature_beside_another_one_is_found(key: rsa.RSAPrivateKey) -> None:
    trust = Trust(["feedback.example"], records(key, []))
    both = signed(key, b"other.example", signed(key, b"feedback.example"))
    assert trust(both)


def test_a_change_or_another_key_breaks_it(key: rsa.RSAPrivateKey) -> None:
    trust = Trust(["feedback.example"], records(key, []))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    assert not trust(signed(key, b"feedback.example").replace(b"spam", b"fine"))
    assert not trust(signed(other, b"feedback.example"))


def test_a_signature_over_a_part_only_proves_nothing(key: rsa.RSAPrivateKey) -> None:
    """RFC 6376 §8.2."""
    trust = Trust(["feedback.example"], records(key, []))
    assert not trust(signed(key, b"feedback.example", length=True) + b"and more\r\n")
    assert not trust(signed(key, b"feedback.example", length=True))


def test_nobody_is_asked_where_nobody_is_listed(key: rsa.RSAPrivateKey) -> None:
    asked: list[bytes] = []
    assert not Trust([], records(key, asked))(signed(key, b"feedback.example"))
    assert asked == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00", b"DKIM-Signature: v=1\r\n\r\n", b"DKIM-Signature: d=feedback.example; =;;\r\n\r\nx",
        b"DKIM-Signature: " + b"a" * 100_000 + b"\r\n\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=feedback.example; s=s1; h=from; bh=x; b=y\r\nFrom: a\r\n\r\n",
    ],
)  # fmt: skip
def test_octets_of_a_stranger_prove_nothing_and_break_nothing(key: rsa.RSAPrivateKey, content: bytes) -> None:
    assert not Trust(["feedback.example"], records(key, []))(content)


def test_a_broken_signature_hides_no_good_one(key: rsa.RSAPrivateKey) -> None:
    trust = Trust(["feedback.example"], records(key, []))
    good = signed(key, b"feedback.example")
    assert trust(b"DKIM-Signature: v=1; a=b; d=feedback.example; c\r\n" + good)


def test_dns_that_fails_is_no_proof(key: rsa.RSAPrivateKey) -> None:
    assert not Trust(["feedback.example"], lambda name: None)(signed(key, b"feedback.example"))
