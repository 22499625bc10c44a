"""Complaints about mail of a domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from mailer.queue.reports.span import MOST_GROUPS, Page, Span, day, day_of, own_addresses, page
from mailer.store import Store
from mailer.store.tables import complaint, stream

_C = complaint.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """complaints: each for as many messages as it says. verified: proved by a token or a signature."""

    complaints: int
    verified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """name: of what is added up; None: not known. is_ours: of a source; None for anything else."""

    name: str | None
    tally: Tally
    is_ours: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    day: date
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    totals: Tally
    by_source: Sequence[Group]
    by_stream: Sequence[Group]
    by_kind: Sequence[Group]
    by_reporter: Sequence[Group]
    by_day: Sequence[Day]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Texts are empty where it does not say. stream, message_id, recipient_id: where the message is known."""

    id: int
    stream: str | None
    message_id: int | None
    recipient_id: int | None
    format: str
    kind: str
    source_ip: str
    reporter: str
    rfc_message_id: str
    subject: str
    incidents: int
    is_verified: bool
    arrived_at: datetime
    via: str
    signed_by: str | None
    received_at: datetime


_TALLY = (
    func.sum(_C.incidents).label("complaints"),
    func.sum(case((_C.is_verified, _C.incidents), else_=0)).label("verified"),
)
_WITH_STREAM = complaint.outerjoin(stream, stream.c.id == _C.stream_id)


def summary(store: Store, span: Span) -> Summary:
    with store.read() as connection:
        total = connection.execute(select(*_TALLY).where(*_in(span))).one()
        ours = own_addresses(connection)
        return Summary(
            totals=_tally(total),
            by_source=[
                Group(name=name or None, tally=tally, is_ours=name in ours)
                for name, tally in _by(connection, span, _C.source_ip)
            ],
            by_stream=_groups(connection, span, stream.c.name),
            by_kind=_groups(connection, span, _C.kind),
            by_reporter=_groups(connection, span, _C.reporter),
            by_day=_days(connection, span),
        )


def complaints(store: Store, span: Span, *, limit: int, position: int | None = None) -> Page:
    """One by one, the latest to come first."""
    plain = [_C[name] for name in Complaint.__slots__ if name != "stream"]
    wanted = select(stream.c.name.label("stream"), *plain).select_from(_WITH_STREAM).where(*_in(span))
    with store.read() as connection:
        found = page(connection, wanted, _C.id, limit=limit, position=position)
    rows = [dict(row._mapping) for row in found.found]
    return Page([Complaint(**row | {"signed_by": row["signed_by"] or None}) for row in rows], found.position)


def _in(span: Span) -> tuple[ColumnElement[bool], ...]:
    return span.covers(_C.domain_id, _C.arrived_at)


def _tally(row: Any) -> Tally:
    return Tally(complaints=int(row.complaints or 0), verified=int(row.verified or 0))


def _by(connection: Connection, span: Span, name: ColumnElement[Any]) -> list[tuple[str | None, Tally]]:
    grouped = (
        select(name.label("name"), *_TALLY)
        .select_from(_WITH_STREAM)
        .where(*_in(span))
        .group_by(name)
        .order_by(func.sum(_C.incidents).desc(), name)
        .limit(MOST_GROUPS)
    )
    return [(row.name, _tally(row)) for row in connection.execute(grouped)]


def _groups(connection: Connection, span: Span, name: ColumnElement[Any]) -> list[Group]:
    return [Group(name=value or None, tally=tally) for value, tally in _by(connection, span, name)]


def _days(connection: Connection, span: Span) -> list[Day]:
    number = day_of(_C.arrived_at).label("number")
    grouped = select(number, *_TALLY).where(*_in(span)).group_by(number).order_by(number)
    return [Day(day=day(int(row.number)), tally=_tally(row)) for row in connection.execute(grouped)]
