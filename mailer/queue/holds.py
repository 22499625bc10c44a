"""Holds: what is not claimed until somebody releases it, or until a time.

A hold is one row, however much mail it holds: recipients stay as they are, and what comes in later and
meets its conditions is held as well. Workers read the rows once a second (relay/holding.py), so that a hold
is felt a second after it was placed, and mail that a worker has in hand by then is sent. No clock stands
still for it: a deadline passes all the same.

A tenant holds its own mail only, and releases only what it placed itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, or_, select, update

from mailer.queue import actions
from mailer.queue.actions import HOLD, LAPSE, RELEASE, Deed, Doer
from mailer.queue.selection import Selection
from mailer.store import Store, dialect
from mailer.store.tables import hold, recipient, stream, tenant

MOST = 1000  # in force at a time; workers hold them in memory
MOST_OF_TENANT = 100
_FIELDS = ("tenant_id", "stream", "domain", "site", "message_id", "recipient_id")
# Written out: a partial index is used only for a condition that can be read.
_IN_FORCE: ColumnElement[bool] = literal_column("hold.ended_at IS NULL")


class TooManyHolds(Exception):
    """As many are in force as there may be. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Hold:
    """owner_id: the tenant that placed it; None: the operator. until: None if only a release ends it."""

    id: int
    wanted: Selection
    owner_id: int | None
    placed_by: str
    reason: str
    placed_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class NewHold:
    """recipients: that waited there when it was asked for, for the record."""

    wanted: Selection
    reason: str
    until: datetime | None
    recipients: int


def place(store: Store, new: NewHold, doer: Doer, *, new_id: Callable[[], int], now: datetime) -> Hold:
    """It is in force from now on. A repeat places another one. Raises TooManyHolds."""
    with store.write() as connection:
        _check_room(connection, doer)
        return put(connection, new, doer, new_id=new_id, now=now)


def put(
    connection: Connection, new: NewHold, doer: Doer, *, new_id: Callable[[], int], now: datetime
) -> Hold:
    """The body of `place`, however many are in force: for what the mailer itself holds."""
    made = Hold(new_id(), new.wanted, doer.owner_id, doer.name, new.reason, now, new.until)
    values = {name: getattr(new.wanted, name) for name in _FIELDS}
    connection.execute(
        hold.insert().values(
            id=made.id, owner_id=made.owner_id, placed_by=made.placed_by, reason=made.reason,
            placed_at=now, until=made.until, **values,
        )
    )  # fmt: skip
    deed = Deed(
        kind=HOLD, doer=doer, wanted=made.wanted, reason=made.reason, hold_id=made.id, until=made.until,
        recipients=new.recipients,
    )  # fmt: skip
    actions.note(connection, deed, new_id=new_id, now=now)
    return made


def renew(connection: Connection, hold_id: int, *, reason: str, until: datetime | None) -> None:
    """It holds until another time, for a reason of now. One that has ended stays so."""
    mine = update(hold).where(hold.c.id == hold_id, _IN_FORCE)
    connection.execute(mine.values(reason=reason, until=until))


def take_back(
    connection: Connection, hold_id: int, doer: Doer, reason: str, *, new_id: Callable[[], int], now: datetime
) -> None:
    """The body of `release`, of a hold that may have ended."""
    mine = select(hold).where(hold.c.id == hold_id, _IN_FORCE).with_for_update()
    row = connection.execute(mine).first()
    if row is not None:
        _end(connection, row, _ending(row, RELEASE, doer, reason), new_id=new_id, now=now)


def _check_room(connection: Connection, doer: Doer) -> None:
    counted = select(func.count()).select_from(hold).where(_IN_FORCE)
    if doer.owner_id is not None:
        # One at a time a tenant, or two could both see the last free place.
        own = select(tenant.c.id).where(tenant.c.id == doer.owner_id)
        connection.execute(own.with_for_update(key_share=True))
        if connection.execute(counted.where(hold.c.owner_id == doer.owner_id)).scalar_one() >= MOST_OF_TENANT:
            raise TooManyHolds(f"a tenant may have {MOST_OF_TENANT} holds in force: release some first")
    elif connection.execute(counted).scalar_one() >= MOST:
        raise TooManyHolds(f"{MOST} holds may be in force: release some first")


def release(
    store: Store, hold_id: int, doer: Doer, *, reason: str, new_id: Callable[[], int], now: datetime
) -> bool:
    """It holds nothing from now on; what is due is claimed again. Repeating it changes nothing.

    False: there is none of that id that is the doer's to release.
    """
    theirs = select(hold).where(hold.c.id == hold_id)
    if doer.owner_id is not None:
        theirs = theirs.where(hold.c.owner_id == doer.owner_id)
    with store.write() as connection:
        row = connection.execute(theirs.with_for_update()).first()
        if row is None:
            return False
        if row.ended_at is None:
            _end(connection, row, _ending(row, RELEASE, doer, reason), new_id=new_id, now=now)
        return True


def lapse(store: Store, *, new_id: Callable[[], int], now: datetime) -> int:
    """Ends the holds whose time has come; returns how many. They held nothing since then already."""
    over = select(hold).where(_IN_FORCE, hold.c.until <= now)
    with store.read() as connection:
        if connection.execute(over.limit(1)).first() is None:
            return 0
    with store.write() as connection:
        rows = connection.execute(over.with_for_update(skip_locked=True)).all()
        for row in rows:
            deed = _ending(row, LAPSE, Doer("time", row.owner_id), row.reason)
            _end(connection, row, deed, new_id=new_id, now=now)
        return len(rows)


def _end(connection: Connection, row: Any, deed: Deed, *, new_id: Callable[[], int], now: datetime) -> None:
    connection.execute(update(hold).where(hold.c.id == row.id).values(ended_at=now))
    actions.note(connection, deed, new_id=new_id, now=now)


def _ending(row: Any, kind: str, doer: Doer, reason: str) -> Deed:
    return Deed(kind=kind, doer=doer, wanted=_hold(row).wanted, reason=reason, hold_id=row.id)


def listed(store: Store, owner_id: int | None, *, now: datetime) -> list[Hold]:
    """In force now, the oldest first: all of them, or those that a tenant placed."""
    with store.read() as connection:
        return [h for h in in_force(connection, now) if owner_id is None or h.owner_id == owner_id]


def in_force(connection: Connection, now: datetime) -> list[Hold]:
    wanted = select(hold).where(_IN_FORCE, or_(hold.c.until.is_(None), hold.c.until > bindparam("now")))
    return [_hold(row) for row in connection.execute(wanted.order_by(hold.c.id), {"now": now})]


def _hold(row: Any) -> Hold:
    wanted = Selection(**{name: getattr(row, name) for name in _FIELDS})
    return Hold(row.id, wanted, row.owner_id, row.placed_by, row.reason, row.placed_at, row.until)


@dataclass(frozen=True, slots=True)
class InForce:
    """What a worker needs to obey the holds.

    streams       id -> name, of those streams that have a name which a hold gives
    lanes_of      hold id -> lanes with mail that it names row by row
    """

    holds: Sequence[Hold]
    streams: Mapping[int, str]
    lanes_of: Mapping[int, frozenset[int]]


def look(store: Store, *, now: datetime) -> InForce:
    """One query where nothing is held."""
    with store.read() as connection:
        holds = in_force(connection, now)
        if not holds:
            return InForce((), {}, {})
        names = {h.wanted.stream for h in holds} - {None}
        named = select(stream.c.id, stream.c.name).where(stream.c.name.in_(sorted(map(str, names))))
        streams = {row.id: row.name for row in connection.execute(named)} if names else {}
        return InForce(holds, streams, _lanes_of(connection, holds))


def _lanes_of(connection: Connection, holds: Sequence[Hold]) -> Mapping[int, frozenset[int]]:
    found: dict[int, frozenset[int]] = {}
    of: dict[str, dict[int, list[int]]] = {"message_id": defaultdict(list), "id": defaultdict(list)}
    for h in holds:
        if h.wanted.recipient_id is not None:
            of["id"][h.wanted.recipient_id].append(h.id)
        elif h.wanted.message_id is not None:
            of["message_id"][h.wanted.message_id].append(h.id)
    for name, hold_ids in of.items():
        if not hold_ids:
            continue
        column = recipient.c[name]
        rows = select(column, recipient.c.lane_id).where(dialect.OneOf(column, "named")).distinct()
        lanes: dict[int, set[int]] = defaultdict(set)
        for key, lane_id in connection.execute(rows, {"named": dialect.listed(connection, list(hold_ids))}):
            lanes[key].add(lane_id)
        found |= {hold_id: frozenset(lanes[key]) for key, those in hold_ids.items() for hold_id in those}
    return found
