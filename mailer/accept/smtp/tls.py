"""The certificate of the SMTP door: the operator's own, or one made at first start."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from mailer.listener.certificate import server_context

_log = structlog.get_logger(__name__)


class OwnCertificate:
    """Read anew whenever a file changes; while the new one cannot be read, the old one stays."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError: a file cannot be read, or (ssl.SSLError) the two do not fit together."""
        self._files = (certificate, key)
        self._stamp = self._look()
        self._context = self._load()

    def __call__(self) -> ssl.SSLContext:
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._context, self._stamp = self._load(), stamp
                _log.info("smtp.certificate_reloaded")
        except OSError as error:
            _log.error("smtp.certificate_unreadable", error=str(error))
        return self._context

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        stats = [path.stat() for path in self._files]
        return tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 §4, §5
        context.load_cert_chain(*self._files)
        return context


def made_certificate(folder: Path, host: str, now: datetime) -> Callable[[], ssl.SSLContext]:
    """One that nobody vouches for, kept in `folder` from the first start on."""
    context = server_context(folder, host, now, name="smtp")
    return lambda: context
