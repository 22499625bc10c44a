"""The peer's chain, on every Python, and the words for what failed (RFC 8460 §4.3)."""

from __future__ import annotations

import ssl
from typing import Any, cast

import pytest

from mailer import clock
from mailer.policy.tls_dane import Mismatch, authenticate
from mailer.relay.smtp.handshake import TlsNotProven, chain_of, result_of
from mailer.relay.smtp.protocol import SessionProtocol
from tests.support.chains import authority, host

ROOT = authority("root")
LEAF = host("mx.example.net", issuer=ROOT)
CHAIN = [LEAF.der, ROOT.der]


class Certificate:
    """As the object below ssl.SSLObject has it."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, form: int) -> bytes:
        assert form == 2  # DER
        return self._der


class Old:
    """ssl.SSLObject without the chain. below: what it is made on."""

    def __init__(self, below: object) -> None:
        self._sslobj = below

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        return LEAF.der


class Below:
    def get_unverified_chain(self) -> list[Certificate]:
        return [Certificate(der) for der in CHAIN]


class New(Old):
    def get_unverified_chain(self) -> list[bytes]:
        return CHAIN


class Protocol:
    """A protocol whose transport has this TLS."""

    def __init__(self, tls: object) -> None:
        self.transport = self
        self._tls = tls

    def get_extra_info(self, name: str) -> object:
        return self._tls


def chain(tls: object) -> list[bytes]:
    return list(chain_of(cast(SessionProtocol, Protocol(tls))))


@pytest.mark.parametrize("tls", [New(None), Old(Below())])
def test_the_whole_chain_is_found(tls: object) -> None:
    assert chain(tls) == CHAIN


def test_without_tls_there_is_none() -> None:
    assert chain(None) == []


def test_where_only_the_own_certificate_is_shown_usage_three_can_be_judged_and_usage_two_fails() -> None:
    names = ("mx.example.net",)
    found = chain(Old(object()))
    by_issuer = authenticate(found, [ROOT.tlsa(2, 0, 1)], names, clock.now())

    assert authenticate(found, [LEAF.tlsa(3, 1, 1)], names, clock.now()) == 3
    assert isinstance(by_issuer, Mismatch)
    assert by_issuer.result == "certificate-not-trusted"


def _verification(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cast(Any, error).verify_code = code
    return error


def _wrapped(inner: Exception) -> Exception:
    outer = ConnectionError("handshake failed")
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (_verification(10), "certificate-expired"),
        (_verification(62), "certificate-host-mismatch"),
        (_verification(18), "certificate-not-trusted"),
        (_verification(1), "validation-failure"),
        (_wrapped(_verification(20)), "certificate-not-trusted"),
        (TlsNotProven("tlsa-invalid", "x"), "tlsa-invalid"),
        (TimeoutError(), "validation-failure"),
    ],
)
def test_the_word_for_what_failed(error: Exception, word: str) -> None:
    assert result_of(error) == word
