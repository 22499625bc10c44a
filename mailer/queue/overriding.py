"""Overrides of the brake: until a time, a stream, or all of a tenant's, is not held for what it sends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Table, delete, select, update

from mailer.events import EventType
from mailer.queue import actions, holds
from mailer.queue.actions import CLEAR, OVERRIDE, RELEASE, Deed, Doer
from mailer.queue.braking import StreamKey
from mailer.queue.pieces import Means
from mailer.queue.selection import Selection
from mailer.queue.streamnews import Change, tell_of
from mailer.store import Store, dialect
from mailer.store.tables import action, brake, brake_override, hold, stream, tenant

ALL_STREAMS = 0


@dataclass(frozen=True, slots=True)
class Target:
    """stream_id, stream: None: all streams of the tenant."""

    tenant_id: int
    stream_id: int | None = None
    stream: str | None = None

    @property
    def key(self) -> StreamKey:
        return self.tenant_id, ALL_STREAMS if self.stream_id is None else self.stream_id

    @property
    def wanted(self) -> Selection:
        return Selection(tenant_id=self.tenant_id, stream=self.stream)


@dataclass(frozen=True, slots=True)
class Override:
    """reason: a sentence, for the record."""

    until: datetime
    reason: str


def override(means: Means, target: Target, wanted: Override, doer: Doer) -> int:
    """Replaces an earlier one; what the brake held is sent from now on. Returns how many streams that are."""
    now = means.now()
    with means.store.write() as connection:
        _put(connection, target.key, wanted, doer.name, now)
        deed = Deed(kind=OVERRIDE, doer=doer, wanted=target.wanted, reason=wanted.reason, until=wanted.until)
        actions.note(connection, deed, new_id=means.new_id, now=now)
        return _let_go(connection, means, target, wanted.reason, doer)


def _put(connection: Connection, key: StreamKey, wanted: Override, set_by: str, now: datetime) -> None:
    row = {
        "tenant_id": key[0], "stream_id": key[1], "until": wanted.until, "reason": wanted.reason,
        "set_by": set_by, "set_at": now,
    }  # fmt: skip
    new = dialect.insert(connection, brake_override).values(row)
    over = {name: new.excluded[name] for name in ("until", "reason", "set_by", "set_at")}
    connection.execute(new.on_conflict_do_update(index_elements=["tenant_id", "stream_id"], set_=over))


def _let_go(connection: Connection, means: Means, target: Target, reason: str, doer: Doer) -> int:
    held = (
        select(brake.c.tenant_id, brake.c.stream_id, brake.c.hold_id)
        .where(brake.c.tenant_id == target.tenant_id, brake.c.hold_id.is_not(None))
        .order_by(brake.c.stream_id)
        .with_for_update()
    )
    if target.stream_id is not None:
        held = held.where(brake.c.stream_id == target.stream_id)
    now = means.now()
    rows = connection.execute(held).all()
    for tenant_id, stream_id, hold_id in rows:
        holds.take_back(connection, hold_id, doer, reason, new_id=means.new_id, now=now)
        mine = update(brake).where(brake.c.tenant_id == tenant_id, brake.c.stream_id == stream_id)
        connection.execute(mine.values(hold_id=None, until=None))
        name = connection.execute(select(stream.c.name).where(stream.c.id == stream_id)).scalar_one()
        resumed = Change((tenant_id, stream_id), name, EventType.STREAM_RESUMED, "the operator lets it go on")
        tell_of(connection, means, resumed, now)
    return len(rows)


def clear(means: Means, target: Target, doer: Doer, reason: str) -> bool:
    """It is judged from the next round on. False: there was no override of just that, nothing changed."""
    now = means.now()
    key = target.key
    gone = delete(brake_override).where(
        brake_override.c.tenant_id == key[0], brake_override.c.stream_id == key[1]
    )
    with means.store.write() as connection:
        if not connection.execute(gone).rowcount:
            return False
        deed = Deed(kind=CLEAR, doer=doer, wanted=target.wanted, reason=reason)
        actions.note(connection, deed, new_id=means.new_id, now=now)
        return True


def in_force(connection: Connection, now: datetime) -> set[StreamKey]:
    found = select(brake_override.c.tenant_id, brake_override.c.stream_id).where(brake_override.c.until > now)
    return {(tenant_id, stream_id) for tenant_id, stream_id in connection.execute(found)}


def covers(overrides: Collection[StreamKey], key: StreamKey) -> bool:
    return key in overrides or (key[0], ALL_STREAMS) in overrides


def forget(store: Store, *, before: datetime) -> int:
    """Drops those that ended before then."""
    old = brake_override.c.until < before
    with store.read() as connection:
        if connection.execute(select(brake_override.c.until).where(old).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        return connection.execute(delete(brake_override).where(old)).rowcount


def note_released(store: Store, *, now: datetime) -> int:
    """Whoever released a hold of the brake before its time overrides it until then; returns how many did.

    Otherwise it would be back at the next round, which nobody means who releases it.
    """
    released = (
        select(brake.c.tenant_id, brake.c.stream_id, brake.c.until, brake.c.hold_id)
        .join(hold, hold.c.id == brake.c.hold_id)
        .where(hold.c.ended_at < brake.c.until, brake.c.until > now)
    )
    with store.read() as connection:
        if connection.execute(released.limit(1)).first() is None:
            return 0
    with store.write() as connection:
        rows = connection.execute(released).all()
        for tenant_id, stream_id, until, hold_id in rows:
            by = select(action.c.done_by).where(action.c.hold_id == hold_id, action.c.kind == RELEASE)
            name = connection.execute(by.limit(1)).scalar() or "unknown"
            _put(connection, (tenant_id, stream_id), Override(until, "its hold was released"), name, now)
        return len(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stream that is marked, or for which an override is in force.

    stream    None: all of the tenant's, of an override
    mark      warn | pause; None: clear
    is_held   it is paused, until `until`
    override  None: none of just that
    """

    tenant: str
    stream: str | None
    mark: str | None = None
    reason: str = ""
    since: datetime | None = None
    is_held: bool = False
    until: datetime | None = None
    override: Override | None = None
    set_by: str | None = None


def standing(store: Store, *, now: datetime) -> list[Standing]:
    """By tenant and stream; a tenant's override first."""
    with store.read() as connection:
        marked = {(row.tenant_id, row.stream_id): row for row in connection.execute(select(brake))}
        wanted = select(brake_override).where(brake_override.c.until > now)
        overrides = {(row.tenant_id, row.stream_id): row for row in connection.execute(wanted)}
        keys = {*marked, *overrides}
        tenants = _names(connection, tenant, {tenant_id for tenant_id, _ in keys})
        streams = _names(connection, stream, {stream_id for _, stream_id in keys})
    found = []
    for key in keys:
        row, over = marked.get(key), overrides.get(key)
        made = Standing(tenant=tenants[key[0]], stream=streams.get(key[1]))
        if row is not None:
            made = replace(
                made, mark=row.mark, reason=row.reason, since=row.since, is_held=row.hold_id is not None,
                until=row.until,
            )  # fmt: skip
        if over is not None:
            made = replace(made, override=Override(over.until, over.reason), set_by=over.set_by)
        found.append(made)
    return sorted(found, key=lambda one: (one.tenant, one.stream or ""))


def _names(connection: Connection, table: Table, among: set[int]) -> dict[int, str]:
    found = select(table.c.id, table.c.name).where(dialect.OneOf(table.c.id, "ids"))
    rows = connection.execute(found, {"ids": dialect.listed(connection, sorted(among))})
    return {row_id: name for row_id, name in rows}
