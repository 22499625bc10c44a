"""What receivers report about mail of a sending domain."""

from __future__ import annotations

from datetime import date
from typing import TypeVar

from mailer.client.answers.reports import (
    ComplaintPage,
    ComplaintSummary,
    DmarcFailurePage,
    DmarcReportInFull,
    DmarcReportPage,
    DmarcSummary,
    TlsReportInFull,
    TlsReportPage,
    TlsSummary,
)
from mailer.client.call import Call, pairs

T = TypeVar("T")


def dmarc(domain: str, since: date | None, until: date | None) -> Call[DmarcSummary]:
    return _asked(DmarcSummary, f"{domain}/dmarc", since, until)


def dmarc_reports(
    domain: str, since: date | None, until: date | None, *, limit: int, cursor: str | None
) -> Call[DmarcReportPage]:
    return _asked(DmarcReportPage, f"{domain}/dmarc/reports", since, until, limit=limit, cursor=cursor)


def dmarc_report(domain: str, report_id: str, *, limit: int, cursor: str | None) -> Call[DmarcReportInFull]:
    path = f"{domain}/dmarc/reports/{report_id}"
    return _asked(DmarcReportInFull, path, None, None, limit=limit, cursor=cursor)


def dmarc_failures(
    domain: str, since: date | None, until: date | None, *, limit: int, cursor: str | None
) -> Call[DmarcFailurePage]:
    return _asked(DmarcFailurePage, f"{domain}/dmarc/failures", since, until, limit=limit, cursor=cursor)


def tls(domain: str, since: date | None, until: date | None) -> Call[TlsSummary]:
    return _asked(TlsSummary, f"{domain}/tls", since, until)


def tls_reports(
    domain: str, since: date | None, until: date | None, *, limit: int, cursor: str | None
) -> Call[TlsReportPage]:
    return _asked(TlsReportPage, f"{domain}/tls/reports", since, until, limit=limit, cursor=cursor)


def tls_report(domain: str, report_id: str) -> Call[TlsReportInFull]:
    return _asked(TlsReportInFull, f"{domain}/tls/reports/{report_id}", None, None)


def complaints(domain: str, since: date | None, until: date | None) -> Call[ComplaintSummary]:
    return _asked(ComplaintSummary, f"{domain}/complaints", since, until)


def complaint_reports(
    domain: str, since: date | None, until: date | None, *, limit: int, cursor: str | None
) -> Call[ComplaintPage]:
    return _asked(ComplaintPage, f"{domain}/complaints/reports", since, until, limit=limit, cursor=cursor)


def _asked(
    answer: type[T], path: str, since: date | None, until: date | None, **page: int | str | None
) -> Call[T]:
    given: dict[str, object] = {"from": since, "to": until, **page}
    params = tuple(pairs(**given))
    return Call(method="GET", path=f"/v1/domains/{path}", answer=answer, params=params, repeatable=True)
