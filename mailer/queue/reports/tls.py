"""TLS reports of others: how sessions to the hosts of a domain, or of its return path, fared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from mailer.queue.reports.span import MOST_GROUPS, Page, Span, day, day_of, page
from mailer.store import Store
from mailer.store.tables import tls_failure, tls_policy, tls_report

_P = tls_policy.c
_F = tls_failure.c
_MOST_FAILURES = 1000  # of one report that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTally:
    """Sessions under one kind of policy. type: sts, tlsa, no-policy-found; empty: other."""

    type: str
    policy_domain: str
    successful: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTally:
    """result: a word of RFC 8460 §4.3, or the reporter's own."""

    result: str
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTally:
    """Failed sessions of one sending host; sending_ip empty: not said."""

    sending_ip: str
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    organization: str
    reports: int
    successful: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    day: date
    successful: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    reports: int
    successful: int
    failed: int
    by_policy: Sequence[PolicyTally]
    by_result: Sequence[FailureTally]
    by_source: Sequence[SourceTally]
    by_reporter: Sequence[Reporter]
    by_day: Sequence[Day]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report without what it says of single policies; names as in the table."""

    id: int
    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    successful: int
    failed: int
    via: str
    signed_by: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    result: str
    sessions: int
    sending_ip: str
    receiving_host: str
    receiving_ip: str
    reason_code: str
    more: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    type: str
    policy_domain: str
    lines: Sequence[str]
    hosts: Sequence[str]
    successful: int
    failed: int
    failures: Sequence[Failure]


def summary(store: Store, span: Span) -> Summary:
    with store.read() as connection:
        reporters = _reporters(connection, span)
        reports, successful, failed = connection.execute(
            select(func.count(), func.sum(tls_report.c.successful), func.sum(tls_report.c.failed)).where(
                *span.covers(tls_report.c.domain_id, tls_report.c.begins_at)
            )
        ).one()
        return Summary(
            reports=reports,
            successful=int(successful or 0),
            failed=int(failed or 0),
            by_policy=_policies(connection, span),
            by_result=[
                FailureTally(result=name, sessions=n) for name, n in _failed(connection, span, "result")
            ],
            by_source=[
                SourceTally(sending_ip=name, sessions=n)
                for name, n in _failed(connection, span, "sending_ip")
            ],
            by_reporter=reporters,
            by_day=_days(connection, span),
        )


def reports(store: Store, span: Span, *, limit: int, position: int | None = None) -> Page:
    """Report by report, the latest to come first."""
    t = tls_report.c
    wanted = select(*[t[name] for name in Report.__slots__]).where(*span.covers(t.domain_id, t.begins_at))
    with store.read() as connection:
        found = page(connection, wanted, t.id, limit=limit, position=position)
    return Page([_report(row) for row in found.found], found.position)


def one(store: Store, domain_id: int, report_id: int) -> tuple[Report, Sequence[Policy]] | None:
    """With its policies, and of their failures the first."""
    t = tls_report.c
    wanted = select(*[t[name] for name in Report.__slots__]).where(
        t.id == report_id, t.domain_id == domain_id
    )
    with store.read() as connection:
        row = connection.execute(wanted).first()
        if row is None:
            return None
        failures: dict[int, list[Failure]] = defaultdict(list)
        of_report = (
            select(tls_failure).where(_F.report_id == report_id).order_by(_F.number).limit(_MOST_FAILURES)
        )
        for found in connection.execute(of_report):
            failures[found.policy].append(Failure(**{n: getattr(found, n) for n in Failure.__slots__}))
        policies = [
            Policy(
                **{name: getattr(found, name) for name in Policy.__slots__ if name != "failures"},
                failures=failures[found.number],
            )
            for found in connection.execute(
                select(tls_policy).where(_P.report_id == report_id).order_by(_P.number)
            )
        ]
    return _report(row), policies


def _report(row: Any) -> Report:
    values = dict(row._mapping)
    return Report(**values | {"signed_by": values["signed_by"] or None})


def _policies(connection: Connection, span: Span) -> list[PolicyTally]:
    grouped = (
        select(
            _P.type,
            _P.policy_domain,
            func.sum(_P.successful).label("ok"),
            func.sum(_P.failed).label("failed"),
        )
        .where(*span.covers(_P.domain_id, _P.begins_at))
        .group_by(_P.type, _P.policy_domain)
        .order_by(func.sum(_P.successful + _P.failed).desc(), _P.policy_domain, _P.type)
        .limit(MOST_GROUPS)
    )
    return [
        PolicyTally(
            type=row.type, policy_domain=row.policy_domain, successful=int(row.ok), failed=int(row.failed)
        )
        for row in connection.execute(grouped)
    ]


def _failed(connection: Connection, span: Span, name: str) -> list[tuple[str, int]]:
    grouped = (
        select(_F[name], func.sum(_F.sessions))
        .where(*span.covers(_F.domain_id, _F.begins_at))
        .group_by(_F[name])
        .order_by(func.sum(_F.sessions).desc(), _F[name])
        .limit(MOST_GROUPS)
    )
    return [(value, int(n)) for value, n in connection.execute(grouped)]


def _reporters(connection: Connection, span: Span) -> list[Reporter]:
    t = tls_report.c
    grouped = (
        select(t.organization, func.count().label("n"), func.sum(t.successful), func.sum(t.failed))
        .where(*span.covers(t.domain_id, t.begins_at))
        .group_by(t.organization)
        .order_by(func.sum(t.successful + t.failed).desc(), t.organization)
        .limit(MOST_GROUPS)
    )
    return [
        Reporter(organization=who, reports=n, successful=int(ok), failed=int(failed))
        for who, n, ok, failed in connection.execute(grouped)
    ]


def _days(connection: Connection, span: Span) -> list[Day]:
    number = day_of(_P.begins_at).label("number")
    grouped = (
        select(number, func.sum(_P.successful), func.sum(_P.failed))
        .where(*span.covers(_P.domain_id, _P.begins_at))
        .group_by(number)
        .order_by(number)
    )
    return [
        Day(day=day(int(n)), successful=int(ok), failed=int(failed))
        for n, ok, failed in connection.execute(grouped)
    ]
