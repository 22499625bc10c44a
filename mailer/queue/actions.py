"""The record of what operators and tenants did to mail that waits, written in the transaction of the deed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from mailer.ids import first_id_at
from mailer.queue.selection import Selection
from mailer.store import Store
from mailer.store.tables import action, hold

HOLD, RELEASE, LAPSE, REQUEUE, MOVE, BOUNCE = "hold", "release", "lapse", "requeue", "move", "bounce"
# Of the brake (brake.py): a stream is warned of; it is not to be held until a time; that is over.
WARN, OVERRIDE, CLEAR = "warn", "override", "clear"


@dataclass(frozen=True, slots=True)
class Doer:
    """name: an API key's id, or who gave the command. owner_id: the tenant it acts for; None: operator."""

    name: str
    owner_id: int | None = None


BRAKE = Doer("brake")  # brake.py


@dataclass(frozen=True, slots=True)
class Action:
    """One deed. recipients: how many it changed; of a hold, how many waited there when it was placed."""

    id: int
    at: datetime
    kind: str
    owner_id: int | None
    done_by: str
    wanted: Mapping[str, str]
    reason: str
    hold_id: int | None
    until: datetime | None
    status: str | None
    target: str | None
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What is to be put on record: columns of `action`."""

    kind: str
    doer: Doer
    wanted: Selection
    reason: str
    recipients: int = 0
    hold_id: int | None = None
    until: datetime | None = None
    status: str | None = None
    target: str | None = None


def note(connection: Connection, deed: Deed, *, new_id: Callable[[], int], now: datetime) -> int:
    """Returns its id."""
    action_id = new_id()
    values = {
        "id": action_id, "at": now, "kind": deed.kind, "owner_id": deed.doer.owner_id,
        "done_by": deed.doer.name, "wanted": deed.wanted.shown(), "reason": deed.reason,
        "hold_id": deed.hold_id, "until": deed.until, "status": deed.status, "target": deed.target,
        "recipients": deed.recipients,
    }  # fmt: skip
    connection.execute(action.insert().values(values))
    return action_id


def grow(connection: Connection, action_id: int, recipients: int) -> None:
    """So many more were changed; for what takes several transactions."""
    more = update(action).where(action.c.id == action_id)
    connection.execute(more.values(recipients=action.c.recipients + recipients))


def drop(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Forgets what was done, and the holds that ended, before then; returns how many rows."""
    first = first_id_at(int(before.timestamp() * 1000))
    old = {
        action: select(action.c.id).where(action.c.id < first).limit(most),
        hold: select(hold.c.id).where(hold.c.id < first, hold.c.ended_at < before).limit(most),
    }
    with store.read() as connection:
        going = {table: connection.execute(found).scalars().all() for table, found in old.items()}
    if not any(going.values()):
        return 0
    with store.write() as connection:
        return sum(
            connection.execute(delete(table).where(table.c.id.in_(row_ids))).rowcount
            for table, row_ids in going.items()
            if row_ids
        )


def listed(store: Store, owner_id: int | None, *, limit: int, before: int | None = None) -> list[Action]:
    """The newest first, of one tenant or of all; those with ids below `before`."""
    found = select(action).order_by(action.c.id.desc()).limit(limit)
    if owner_id is not None:
        found = found.where(action.c.owner_id == owner_id)
    if before is not None:
        found = found.where(action.c.id < before)
    with store.read() as connection:
        return [Action(**row._mapping) for row in connection.execute(found)]
