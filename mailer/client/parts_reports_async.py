"""What `AsyncMailer` can ask of what was reported: parts_reports.py with `await`, and nothing else."""

from __future__ import annotations

from datetime import date

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
from mailer.client.calls import reports
from mailer.client.parts_async import Part


class Reports(Part):
    """What receivers report about mail of a sending domain.

    since, until: days in UTC, both included; without them the last 30 days.
    """

    async def dmarc(
        self, domain: str, *, since: date | None = None, until: date | None = None
    ) -> DmarcSummary:
        """Who sent in the domain's name, what of it passed, and what receivers did with it."""
        return await self._wires.make(reports.dmarc(domain, since, until))

    async def dmarc_reports(
        self,
        domain: str,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int = 25,
        cursor: str | None = None,
    ) -> DmarcReportPage:
        """Aggregate reports, the latest to come first, without their records."""
        wanted = reports.dmarc_reports(domain, since, until, limit=limit, cursor=cursor)
        return await self._wires.make(wanted)

    async def dmarc_report(
        self, domain: str, report_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> DmarcReportInFull:
        """An aggregate report with a page of its records."""
        return await self._wires.make(reports.dmarc_report(domain, report_id, limit=limit, cursor=cursor))

    async def dmarc_failures(
        self,
        domain: str,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int = 25,
        cursor: str | None = None,
    ) -> DmarcFailurePage:
        """Single messages that failed DMARC."""
        wanted = reports.dmarc_failures(domain, since, until, limit=limit, cursor=cursor)
        return await self._wires.make(wanted)

    async def tls(self, domain: str, *, since: date | None = None, until: date | None = None) -> TlsSummary:
        """How TLS to the domain's hosts fared, that of its return path above all."""
        return await self._wires.make(reports.tls(domain, since, until))

    async def tls_reports(
        self,
        domain: str,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int = 25,
        cursor: str | None = None,
    ) -> TlsReportPage:
        """TLS reports, the latest to come first."""
        return await self._wires.make(reports.tls_reports(domain, since, until, limit=limit, cursor=cursor))

    async def tls_report(self, domain: str, report_id: str) -> TlsReportInFull:
        """A TLS report with its policies and failures."""
        return await self._wires.make(reports.tls_report(domain, report_id))

    async def complaints(
        self, domain: str, *, since: date | None = None, until: date | None = None
    ) -> ComplaintSummary:
        """Complaints by stream, source and reporter."""
        return await self._wires.make(reports.complaints(domain, since, until))

    async def complaint_reports(
        self,
        domain: str,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int = 25,
        cursor: str | None = None,
    ) -> ComplaintPage:
        """Complaints one by one, the latest to come first."""
        wanted = reports.complaint_reports(domain, since, until, limit=limit, cursor=cursor)
        return await self._wires.make(wanted)
