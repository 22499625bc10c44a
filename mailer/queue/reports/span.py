"""Which reports are asked for: of one domain, whose time begins on certain days (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Select, select, type_coerce

from mailer.store.tables import egress_ip

MOST_GROUPS = 200  # sources and the like, those with the most first
_DAY_MICROSECONDS = 86_400_000_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Span:
    """first, last: both are in it."""

    domain_id: int
    first: date
    last: date

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        """Just after it."""
        return datetime.combine(self.last, time(), UTC) + timedelta(days=1)

    def covers(self, domain_id: Column[Any], at: Column[Any]) -> tuple[ColumnElement[bool], ...]:
        return domain_id == self.domain_id, at >= self.since, at < self.until


@dataclass(frozen=True, slots=True)
class Page:
    """position: where the next page begins; None: there is nothing more."""

    found: Sequence[Any]
    position: int | None


def page(
    connection: Connection, wanted: Select[Any], own_id: Column[int], *, limit: int, position: int | None
) -> Page:
    """Rows below `position`, newest first."""
    below = wanted if position is None else wanted.where(own_id < position)
    rows = connection.execute(below.order_by(own_id.desc()).limit(limit + 1)).all()
    return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def day_of(at: Column[Any]) -> ColumnElement[int]:
    """Days since 1970, to group by."""
    return type_coerce(at, BigInteger) // _DAY_MICROSECONDS


def day(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def own_addresses(connection: Connection) -> frozenset[str]:
    """Addresses that mail leaves from here, as far as they are configured."""
    rows = connection.execute(select(egress_ip.c.ipv4, egress_ip.c.ipv6))
    return frozenset(address for row in rows for address in row if address is not None)
