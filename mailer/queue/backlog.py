"""The queue at a glance: what waits at which site, how fast it goes, and what comes of it.

Read from the rows that are the truth, and bounded whatever waits: lanes are found one index probe each,
counted up to a budget, and the last minute is read from the newest attempts. Where a bound was met a count
means "at least" (`is_partial`), and the rate is that of a shorter time (`window_seconds`).

Rejected: counters beside the rows (every settle would queue on the busiest site's), and counting all (a
million index entries for each look).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, literal_column, select

from mailer import ids
from mailer.events import AttemptState
from mailer.ids import first_id_at
from mailer.policy.places import site_in
from mailer.queue import opened
from mailer.queue.obstacles import Knowledge
from mailer.queue.selection import PLACES, Place, place_of
from mailer.store import Store, dialect
from mailer.store.tables import attempt, incarnation, lane, permit, recipient, tenant

MOST_LANES = 5_000
MOST_COUNTED = 200_000  # waiting recipients, over all lanes
MOST_ATTEMPTS = 20_000
_LEAST_COUNTED = 10  # a lane
_WINDOW = timedelta(minutes=1)
_LONGEST_ATTEMPT = timedelta(minutes=10)  # one opened earlier is not seen to end
_AT_ONCE = 500  # lanes counted with one statement, and looked up


class By(enum.StrEnum):
    """What the rows of an overview stand for."""

    SITE = "site"
    DOMAIN = "domain"
    TENANT = "tenant"


@dataclass(slots=True)
class Row:
    """A site, domain or tenant.

    queued, deferred, leased  recipients due now, waiting for their time, in a worker's hands
    is_partial    queued and deferred are at least so many
    oldest_at     acceptance of the one that waits longest; None: none waits
    ended         attempts that ended in the window, released ones aside
    outcomes      those by what was heard: accepted, refused 4yz, refused 5yz, broken, unroutable ...
    in_use        connections that workers had open a second ago; of sites only
    granted       connections that workers may hold open; of sites only
    limit         connections that it takes from our IPs that have some; of sites only
    """

    name: str
    queued: int = 0
    deferred: int = 0
    leased: int = 0
    is_partial: bool = False
    oldest_at: datetime | None = None
    ended: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    in_use: int | None = None
    granted: int | None = None
    limit: int | None = None

    @property
    def waiting(self) -> int:
        return self.queued + self.deferred

    @property
    def errors(self) -> int:
        return self.ended - self.outcomes["accepted"]


@dataclass(frozen=True, slots=True)
class Overview:
    """rows: the largest backlog first, then the busiest. totals: of these and of those that are left out."""

    at: datetime
    by: By
    window_seconds: float
    rows: Sequence[Row]
    totals: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """owner_id: the tenant whose mail is looked at; None: all. most: rows."""

    by: By = By.SITE
    owner_id: int | None = None
    most: int = 50


def look(store: Store, wanted: Wanted, knowledge: Knowledge, *, now: datetime) -> Overview:
    """One snapshot."""
    with store.read() as connection:
        board = _Board(connection, wanted, knowledge)
        for name, is_so in _WAITS.items():
            board.count(name, is_so)
        board.count_leased()
        window = board.read_attempts(now)
        board.add_permits()
    rows = sorted(board.rows.values(), key=lambda row: (-row.waiting, -row.ended, row.name))
    return Overview(now, wanted.by, window, rows[: wanted.most], _totals(rows))


# Written out: a partial index is used only for a condition that can be read.
_WAITS: Mapping[str, ColumnElement[bool]] = {
    "queued": recipient.c.state == literal_column("'queued'"),
    "deferred": recipient.c.state == literal_column("'deferred'"),
}
_Rows = Select[*tuple[Any, ...]]


def _lanes(is_so: ColumnElement[bool]) -> _Rows:
    """Lanes with such a recipient, from lane to lane along the partial index."""
    walk = select(func.min(recipient.c.lane_id).label("lane_id")).where(is_so).cte("walk", recursive=True)
    after = (
        select(func.min(recipient.c.lane_id))
        .where(is_so, recipient.c.lane_id > walk.c.lane_id)
        .scalar_subquery()
    )
    walk = walk.union_all(select(after).where(walk.c.lane_id.is_not(None)))
    return select(walk.c.lane_id).where(walk.c.lane_id.is_not(None)).limit(bindparam("most"))


def _own_lanes(is_so: ColumnElement[bool]) -> _Rows:
    """The same of one tenant: its lanes are probed, which nobody else's backlog makes slower."""
    there = select(recipient.c.id).where(is_so, recipient.c.lane_id == lane.c.id).exists()
    return select(lane.c.id).where(lane.c.tenant_id == bindparam("owner"), there).limit(bindparam("most"))


def _counts(is_so: ColumnElement[bool]) -> _Rows:
    """Lane, how many up to a cap, and the oldest."""
    here = recipient.c.lane_id == lane.c.id
    some = select(recipient.c.id).where(is_so, here).correlate(lane).limit(bindparam("cap")).subquery()
    number = select(func.count()).select_from(some).scalar_subquery()
    oldest = select(func.min(recipient.c.id)).where(is_so, here).correlate(lane).scalar_subquery()
    return select(lane.c.id, number.label("n"), oldest.label("oldest")).where(
        dialect.OneOf(lane.c.id, "lanes")
    )


_LANES = {name: _lanes(is_so) for name, is_so in _WAITS.items()}
_OWN_LANES = {name: _own_lanes(is_so) for name, is_so in _WAITS.items()}
_COUNTS = {name: _counts(is_so) for name, is_so in _WAITS.items()}
_LEASED = (
    select(recipient.c.lane_id, func.count())
    .where(recipient.c.state == literal_column("'leased'"))
    .group_by(recipient.c.lane_id)
)
_NEWEST = (
    select(
        attempt.c.id,
        attempt.c.recipient_id,
        attempt.c.tenant_id,
        attempt.c.state,
        attempt.c.opened_at,
        attempt.c.closed_at,
        attempt.c.outcome,
        attempt.c.code,
        attempt.c.site,
    )
    .where(attempt.c.id >= bindparam("first"))
    .order_by(attempt.c.id.desc())
    .limit(bindparam("most"))
)
_GRANTED = (  # by place: an IP of ours and a site
    select(permit.c.site, func.sum(permit.c.connections))
    .join(incarnation, incarnation.c.id == permit.c.incarnation_id)
    .where(incarnation.c.state == "live")
    .group_by(permit.c.site)
)


class _Board:
    """The rows as they fill."""

    def __init__(self, connection: Connection, wanted: Wanted, knowledge: Knowledge) -> None:
        self.rows: dict[str, Row] = {}
        self._connection = connection
        self._wanted = wanted
        self._knowledge = knowledge
        self._places: dict[int, Place] = {}
        self._tenants: dict[int, str] = {}

    def count(self, name: str, is_so: ColumnElement[bool]) -> None:
        """name: queued | deferred."""
        owner = self._wanted.owner_id
        lanes = _LANES[name] if owner is None else _OWN_LANES[name]
        limits = {"most": MOST_LANES + 1} | ({} if owner is None else {"owner": owner})
        found = list(self._connection.execute(lanes, limits).scalars())
        counted = found[:MOST_LANES]
        cap = max(_LEAST_COUNTED, MOST_COUNTED // max(1, len(counted)))
        self._know(counted)
        for some in _pieces(counted):
            values = {"lanes": dialect.listed(self._connection, some), "cap": cap}
            for lane_id, n, oldest in self._connection.execute(_COUNTS[name], values):
                row = self._row_of(lane_id)
                setattr(row, name, getattr(row, name) + n)
                row.is_partial |= n == cap
                row.oldest_at = _older(row.oldest_at, oldest)
        if len(found) > MOST_LANES:
            for row in self.rows.values():
                row.is_partial = True

    def count_leased(self) -> None:
        found = [(lane_id, n) for lane_id, n in self._connection.execute(_LEASED)]
        self._know([lane_id for lane_id, _ in found])
        for lane_id, n in found:
            if self._is_wanted(self._places[lane_id].tenant_id):
                self._row_of(lane_id).leased += n

    def read_attempts(self, now: datetime) -> float:
        """What ended lately; returns over how many seconds."""
        first = first_id_at(int((now - _LONGEST_ATTEMPT).timestamp() * 1000))
        newest = self._connection.execute(_NEWEST, {"first": first, "most": MOST_ATTEMPTS}).all()
        since = now - _WINDOW
        if len(newest) == MOST_ATTEMPTS:
            since = max(since, newest[-1].opened_at)
        ended = [
            a
            for a in newest
            if a.closed_at is not None
            and a.closed_at > since
            and a.state != AttemptState.RELEASED
            and self._is_wanted(a.tenant_id)
        ]
        lanes = self._lanes_of(ended)
        for a in ended:
            row = self._row_of_attempt(a, lanes)
            row.ended += 1
            row.outcomes[_heard(a)] += 1
        return max((now - since).total_seconds(), 0.001)

    def add_permits(self) -> None:
        """Connections of sites: a tenant is not told of them, since they are everybody's."""
        if self._wanted.by is not By.SITE or self._wanted.owner_id is not None:
            return
        granted: Counter[str] = Counter()
        ips: Counter[str] = Counter()
        for place, n in self._connection.execute(_GRANTED):
            granted[site_in(place)] += int(n)
            ips[site_in(place)] += 1
        in_use = opened.by_site(self._connection)
        for row in self.rows.values():
            each = self._knowledge.rules.connections(row.name, self._knowledge.connections_per_site)
            row.in_use, row.granted = in_use.get(row.name, 0), granted[row.name]
            row.limit = each * max(1, ips[row.name])

    def _is_wanted(self, tenant_id: int) -> bool:
        return self._wanted.owner_id in (None, tenant_id)

    def _lanes_of(self, ended: Iterable[Any]) -> Mapping[int, int]:
        """By recipient, where the attempt does not tell what the rows stand for."""
        by = self._wanted.by
        unknown = {a.recipient_id for a in ended if by is By.DOMAIN or (by is By.SITE and a.site is None)}
        found: dict[int, int] = {}
        there = select(recipient.c.id, recipient.c.lane_id).where(dialect.OneOf(recipient.c.id, "rcpts"))
        for some in _pieces(sorted(unknown)):
            rows = self._connection.execute(there, {"rcpts": dialect.listed(self._connection, some)})
            found |= {recipient_id: lane_id for recipient_id, lane_id in rows}
        self._know(set(found.values()))
        return found

    def _row_of_attempt(self, a: Any, lanes: Mapping[int, int]) -> Row:
        if self._wanted.by is By.TENANT:
            return self._row(self._tenant(a.tenant_id))
        if a.recipient_id in lanes:
            return self._row_of(lanes[a.recipient_id])
        return self._row(a.site or "unknown")

    def _row_of(self, lane_id: int) -> Row:
        return self._row(_NAMED[self._wanted.by](self, self._places[lane_id]))

    def _row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name))

    def _know(self, lane_ids: Iterable[int]) -> None:
        missing = sorted(set(lane_ids) - self._places.keys())
        for some in _pieces(missing):
            listed = {"lanes": dialect.listed(self._connection, some)}
            rows = self._connection.execute(PLACES.where(dialect.OneOf(lane.c.id, "lanes")), listed)
            self._places |= {row.id: place_of(row, self._knowledge.site_of) for row in rows}

    def _tenant(self, tenant_id: int) -> str:
        if tenant_id not in self._tenants:
            named = select(tenant.c.name).where(tenant.c.id == tenant_id)
            self._tenants[tenant_id] = self._connection.execute(named).scalar() or ids.show("ten", tenant_id)
        return self._tenants[tenant_id]

    def site(self, place: Place) -> str:
        return place.site or f"domain:{place.domain}"

    def domain(self, place: Place) -> str:
        return place.domain

    def tenant(self, place: Place) -> str:
        return self._tenant(place.tenant_id)


_NAMED: Mapping[By, Callable[[_Board, Place], str]] = {
    By.SITE: _Board.site,
    By.DOMAIN: _Board.domain,
    By.TENANT: _Board.tenant,
}


def _pieces(found: Sequence[int]) -> Iterable[Sequence[int]]:
    return (found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE))


def _older(known: datetime | None, oldest_id: int | None) -> datetime | None:
    if oldest_id is None:
        return known
    at = datetime.fromtimestamp(ids.made_ms(oldest_id) / 1000, UTC)
    return at if known is None else min(known, at)


def _heard(a: Any) -> str:
    return a.outcome if a.outcome == "accepted" or a.code is None else f"{a.outcome} {a.code // 100}yz"


def _totals(rows: Iterable[Row]) -> Row:
    total = Row("all")
    for row in rows:
        total.queued += row.queued
        total.deferred += row.deferred
        total.leased += row.leased
        total.ended += row.ended
        total.outcomes += row.outcomes
        total.is_partial |= row.is_partial
        instants = [at for at in (total.oldest_at, row.oldest_at) if at is not None]
        total.oldest_at = min(instants, default=None)
    return total
