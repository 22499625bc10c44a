"""How fast each site takes mail from each egress IP: one row is the truth, and all workers report to it.

A report is applied under the row's lock, so that nothing that a worker heard is lost to another's report.
A site that is free, and where nothing counts towards a limit, has no row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table, and_, delete, or_, select, update

from mailer.policy import governor
from mailer.policy import pace as learner
from mailer.policy.governor import Match, Observation, Record, StreamPace
from mailer.policy.pace import Pace, State, Why
from mailer.store import Store, dialect
from mailer.store.tables import pace, stream_pace

_T = TypeVar("_T")

Place = tuple[str, str]  # egress IP, site
Part = tuple[int, int, str]  # tenant id, stream id, site

_STREAM_KEY = (stream_pace.c.tenant_id, stream_pace.c.stream_id, stream_pace.c.site)
_SETTLED_AFTER = timedelta(days=1)  # what only counts, and did not act for so long, is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What workers keep to: a site's state from one egress IP, and why (columns of `pace`)."""

    state: State
    rate: float | None
    connections: int | None
    suspended_until: datetime | None
    probe_until: datetime | None
    since: datetime | None
    why: Why | None


@dataclass(frozen=True, slots=True)
class Known:
    """What limits, or may soon: a place may be free and yet counted at."""

    places: Mapping[Place, Standing]
    streams: Mapping[Part, StreamPace]


def known(store: Store) -> Known:
    """What workers keep to."""
    with store.read() as connection:
        places = {
            (row.egress_ip, row.site): standing_of(row) for row in connection.execute(select(*_COLUMNS))
        }
        limited = or_(stream_pace.c.held_until.is_not(None), stream_pace.c.rate.is_not(None))
        streams = {
            (row.tenant_id, row.stream_id, row.site): load_stream(row)
            for row in connection.execute(select(stream_pace).where(limited))
        }
    return Known(places, streams)


_COLUMNS = [column for column in pace.c if column.name not in ("learned", "changed_at")]


def standing(store: Store, egress_ip: str, site: str) -> Standing | None:
    """None: the site is free."""
    mine = select(*_COLUMNS).where(pace.c.egress_ip == egress_ip, pace.c.site == site)
    with store.read() as connection:
        row = connection.execute(mine).first()
    return None if row is None or row.state == State.FREE else standing_of(row)


def report(
    store: Store,
    places: Mapping[Place, Observation],
    streams: Mapping[Part, Sequence[Match]],
    *,
    most_of: Callable[[str], int],
    now: datetime,
) -> None:
    """Applies what one worker heard.

    most_of  connections that a site's rule allows
    """
    if not places and not streams:
        return
    with store.write() as connection:
        # Sorted, so that two workers never wait for each other in a circle.
        for place in sorted(places):
            _govern(connection, place, places[place], most_of(place[1]), now)
        for part in sorted(streams):
            _govern_stream(connection, part, streams[part], now)


def take_probe(store: Store, place: Place, *, now: datetime) -> bool:
    """Whether the caller may send the one message that asks a suspended site. Only one worker is told so."""
    with store.write() as connection:
        row = _locked(connection, pace, _at(place))
        if row is None:
            return False
        record = _load(row.learned, Record)
        if not record.pace.is_probe_due(now):
            return False
        probing = Record(pace=learner.probe(record.pace, now), tallies=record.tallies)
        connection.execute(update(pace).where(_at(place)).values(**_values(probing, now)))
        return True


def lift(store: Store, egress_ip: str | None, site: str) -> int:
    """An operator's word that a site is free: from one egress IP, None: from all. How many were limited."""
    mine = pace.c.site == site
    if egress_ip is not None:
        mine = and_(mine, pace.c.egress_ip == egress_ip)
    with store.write() as connection:
        return connection.execute(delete(pace).where(mine)).rowcount


def release_stream(store: Store, tenant_id: int, stream_id: int, site: str) -> bool:
    """An operator's word that a tenant's stream may be sent to a site again."""
    with store.write() as connection:
        mine = delete(stream_pace).where(_of((tenant_id, stream_id, site)))
        return connection.execute(mine).rowcount > 0


def forget(store: Store, *, now: datetime, most: int = 1000) -> int:
    """Drops what limits nothing any more, or rests on refusals too old to say anything; how many rows."""
    old = now - _SETTLED_AFTER
    with store.read() as connection:
        rows = connection.execute(select(pace).where(pace.c.changed_at < old).limit(most)).all()
        parts = connection.execute(
            select(stream_pace).where(stream_pace.c.changed_at < old).limit(most)
        ).all()
    gone = [
        and_(_at((row.egress_ip, row.site)), pace.c.changed_at == row.changed_at)
        for row in rows
        if learner.is_forgotten(_load(row.learned, Record).pace, now)
    ]
    ended = [
        and_(_of((row.tenant_id, row.stream_id, row.site)), stream_pace.c.changed_at == row.changed_at)
        for row in parts
        if governor.is_stream_forgotten(load_stream(row), now)
    ]
    if not gone and not ended:
        return 0
    with store.write() as connection:
        return sum(
            connection.execute(delete(table).where(which)).rowcount
            for table, which in [(pace, w) for w in gone] + [(stream_pace, w) for w in ended]
        )


# ---- rows ----------------------------------------------------------------------------------------------


def _at(place: Place) -> Any:
    return and_(pace.c.egress_ip == place[0], pace.c.site == place[1])


def _of(part: Part) -> Any:
    return and_(*(column == value for column, value in zip(_STREAM_KEY, part, strict=True)))


def _locked(connection: Connection, table: Table, mine: Any) -> Any:
    return connection.execute(select(table).where(mine).with_for_update()).first()


def _govern(connection: Connection, place: Place, seen: Observation, most: int, now: datetime) -> None:
    key = dict(zip(("egress_ip", "site"), place, strict=True))
    row = _locked(connection, pace, _at(place)) or _made(connection, pace, key, _values(Record(), now))
    before = _load(row.learned, Record)
    after = governor.govern(before, seen, now, most=most)
    if _is_nothing(after):
        connection.execute(delete(pace).where(_at(place)))
    else:
        connection.execute(update(pace).where(_at(place)).values(**_values(after, now)))


def _is_nothing(record: Record) -> bool:
    at = record.pace
    return at.state is State.FREE and not (record.tallies or at.broken_run or at.limited_run)


def _govern_stream(connection: Connection, part: Part, matches: Sequence[Match], now: datetime) -> None:
    key = dict(zip(("tenant_id", "stream_id", "site"), part, strict=True))
    empty = _stream_values(StreamPace(), now)
    row = _locked(connection, stream_pace, _of(part)) or _made(connection, stream_pace, key, empty)
    after = governor.govern_stream(_load(row.learned, StreamPace), matches, now)
    connection.execute(update(stream_pace).where(_of(part)).values(**_stream_values(after, now)))


def _made(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> Any:
    """The new row, or the one that another worker made meanwhile; locked. Where that one was dropped again,
    it is made once more."""
    mine = and_(*(table.c[name] == value for name, value in key.items()))
    while True:
        new = dialect.insert(connection, table).values(**key, **values)
        connection.execute(new.on_conflict_do_nothing())
        row = _locked(connection, table, mine)
        if row is not None:
            return row


def _values(record: Record, now: datetime) -> dict[str, Any]:
    p = record.pace
    return {
        "state": p.state,
        "rate": p.rate,
        "connections": p.connections,
        "suspended_until": p.suspended_until,
        "probe_until": p.probe_until,
        "since": p.since,
        **_words(p.why),
        "changed_at": now,
        "learned": msgspec.to_builtins(record),
    }


def _stream_values(stream: StreamPace, now: datetime) -> dict[str, Any]:
    return {
        "held_until": stream.held_until,
        "rate": stream.rate,
        "rated_at": stream.rated_at,
        "since": stream.since,
        **_words(stream.why),
        "changed_at": now,
        "learned": msgspec.to_builtins(stream),
    }


def _words(why: Why | None) -> dict[str, Any]:
    if why is None:
        return {"reason": None, "rule": None, "place": None}
    return {"reason": why.reason, "rule": why.rule, "place": why.place}


def standing_of(row: Any) -> Standing:
    """Of a row of `pace`."""
    why = None if row.reason is None else Why(reason=row.reason, rule=row.rule, place=row.place)
    return Standing(
        state=State(row.state),
        rate=row.rate,
        connections=row.connections,
        suspended_until=row.suspended_until,
        probe_until=row.probe_until,
        since=row.since,
        why=why,
    )


def _load(value: Any, as_type: type[_T]) -> _T:
    """A record as it was kept, by this release or an older one."""
    return msgspec.convert(value, as_type)


def load_stream(row: Any) -> StreamPace:
    """Of a row of `stream_pace`."""
    return _load(row.learned, StreamPace)


def pace_of(store: Store, place: Place) -> Pace:
    """The learner's whole state, for explaining and for tests."""
    with store.read() as connection:
        row = connection.execute(select(pace.c.learned).where(_at(place))).first()
    return Pace() if row is None else _load(row.learned, Record).pace
