"""Who works: processes register, beat, end in order, or are fenced."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from mailer.ids import PROCESS_NUMBERS, IdMaker
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import heartbeat, incarnation, meta, open_session, permit

_COUNTER = "process_number"
_LIVE = select(incarnation.c.id).where(incarnation.c.id == bindparam("me"), incarnation.c.state == "live")
_INCARNATION = bare(incarnation)
_HOLD = Hot(
    select(_INCARNATION.c.id)
    .where(_INCARNATION.c.id == bindparam("me"), _INCARNATION.c.state == literal_column("'live'"))
    .with_for_update(read=True)
)
_BEAT = (
    update(heartbeat).where(heartbeat.c.incarnation_id == bindparam("me")).values(beats=heartbeat.c.beats + 1)
)


class Fenced(Exception):
    """This incarnation was declared dead: it may write nothing more, and should exit."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A live process. `process_number` is its own while it lives (mailer/ids.py)."""

    id: int
    process_number: int


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """An incarnation, its role, and the host whose journal folder it wrote to."""

    id: int
    role: str
    host: str


def register(store: Store, *, role: str, host: str, pid: int, now: datetime, wall_ms: int) -> Registration:
    """A new live incarnation with a process number that no other live one has."""
    with store.write() as connection:
        number = _lease_number(connection)
        new = IdMaker(number, lambda: wall_ms)()
        values = {"id": new, "role": role, "host": host, "pid": pid, "process_number": number}
        connection.execute(incarnation.insert().values(**values, state="live", started_at=now))
        connection.execute(heartbeat.insert().values(incarnation_id=new, beats=0))
        return Registration(new, number)


def _lease_number(connection: Connection) -> int:
    """The next number in turn that no live process holds; turns keep a number unused for long.

    The counter's row is locked until commit, so two that register at once get different numbers.
    """
    first = dialect.insert(connection, meta).values(key=_COUNTER, value="0")
    connection.execute(first.on_conflict_do_nothing())
    last = int(
        connection.execute(select(meta.c.value).where(meta.c.key == _COUNTER).with_for_update()).scalar_one()
    )
    live = select(incarnation.c.process_number).where(incarnation.c.state == "live")
    taken = set(connection.execute(live).scalars())
    for step in range(1, PROCESS_NUMBERS + 1):
        number = (last + step) % PROCESS_NUMBERS
        if number not in taken:
            connection.execute(update(meta).where(meta.c.key == _COUNTER).values(value=str(number)))
            return number
    raise RuntimeError(f"all {PROCESS_NUMBERS} process numbers are in use")


def beat(store: Store, me: int) -> None:
    """Shows that `me` lives; raises Fenced when it was declared dead."""
    with store.write() as connection:
        if connection.execute(_LIVE, {"me": me}).first() is None:
            raise Fenced(f"incarnation {me} is no longer live")
        connection.execute(_BEAT, {"me": me})


def hold_live(connection: Connection, me: int) -> None:
    """Keeps `me` from being fenced until this transaction ends; raises Fenced when it already is.

    FOR SHARE conflicts with the fence's UPDATE: whichever commits first, the other sees it.
    """
    if not _HOLD.rows(connection, {"me": me}):
        raise Fenced(f"incarnation {me} is no longer live")


def end(store: Store, me: int, *, now: datetime) -> None:
    """Leaves in order, everything settled; does nothing to one already fenced."""
    with store.write() as connection:
        _leave(connection, me, state="ended", now=now)


def fence(store: Store, dead: int, *, now: datetime) -> bool:
    """Declares `dead` dead for ever; its late writes are refused from here on. True if it was live."""
    with store.write() as connection:
        return _leave(connection, dead, state="fenced", now=now)


def _leave(connection: Connection, which: int, *, state: str, now: datetime) -> bool:
    gone = update(incarnation).where(incarnation.c.id == which, incarnation.c.state == "live")
    changed = connection.execute(gone.values(state=state, ended_at=now)).rowcount
    for table in (permit, open_session):
        connection.execute(table.delete().where(table.c.incarnation_id == which))
    connection.execute(heartbeat.delete().where(heartbeat.c.incarnation_id == which))
    return changed > 0


def beats(store: Store) -> dict[int, int]:
    """The heartbeat counter of every live incarnation."""
    counters = (
        select(heartbeat.c.incarnation_id, heartbeat.c.beats)
        .join(incarnation, incarnation.c.id == heartbeat.c.incarnation_id)
        .where(incarnation.c.state == "live")
    )
    with store.read() as connection:
        return {row.incarnation_id: row.beats for row in connection.execute(counters)}


def whereabouts(store: Store, ids: Collection[int]) -> list[Whereabouts]:
    """Role and host of these incarnations."""
    if not ids:
        return []
    found = select(incarnation.c.id, incarnation.c.role, incarnation.c.host).where(incarnation.c.id.in_(ids))
    with store.read() as connection:
        return [Whereabouts(*row) for row in connection.execute(found)]


def guarded_hosts(store: Store, *, besides: Collection[int]) -> set[str]:
    """Hosts with a live sweeper, not counting those in `besides`."""
    sweepers = select(incarnation.c.id, incarnation.c.host).where(
        incarnation.c.state == "live", incarnation.c.role == "sweeper"
    )
    with store.read() as connection:
        return {row.host for row in connection.execute(sweepers) if row.id not in besides}


def live_workers(connection: Connection) -> int:
    """How many workers share a site's permits now."""
    count = select(func.count()).where(incarnation.c.state == "live", incarnation.c.role == "worker")
    return connection.execute(count.select_from(incarnation)).scalar_one()


def workers_beside(connection: Connection, me: int) -> int:
    """How many of them are on the host of `me`, which is one of them."""
    host = select(incarnation.c.host).where(incarnation.c.id == me).scalar_subquery()
    count = select(func.count()).where(
        incarnation.c.state == "live", incarnation.c.role == "worker", incarnation.c.host == host
    )
    return connection.execute(count.select_from(incarnation)).scalar_one()
