"""Reports on authentication and TLS by their kind: read outside a transaction, kept within one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import assert_never

from sqlalchemy import Connection

from mailer.report.formats import Unparsable, dmarc, dmarc_failure, tlsrpt
from mailer.report.formats.dmarc import AggregateReport
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsReport
from mailer.report.keeping import dmarc as keeping_dmarc
from mailer.report.keeping import failures as keeping_failures
from mailer.report.keeping import tls as keeping_tls
from mailer.report.keeping.failures import Matched
from mailer.report.keeping.received import Received

Report = AggregateReport | FailureReport | TlsReport

_PARSERS: Mapping[str, Callable[[bytes, str | None], Report | Unparsable]] = {
    "dmarc-aggregate": dmarc.parse,
    "dmarc-failure": dmarc_failure.parse,
    "tls-rpt": tlsrpt.parse,
}


def read(kind: str, content: bytes, media_type: str | None = None) -> Report | Unparsable:
    """It may take a second: hold no lock.

    kind: dmarc-aggregate, dmarc-failure (content: the whole mail) or tls-rpt
    """
    return _PARSERS[kind](content, media_type)


def keep(
    connection: Connection,
    report: Report,
    *,
    received: Received,
    matched: Matched | None = None,
    new_id: Callable[[], int],
    now: datetime,
) -> bool:
    """Kept, if it is about a domain of ours; whether it was new. matched: for a failure report."""
    match report:
        case AggregateReport():
            return keeping_dmarc.keep(connection, report, received=received, new_id=new_id, now=now)
        case FailureReport():
            return keeping_failures.keep(
                connection, report, received=received, matched=matched, new_id=new_id, now=now
            )
        case TlsReport():
            return keeping_tls.keep(connection, report, received=received, new_id=new_id, now=now)
        case _:
            assert_never(report)
