"""What a handshake proved, and why one failed (RFC 3207 §4, RFC 7672 §3, RFC 8461 §4.2)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

from mailer.policy.tls import Demand, Need, Proof
from mailer.relay.smtp.protocol import SessionProtocol

_DER = 2  # _ssl.ENCODING_DER
# OpenSSL's X509_V_ERR_* (openssl-verification-options(1ssl)) as RFC 8460 §4.3 names them.
_EXPIRED = {9, 10}  # not yet, no longer
_MISMATCH = {62, 64}  # host name, IP address
_NOT_TRUSTED = {2, 18, 19, 20, 21, 24, 27, 28}  # no way to an authority that we trust


class TlsNotProven(ConnectionError):
    """The host did not prove what is demanded of it. result: the word of RFC 8460 §4.3."""

    def __init__(self, result: str, cause: str) -> None:
        super().__init__(cause)
        self.result = result


def result_of(error: BaseException) -> str:
    """The word of RFC 8460 §4.3 for what ended a handshake."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TlsNotProven):
            return seen.result
        if isinstance(seen, ssl.SSLCertVerificationError):
            return _by_code(seen.verify_code)
        seen = seen.__cause__ or seen.__context__
    return "validation-failure"


def is_unproven(error: BaseException) -> bool:
    """Whether it was the host's own word or certificate that fell short, not the way to it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TlsNotProven | ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _by_code(code: int) -> str:
    if code in _MISMATCH:
        return "certificate-host-mismatch"
    if code in _EXPIRED:
        return "certificate-expired"
    return "certificate-not-trusted" if code in _NOT_TRUSTED else "validation-failure"


def chain_of(protocol: SessionProtocol) -> Sequence[bytes]:
    """The certificates that the peer sent, its own first, as DER; empty without TLS.

    ssl.SSLObject has had get_unverified_chain since Python 3.13; before, the object below it had the method
    already (3.10). Where neither has it only the peer's own certificate is to be had, so that usage 3 can be
    judged and usage 2 cannot: it then fails, and the mail waits.
    """
    tls = protocol.transport.get_extra_info("ssl_object") if protocol.transport is not None else None
    if tls is None:
        return ()
    whole = getattr(tls, "get_unverified_chain", None)
    if whole is None:
        whole = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", None)
    found = whole() if whole is not None else None
    if found:
        return [_der(certificate) for certificate in found]
    own = tls.getpeercert(binary_form=True)
    return [own] if own else ()


def _der(certificate: Any) -> bytes:
    """3.13 gives octets, the object below it certificates."""
    return certificate if isinstance(certificate, bytes) else bytes(certificate.public_bytes(_DER))


def result_with(proof: Proof, demand: Demand) -> str:
    """ "" where a session met `demand`; else the word of RFC 8460 §4.3 that says how it did not.

    The one place for sessions that carry mail in spite of it.
    """
    if demand.fault:
        return demand.fault
    if not proof.is_encrypted:
        return proof.failure or "starttls-not-supported"
    if demand.need is Need.VERIFIED and not proof.is_verified:
        return proof.failure or "validation-failure"
    return ""
