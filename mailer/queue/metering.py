"""Tokens of ceilings over time, dealt in the transaction that uses them.

What is sent to a site, for a tenant, of a stream may each have its ceilings (policy/limits.py). Who wants
to send opens a till inside its own transaction: the rows of the limits are locked, so that workers on all
hosts draw from the same meters, and the time is the database's. Nothing is lent: tokens are taken for
recipients that are leased in this very transaction, and one that is not spent in its spell is forfeited.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection, bindparam, delete, select, tuple_

from mailer.policy.limits import ANY_TIME, SECOND, Meter, Rate, Spell, both, meter
from mailer.store import Store, dialect
from mailer.store.bare import Hot, as_json, bare, names_of
from mailer.store.tables import rate as rate_table

Rates = Mapping[str, Sequence[Rate]]


@dataclass(frozen=True, slots=True)
class SpendTime:
    """When a token may be spent: monotonic seconds of the process that took it."""

    begins: float
    ends: float


@dataclass(slots=True, kw_only=True)
class Tolls:
    """What limits one claim.

    rates      of every limit that is named below
    of_lane    names of the limits that hold for a lane; a lane that is not here has none
    of_way     likewise for a lane's mail that leaves from an IP, by lane and egress id
    monotonic  of this process
    closed     filled by the claim: limits without room, and when (monotonic) each has some again
    """

    rates: Rates
    of_lane: Mapping[int, Sequence[str]]
    monotonic: Callable[[], float]
    closed: dict[str, float] = field(default_factory=dict)
    of_way: Mapping[tuple[int, int], Sequence[str]] = field(default_factory=dict)

    def only(self, lanes: Collection[int], by_ip: Mapping[int, Collection[int]]) -> Tolls | None:
        """Those of some lanes, and of some IPs by lane; None: none of them has any."""
        of_lane = {lane_id: names for lane_id, names in self.of_lane.items() if lane_id in lanes}
        of_way = {way: names for way, names in self.of_way.items() if way[1] in by_ip.get(way[0], ())}
        wanted = {name for names in (*of_lane.values(), *of_way.values()) for name in names}
        if not wanted:
            return None
        rates = {name: limits for name, limits in self.rates.items() if name in wanted}
        return Tolls(rates=rates, of_lane=of_lane, of_way=of_way, monotonic=self.monotonic)


_RATE = bare(rate_table)
_KEPT = Hot(
    select(_RATE.c.name, _RATE.c.seconds, _RATE.c.state)
    .where(dialect.OneOf(_RATE.c.name, "names"))
    .order_by(_RATE.c.name, _RATE.c.seconds)  # so that two workers never wait for each other in a circle
    .with_for_update()
)
_NEW = Hot(dialect.upsert(_RATE).on_conflict_do_nothing(), names_of(rate_table))
_KEEP = Hot(
    _RATE.update()
    .where(_RATE.c.name == bindparam("of"), _RATE.c.seconds == bindparam("window"))
    .values(state=bindparam("to_state"), used_at=bindparam("at"))
)


def locked(connection: Connection, rates: Rates, now: datetime) -> dict[tuple[str, int], object]:
    """What is kept of each limit and window; nobody else gets at it until the transaction ends."""
    wanted = {(name, rate.seconds) for name, limits in rates.items() for rate in limits}
    states = _kept(connection, rates)
    missing = wanted - states.keys()
    if missing:
        insert_missing(connection, missing, now)
        states = _kept(connection, rates)
    return states


def insert_missing(connection: Connection, windows: Iterable[tuple[str, int]], now: datetime) -> None:
    """Rows for those limits and windows that have none. Two that do so beside locks which they hold already
    may wait for each other in a circle, which PostgreSQL ends by refusing one."""
    at = dialect.instant(connection, now)
    rows = [{"name": n, "seconds": s, "state": "null", "used_at": at} for n, s in sorted(windows)]
    _NEW.many(connection, rows)


def _kept(connection: Connection, rates: Rates) -> dict[tuple[str, int], object]:
    among = {"names": dialect.listed(connection, sorted(rates))}
    return {(n, s): msgspec.json.decode(state) for n, s, state in _KEPT.rows(connection, among)}


def keep(connection: Connection, used: Iterable[tuple[str, Rate, Meter]], now: int) -> None:
    """Writes what these limits granted. now: microseconds, the database's."""
    rows = [
        {"of": name, "window": rate.seconds, "to_state": as_json(kept.state()), "at": now}
        for name, rate, kept in used
    ]
    if rows:
        _KEEP.many(connection, rows)


class Till:
    """Meters of some limits, held until the transaction ends. `close` writes what was taken."""

    def __init__(
        self, connection: Connection, rates: Rates, *, now: datetime, monotonic: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._rates = rates
        states = locked(connection, rates, now)
        # Read on both sides of the database's clock: early for what must not be late, late for what must
        # not be early.
        self._before = monotonic()
        self._now = dialect.instant(connection, now)
        self._after = monotonic()
        self._meters: dict[str, dict[Rate, Meter]] = {
            name: {rate: meter(rate, states.get((name, rate.seconds))) for rate in limits}
            for name, limits in rates.items()
        }
        self._taken = dict.fromkeys(rates, 0)

    def room(self, names: Iterable[str]) -> int:
        """Tokens that may be taken now under all these limits, a lease of each at most."""
        return min((self._room(name) for name in names), default=1 << 62)

    def _room(self, name: str) -> int:
        meters = self._meters[name]
        least = min(min(m.room(self._now), r.at_once - self._taken[name]) for r, m in meters.items())
        return max(0, least)

    def take(self, names: Iterable[str]) -> SpendTime:
        """One token of each of these limits, which have room; when they may be spent."""
        spell = ANY_TIME
        for name in names:
            self._taken[name] += 1
            for each in self._meters[name].values():
                spell = both(spell, each.take(1, self._now)[0])
        return self._here(spell)

    def _here(self, spell: Spell) -> SpendTime:
        return SpendTime(
            self._after + (spell.begins - self._now) / SECOND,
            self._before + (spell.ends - self._now) / SECOND,
        )

    def closed(self) -> dict[str, float]:
        """The limits without room, and when (monotonic) each has some again."""
        opens = {
            name: max(m.opens_at(self._now) for m in meters.values()) for name, meters in self._meters.items()
        }
        return {n: self._after + (at - self._now) / SECOND for n, at in opens.items() if at > self._now}

    def close(self) -> None:
        """Writes what was taken."""
        used = (
            (name, rate, kept)
            for name, meters in self._meters.items()
            for rate, kept in meters.items()
            if self._taken[name] or kept.moved
        )
        keep(self._connection, used, self._now)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands. room: tokens to be had now; opens_at: when there are some, None while there are.

    used  granted in the window that ends now
    """

    name: str
    rate: Rate
    room: int
    used: int
    opens_at: datetime | None


def standings(
    connection: Connection,
    rates: Rates,
    *,
    now: datetime,
    of: Callable[[Rate, object], Meter] = meter,
) -> list[Standing]:
    """How these limits stand, by a look that locks and changes nothing. of: how they are counted."""
    rows = select(rate_table.c.name, rate_table.c.seconds, rate_table.c.state).where(
        rate_table.c.name.in_(list(rates))
    )
    states = {(n, s): state for n, s, state in connection.execute(rows)}
    at = dialect.instant(connection, now)
    found = []
    for name, limits in rates.items():
        for rate in limits:
            kept = of(rate, states.get((name, rate.seconds)))
            opens = kept.opens_at(at)
            until = None if opens <= at else datetime.fromtimestamp(opens / SECOND, now.tzinfo)
            found.append(Standing(name, rate, kept.room(at), kept.used(at), until))
    return found


def forget(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops meters that nobody used since then, longer ago than any window; returns how many."""
    old = select(rate_table.c.name, rate_table.c.seconds).where(rate_table.c.used_at < before).limit(most)
    with store.read() as connection:
        keys = [tuple(row) for row in connection.execute(old)]
    if not keys:
        return 0
    gone = delete(rate_table).where(
        tuple_(rate_table.c.name, rate_table.c.seconds).in_(keys), rate_table.c.used_at < before
    )
    with store.write() as connection:
        return connection.execute(gone).rowcount
