"""/v1/domains/{domain}/dmarc, /tls, /complaints: what receivers report about mail of a sending domain.

A tenant asks about its own domains, revoked ones among them: reports come late. All else is 404.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BeforeValidator, Field, WithJsonSchema

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import cursors
from mailer.accept.http import reported_shapes as shapes
from mailer.accept.http.asked import Asked, Digits, NotGiven, id_path, number_of, once, position_of, refused
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.reading import SCOPE
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import domains
from mailer.queue.reports import complaints, dmarc, failures, tls
from mailer.queue.reports.span import Page, Span
from mailer.store import Store

_OF_DOMAIN = "/domains/{domain}"
_USUAL_DAYS = 30
_MOST_DAYS = 800
_MOST = 100
_MOST_RECORDS = 1000
_CURSOR_CHARS = 64
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_YEARS = range(1970, 2200)


def _day(value: object) -> object:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day as in 2026-03-09")
    return value


Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-03-09"]}),
]


class SpanQuery(Asked):
    """Days in UTC, both included; a report counts on the day that its time begins."""

    from_: Day | NotGiven = Field(None, alias="from", description="Without it: 30 days in all")
    to: Day | NotGiven = Field(None, description="Without it: today")


class PageQuery(SpanQuery):
    limit: Digits = Field(25, ge=1, le=_MOST, description="Most reports in the answer")
    cursor: str | NotGiven = Field(
        None, min_length=1, max_length=_CURSOR_CHARS, description="`next_cursor` of the page before"
    )


class RecordsQuery(Asked):
    limit: Digits = Field(100, ge=1, le=_MOST_RECORDS, description="Most records in the answer")
    cursor: str | NotGiven = Field(
        None, min_length=1, max_length=_CURSOR_CHARS, description="`next_cursor` of the page before"
    )


DomainPath = Annotated[
    str, Path(description="A sending domain of the tenant", json_schema_extra={"format": "domain"})
]
DmarcReportPath = Annotated[str, id_path("dmr", "a DMARC report")]
TlsReportPath = Annotated[str, id_path("tlr", "a TLS report")]


def router(store: Store, authenticator: Authenticator, *, now: Callable[[], datetime]) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be read."""
    routes = APIRouter(prefix="/v1", tags=["reports"])
    desk = _Desk(store, authenticator, now)
    _dmarc_routes(routes, desk)
    _dmarc_report_route(routes, desk)
    _tls_routes(routes, desk)
    _complaint_routes(routes, desk)
    return routes


@dataclass(frozen=True, slots=True)
class _Desk:
    store: Store
    authenticator: Authenticator
    now: Callable[[], datetime]

    def reader(self, query: type[Asked]) -> Any:
        return Depends(Caller(self.authenticator, SCOPE, once=once(query)))

    def domain(self, identity: Identity, name: str) -> int:
        found = domains.owned(self.store, identity.tenant_id, name)
        if found is None:
            raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such sending domain")
        return found

    def span(self, identity: Identity, name: str, query: SpanQuery) -> Span:
        domain_id = self.domain(identity, name)
        last = query.to or self.now().date()
        first = query.from_ or max(last - timedelta(days=_USUAL_DAYS - 1), date(1970, 1, 1))
        if first.year not in _YEARS or last.year not in _YEARS:
            raise refused("to" if first.year in _YEARS else "from", "is no day that reports tell of")
        if first > last:
            raise refused("from", "is after the last day asked for")
        if (last - first).days >= _MOST_DAYS:
            raise refused("from", f"is more than {_MOST_DAYS} days before the last day asked for")
        return Span(domain_id, first, last)


@dataclass(frozen=True, slots=True)
class _Paging:
    """list_name: of the list, so that its cursors are good for it alone."""

    list_name: str
    span: Span
    query: PageQuery

    @property
    def question(self) -> str:
        said = [self.list_name, self.span.domain_id, str(self.query.from_), str(self.query.to)]
        return json.dumps(said)

    @property
    def place(self) -> dict[str, Any]:
        return {"limit": self.query.limit, "position": position_of(self.query.cursor, self.question)}

    def following(self, found: Page) -> str | None:
        return None if found.position is None else cursors.cursor(found.position, self.question)


def _dmarc_routes(routes: APIRouter, desk: _Desk) -> None:
    store, base = desk.store, f"{_OF_DOMAIN}/dmarc"
    of_span, of_page = desk.reader(SpanQuery), desk.reader(PageQuery)

    @routes.get(base, response_model=shapes.DmarcSummary, summary="Add up DMARC reports")
    def get_dmarc_summary(
        domain: DomainPath,
        query: Annotated[SpanQuery, Query()],
        identity: Identity = of_span,
    ) -> Response:
        """Who sent mail in the domain's name, what of it passed DMARC, and what receivers did with it."""
        found = dmarc.summary(store, desk.span(identity, domain, query))
        return as_json(shapes.DmarcSummary.model_validate(found))

    @routes.get(f"{base}/reports", response_model=shapes.DmarcReportPage, summary="List DMARC reports")
    def list_dmarc_reports(
        domain: DomainPath,
        query: Annotated[PageQuery, Query()],
        identity: Identity = of_page,
    ) -> Response:
        """Aggregate reports one by one, without their records."""
        paging = _Paging("dmarc", desk.span(identity, domain, query), query)
        found = dmarc.reports(store, paging.span, **paging.place)
        page = {"reports": found.found, "next_cursor": paging.following(found)}
        return as_json(shapes.DmarcReportPage.model_validate(page))

    @routes.get(
        f"{base}/failures", response_model=shapes.DmarcFailurePage, summary="List DMARC failure reports"
    )
    def list_dmarc_failures(
        domain: DomainPath,
        query: Annotated[PageQuery, Query()],
        identity: Identity = of_page,
    ) -> Response:
        """Single messages that failed DMARC (RFC 6591); they count on the day that they arrived there."""
        paging = _Paging("failures", desk.span(identity, domain, query), query)
        found = failures.failures(store, paging.span, **paging.place)
        page = {"failures": found.found, "next_cursor": paging.following(found)}
        return as_json(shapes.DmarcFailurePage.model_validate(page))


def _dmarc_report_route(routes: APIRouter, desk: _Desk) -> None:
    store, of_records = desk.store, desk.reader(RecordsQuery)

    @routes.get(
        f"{_OF_DOMAIN}/dmarc/reports/{{report_id}}",
        response_model=shapes.DmarcReportInFull,
        summary="Get a DMARC report",
    )
    def get_dmarc_report(
        domain: DomainPath,
        report_id: DmarcReportPath,
        query: Annotated[RecordsQuery, Query()],
        identity: Identity = of_records,
    ) -> Response:
        """An aggregate report with its records, page by page."""
        number = number_of("dmr", report_id, what="report")
        report = dmarc.one(store, desk.domain(identity, domain), number)
        if report is None:
            raise SubmissionError(Fault.NOT_FOUND, "the domain has no such report")
        question = json.dumps(["records", number])
        first = position_of(query.cursor, question) or 0
        records = dmarc.records(store, number, limit=query.limit, after=first - 1)
        last = records[-1].number + 1 if records else report.records
        following = cursors.cursor(last, question) if last < report.records else None
        whole = {"report": report, "records": records, "next_cursor": following}
        return as_json(shapes.DmarcReportInFull.model_validate(whole))


def _tls_routes(routes: APIRouter, desk: _Desk) -> None:
    store, base = desk.store, f"{_OF_DOMAIN}/tls"
    of_span, of_page, of_one = desk.reader(SpanQuery), desk.reader(PageQuery), desk.reader(Asked)

    @routes.get(base, response_model=shapes.TlsSummary, summary="Add up TLS reports")
    def get_tls_summary(
        domain: DomainPath,
        query: Annotated[SpanQuery, Query()],
        identity: Identity = of_span,
    ) -> Response:
        """How senders fared with TLS to the domain's hosts, that of its return path above all (RFC 8460)."""
        found = tls.summary(store, desk.span(identity, domain, query))
        return as_json(shapes.TlsSummary.model_validate(found))

    @routes.get(f"{base}/reports", response_model=shapes.TlsReportPage, summary="List TLS reports")
    def list_tls_reports(
        domain: DomainPath,
        query: Annotated[PageQuery, Query()],
        identity: Identity = of_page,
    ) -> Response:
        """TLS reports one by one."""
        paging = _Paging("tls", desk.span(identity, domain, query), query)
        found = tls.reports(store, paging.span, **paging.place)
        page = {"reports": found.found, "next_cursor": paging.following(found)}
        return as_json(shapes.TlsReportPage.model_validate(page))

    @routes.get(
        f"{base}/reports/{{report_id}}", response_model=shapes.TlsReportInFull, summary="Get a TLS report"
    )
    def get_tls_report(domain: DomainPath, report_id: TlsReportPath, identity: Identity = of_one) -> Response:
        """A TLS report with its policies and failures."""
        found = tls.one(store, desk.domain(identity, domain), number_of("tlr", report_id, what="report"))
        if found is None:
            raise SubmissionError(Fault.NOT_FOUND, "the domain has no such report")
        whole = {"report": found[0], "policies": found[1]}
        return as_json(shapes.TlsReportInFull.model_validate(whole))


def _complaint_routes(routes: APIRouter, desk: _Desk) -> None:
    store, base = desk.store, f"{_OF_DOMAIN}/complaints"
    of_span, of_page = desk.reader(SpanQuery), desk.reader(PageQuery)

    @routes.get(base, response_model=shapes.ComplaintSummary, summary="Add up complaints")
    def get_complaint_summary(
        domain: DomainPath,
        query: Annotated[SpanQuery, Query()],
        identity: Identity = of_span,
    ) -> Response:
        """Complaints by stream, source and reporter; they count on the day that the mail arrived there."""
        found = complaints.summary(store, desk.span(identity, domain, query))
        return as_json(shapes.ComplaintSummary.model_validate(found))

    @routes.get(f"{base}/reports", response_model=shapes.ComplaintPage, summary="List complaints")
    def list_complaints(
        domain: DomainPath,
        query: Annotated[PageQuery, Query()],
        identity: Identity = of_page,
    ) -> Response:
        """Complaints one by one."""
        paging = _Paging("complaints", desk.span(identity, domain, query), query)
        found = complaints.complaints(store, paging.span, **paging.place)
        page = {"complaints": found.found, "next_cursor": paging.following(found)}
        return as_json(shapes.ComplaintPage.model_validate(page))
