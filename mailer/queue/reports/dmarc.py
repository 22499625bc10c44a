"""DMARC aggregate reports: who sent in a domain's name, and what of it passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select

from mailer.queue.reports.span import MOST_GROUPS, Page, Span, day, day_of, own_addresses, page
from mailer.store import Store
from mailer.store.tables import dmarc_record, dmarc_report

_R = dmarc_record.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Messages: aligned ones passed DMARC, by one mechanism or both. The last three by what was done."""

    messages: int = 0
    aligned: int = 0
    dkim_aligned: int = 0
    spf_aligned: int = 0
    quarantined: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """source_ip: empty: the report had no address. is_ours: an egress IP of this installation."""

    source_ip: str
    is_ours: bool
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Messages with the same verdict. disposition: none, quarantine, reject, pass; empty: other."""

    dkim_aligned: bool
    spf_aligned: bool
    disposition: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    organization: str
    reports: int
    messages: int
    aligned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    day: date
    messages: int
    aligned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """by_source, by_reporter: those with the most messages."""

    reports: int
    totals: Tally
    by_source: Sequence[Source]
    by_result: Sequence[Result]
    by_reporter: Sequence[Reporter]
    by_day: Sequence[Day]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report without its records; names as in the table."""

    id: int
    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    policy: Mapping[str, Any]
    messages: int
    aligned: int
    records: int
    unreadable: int
    via: str
    signed_by: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    number: int
    source_ip: str
    messages: int
    disposition: str
    dkim_aligned: bool
    spf_aligned: bool
    header_from: str
    envelope_from: str
    envelope_to: str
    reasons: Sequence[Mapping[str, str]]
    dkim: Sequence[Mapping[str, str]]
    spf: Sequence[Mapping[str, str]]


def summary(store: Store, span: Span) -> Summary:
    with store.read() as connection:
        results = _results(connection, span)
        return Summary(
            reports=_reports(connection, span),
            totals=_total(results),
            by_source=_sources(connection, span),
            by_result=results,
            by_reporter=_reporters(connection, span),
            by_day=_days(connection, span),
        )


def reports(store: Store, span: Span, *, limit: int, position: int | None = None) -> Page:
    """Report by report, the latest to come first."""
    d = dmarc_report.c
    wanted = select(*[d[name] for name in Report.__slots__]).where(*span.covers(d.domain_id, d.begins_at))
    with store.read() as connection:
        found = page(connection, wanted, d.id, limit=limit, position=position)
    return Page([_report(row) for row in found.found], found.position)


def one(store: Store, domain_id: int, report_id: int) -> Report | None:
    d = dmarc_report.c
    wanted = select(*[d[name] for name in Report.__slots__]).where(
        d.id == report_id, d.domain_id == domain_id
    )
    with store.read() as connection:
        row = connection.execute(wanted).first()
    return None if row is None else _report(row)


def records(store: Store, report_id: int, *, limit: int, after: int = -1) -> Sequence[Record]:
    """Of one report, from the record after `after` on."""
    wanted = (
        select(dmarc_record)
        .where(_R.report_id == report_id, _R.number > after)
        .order_by(_R.number)
        .limit(limit)
    )
    with store.read() as connection:
        return [_record(row) for row in connection.execute(wanted)]


def _report(row: Any) -> Report:
    values = dict(row._mapping)
    return Report(**values | {"signed_by": values["signed_by"] or None})


def _record(row: Any) -> Record:
    plain = [name for name in Record.__slots__ if name not in ("reasons", "dkim", "spf")]
    return Record(**{name: getattr(row, name) for name in plain}, **row.details)


def _sum(of: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((of, _R.messages), else_=0))


_ALIGNED = or_(_R.dkim_aligned, _R.spf_aligned)
_TALLY = (
    func.sum(_R.messages).label("messages"),
    _sum(_ALIGNED).label("aligned"),
    _sum(_R.dkim_aligned).label("dkim_aligned"),
    _sum(_R.spf_aligned).label("spf_aligned"),
    _sum(_R.disposition == "quarantine").label("quarantined"),
    _sum(_R.disposition == "reject").label("rejected"),
)


def _reports(connection: Connection, span: Span) -> int:
    d = dmarc_report.c
    counted = select(func.count()).where(*span.covers(d.domain_id, d.begins_at))
    return connection.execute(counted).scalar_one()


def _total(results: Sequence[Result]) -> Tally:
    def of(wanted: Sequence[bool]) -> int:
        return sum(r.messages for r, is_one in zip(results, wanted, strict=True) if is_one)

    return Tally(
        messages=sum(r.messages for r in results),
        aligned=of([r.dkim_aligned or r.spf_aligned for r in results]),
        dkim_aligned=of([r.dkim_aligned for r in results]),
        spf_aligned=of([r.spf_aligned for r in results]),
        quarantined=of([r.disposition == "quarantine" for r in results]),
        rejected=of([r.disposition == "reject" for r in results]),
    )


def _sources(connection: Connection, span: Span) -> list[Source]:
    ours = own_addresses(connection)
    grouped = (
        select(_R.source_ip, *_TALLY)
        .where(*span.covers(_R.domain_id, _R.begins_at))
        .group_by(_R.source_ip)
        .order_by(func.sum(_R.messages).desc(), _R.source_ip)
        .limit(MOST_GROUPS)
    )
    return [
        Source(
            source_ip=row.source_ip,
            is_ours=row.source_ip in ours,
            tally=Tally(**{name: int(getattr(row, name)) for name in Tally.__slots__}),
        )
        for row in connection.execute(grouped)
    ]


def _results(connection: Connection, span: Span) -> list[Result]:
    key = (_R.dkim_aligned, _R.spf_aligned, _R.disposition)
    grouped = (
        select(*key, func.sum(_R.messages).label("messages"))
        .where(*span.covers(_R.domain_id, _R.begins_at))
        .group_by(*key)
        .order_by(func.sum(_R.messages).desc(), *key)
    )
    return [
        Result(
            dkim_aligned=row.dkim_aligned,
            spf_aligned=row.spf_aligned,
            disposition=row.disposition,
            messages=int(row.messages),
        )
        for row in connection.execute(grouped)
    ]


def _reporters(connection: Connection, span: Span) -> list[Reporter]:
    d = dmarc_report.c
    grouped = (
        select(
            d.organization,
            func.count().label("reports"),
            func.sum(d.messages).label("messages"),
            func.sum(d.aligned).label("aligned"),
        )
        .where(*span.covers(d.domain_id, d.begins_at))
        .group_by(d.organization)
        .order_by(func.sum(d.messages).desc(), d.organization)
        .limit(MOST_GROUPS)
    )
    return [
        Reporter(
            organization=row.organization,
            reports=row.reports,
            messages=int(row.messages),
            aligned=int(row.aligned),
        )
        for row in connection.execute(grouped)
    ]


def _days(connection: Connection, span: Span) -> list[Day]:
    number = day_of(_R.begins_at).label("number")
    grouped = (
        select(number, func.sum(_R.messages).label("messages"), _sum(_ALIGNED).label("aligned"))
        .where(*span.covers(_R.domain_id, _R.begins_at))
        .group_by(number)
        .order_by(number)
    )
    return [
        Day(day=day(int(row.number)), messages=int(row.messages), aligned=int(row.aligned))
        for row in connection.execute(grouped)
    ]
