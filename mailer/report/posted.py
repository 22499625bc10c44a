"""Reports that came by HTTP: a stranger's word, kept like one that came in an unsigned mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from mailer.report.formats import Unparsable, tlsrpt, xarf
from mailer.report.keeping import Received, complaints, tls
from mailer.store import Store

_log = structlog.get_logger(__name__)
_BY_HTTP = Received(via="http")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedReports:
    """Each method answers why the report cannot be read; None: it was read, and kept if it is about us and
    new. Raises StoreUnavailable."""

    store: Store
    new_id: Callable[[], int]
    now: Callable[[], datetime]

    def tls(self, content: bytes) -> str | None:
        report = tlsrpt.parse(content)
        if isinstance(report, Unparsable):
            return report.why
        with self.store.write() as connection:
            is_kept = tls.keep(connection, report, received=_BY_HTTP, new_id=self.new_id, now=self.now())
        _log.info("reports.posted", kind="tls", kept=is_kept)
        return None

    def xarf(self, content: bytes) -> str | None:
        report = xarf.parse(content)
        if isinstance(report, Unparsable):
            return report.why
        if not report.is_on_mail:
            return "it is not about mail"
        with self.store.write() as connection:
            is_kept = complaints.keep(
                connection,
                complaints.of_xarf(report),
                received=_BY_HTTP,
                new_id=self.new_id,
                now=self.now(),
            )
        _log.info("reports.posted", kind="xarf", kept=is_kept)
        return None
