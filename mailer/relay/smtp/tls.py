"""TLS between hosts: contexts made once, and the memory of who speaks it.

Opportunistic TLS keeps out those who only listen, so a bad certificate is better than clear text
(RFC 7435 §3). It does not keep out those who strip STARTTLS; the memory does, for hosts that were seen
with TLS in the last 30 days.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from typing import Protocol

REMEMBERED = timedelta(days=30)
# A host whose handshake failed is spoken to in clear for this long (if it was not seen with TLS); then
# STARTTLS gets another chance, at the price of one deferral if it fails again.
FAILURE_HOLDS = timedelta(days=1)
# For so long a host that handled BDAT badly gets its content by DATA (mailer/relay/smtp/chunking.py).
BDAT_FAILURE_HOLDS = timedelta(days=1)


class TlsContexts:
    """One context per policy, shared by all sessions: making one that loads the CA bundle takes 30 ms."""

    def __init__(self, verified: ssl.SSLContext | None = None) -> None:
        """verified: what `required` and `implicit` routes use; None: the system's CA bundle."""
        self._verified = verified
        self._any: ssl.SSLContext | None = None

    @property
    def verified(self) -> ssl.SSLContext:
        """Certificate and host name must be right (RFC 9325 §6.1)."""
        if self._verified is None:
            self._verified = ssl.create_default_context()
            self._verified.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._verified

    @property
    def any_certificate(self) -> ssl.SSLContext:
        """Any certificate will do; TLS 1.2 at least (RFC 8996 §4, RFC 9325 §3.1.1)."""
        if self._any is None:
            self._any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._any.check_hostname = False
            self._any.verify_mode = ssl.CERT_NONE
            self._any.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._any


class TlsMemory(Protocol):
    """What is known of hosts and TLS, and of BDAT.

    Called on the event loop: none of these may wait for anything.
    """

    def seen_with_tls(self, host: str, now: datetime) -> bool:
        """Whether a handshake with this host succeeded in the last 30 days."""
        ...

    def failed_before(self, host: str, now: datetime) -> bool:
        """Whether one failed lately, so that mail was deferred for it already."""
        ...

    def note_tls(self, host: str, now: datetime) -> None: ...

    def note_failure(self, host: str, now: datetime) -> None: ...

    def bdat_failed_before(self, host: str, now: datetime) -> bool:
        """Whether this host handled BDAT badly within a day."""
        ...

    def note_bdat_failure(self, host: str, now: datetime) -> None: ...


class RecentTls:
    """A memory that lasts as long as the process, of the hosts last spoken to."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._seen: dict[str, datetime] = {}
        self._failed: dict[str, datetime] = {}
        self._bdat_failed: dict[str, datetime] = {}

    def seen_with_tls(self, host: str, now: datetime) -> bool:
        at = self._seen.get(host)
        return at is not None and now - at < REMEMBERED

    def failed_before(self, host: str, now: datetime) -> bool:
        at = self._failed.get(host)
        return at is not None and now - at < FAILURE_HOLDS

    def note_tls(self, host: str, now: datetime) -> None:
        self._failed.pop(host, None)
        self._note(self._seen, host, now)

    def note_failure(self, host: str, now: datetime) -> None:
        self._note(self._failed, host, now)

    def bdat_failed_before(self, host: str, now: datetime) -> bool:
        at = self._bdat_failed.get(host)
        return at is not None and now - at < BDAT_FAILURE_HOLDS

    def note_bdat_failure(self, host: str, now: datetime) -> None:
        self._note(self._bdat_failed, host, now)

    def _note(self, book: dict[str, datetime], host: str, now: datetime) -> None:
        book.pop(host, None)  # so that it moves to the young end
        while len(book) >= self._most:
            del book[next(iter(book))]
        book[host] = now
