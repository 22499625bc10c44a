"""The brake on tenants: streams whose mail is ill received are warned of, or held, until the rates are good.

About once a minute a sweeper judges what was counted (braking.py). A pause is a hold like any other, placed
by "brake" on the one stream, so that everything that shows holds shows it, and workers obey it within a
second, also after a restart. It has a time: that at which the rates would be good if nothing more were heard,
moved whenever something was.

Any number of sweepers may judge at once: each change is made under the lock of the stream's row, by the one
that still finds it as it was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from mailer.events import EventType
from mailer.policy import brake as policy
from mailer.policy.brake import Counts, Mark, Verdict, hour_of
from mailer.policy.brakeplan import BrakeRules
from mailer.queue import actions, braking, holds, overriding, pieces
from mailer.queue.actions import BRAKE, WARN, Deed
from mailer.queue.braking import StreamKey
from mailer.queue.holds import NewHold
from mailer.queue.pieces import Means
from mailer.queue.selection import Selection
from mailer.queue.streamnews import Change, tell_of
from mailer.store import Store, dialect
from mailer.store.tables import brake, brake_count, hold, stream


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """A stream as it is judged.

    row        its row of `brake`; None: it was clear
    is_held    the hold of that row is in force
    until      when the pause would end; None unless it is to be held
    wants_hold the verdict is to pause it, and no override says otherwise
    """

    key: StreamKey
    name: str
    row: Any
    verdict: Verdict
    wants_hold: bool
    is_held: bool
    until: datetime | None

    @property
    def differs(self) -> bool:
        """Something is to be written."""
        if self.row is None:
            return self.verdict.mark is not Mark.CLEAR
        if self.verdict.mark != self.row.mark or self.until != self.row.until:
            return True
        return self.wants_hold != self.is_held or (self.row.hold_id is not None) != self.is_held

    @property
    def wanted(self) -> Selection:
        return Selection(tenant_id=self.key[0], stream=self.name)


def judge(means: Means, rules: BrakeRules) -> list[Change]:
    """Judges the streams that were counted lately and those that are marked; returns what changed."""
    now = means.now()
    overriding.note_released(means.store, now=now)
    with means.store.read() as connection:
        found = _look(connection, rules, now)
    changed: list[Change] = []
    for one in found:
        if one.differs:
            changed += _follow(means, one, now)
    return changed


def marked(store: Store) -> frozenset[StreamKey]:
    """The streams that are warned of or held."""
    with store.read() as connection:
        found = connection.execute(select(brake.c.tenant_id, brake.c.stream_id))
        return frozenset((tenant_id, stream_id) for tenant_id, stream_id in found)


def _look(connection: Connection, rules: BrakeRules, now: datetime) -> list[_Stream]:
    hour = hour_of(now)
    rows = {(row.tenant_id, row.stream_id): row for row in connection.execute(select(brake))}
    # The hour before too: what was counted at its end was perhaps not judged.
    lately = select(brake_count.c.stream_id).where(brake_count.c.hour >= hour - 1).distinct()
    stream_ids = {*connection.execute(lately).scalars(), *(stream_id for _, stream_id in rows)}
    if not stream_ids:
        return []
    among = {"ids": dialect.listed(connection, sorted(stream_ids))}
    sums = [_sums(connection, hour - window.hours, among) for window in rules.windows]
    named = select(stream.c.id, stream.c.tenant_id, stream.c.name, stream.c.kind).where(
        dialect.OneOf(stream.c.id, "ids")
    )
    overrides = overriding.in_force(connection, now)
    held = _in_force(connection, rows.values(), now)
    found = []
    for stream_id, tenant_id, name, kind in connection.execute(named, among):
        key = (tenant_id, stream_id)
        verdict = policy.judge(rules, kind, [s.get(stream_id, Counts()) for s in sums])
        wants_hold = verdict.mark is Mark.PAUSE and not overriding.covers(overrides, key)
        until = None
        if wants_hold:
            hours = braking.hours_of(connection, key, after=hour - rules.hours)
            until = policy.start_of(policy.ends_at(rules, kind, hours, hour))
        row = rows.get(key)
        is_held = row is not None and row.hold_id in held
        found.append(
            _Stream(
                key=key, name=name, row=row, verdict=verdict, wants_hold=wants_hold, is_held=is_held,
                until=until,
            )
        )  # fmt: skip
    return found


def _sums(connection: Connection, after: int, among: Mapping[str, Any]) -> dict[int, Counts]:
    """By stream id, what was counted after an hour."""
    columns = (brake_count.c.delivered, brake_count.c.bounced, brake_count.c.complained)
    summed = (
        select(brake_count.c.stream_id, *(func.sum(column) for column in columns))
        .where(dialect.OneOf(brake_count.c.stream_id, "ids"), brake_count.c.hour > after)
        .group_by(brake_count.c.stream_id)
    )
    return {row[0]: Counts(*map(int, row[1:])) for row in connection.execute(summed, among)}


def _in_force(connection: Connection, rows: Sequence[Any] | Any, now: datetime) -> set[int]:
    """The holds of these rows that hold at this moment."""
    hold_ids = [row.hold_id for row in rows if row.hold_id is not None]
    still = select(hold.c.id).where(hold.c.id.in_(hold_ids), hold.c.ended_at.is_(None), hold.c.until > now)
    return set(connection.execute(still).scalars()) if hold_ids else set()


def _follow(means: Means, one: _Stream, now: datetime) -> list[Change]:
    """What the verdict asks for, in one transaction; nothing if the stream was changed meanwhile."""
    places = one.wants_hold and not one.is_held
    waiting = pieces.extent(means, one.wanted).waiting if places else 0
    with means.store.write() as connection:
        if not _lock(connection, one, now):
            return []
        if one.wants_hold and overriding.covers(overriding.in_force(connection, now), one.key):
            return []  # it came in between
        hold_id = _hold(connection, means, one, waiting, now)
        _write(connection, one, hold_id, now)
        changed = _change(one)
        if changed is None:
            return []
        if changed.type is EventType.STREAM_WARNED:
            deed = Deed(kind=WARN, doer=BRAKE, wanted=one.wanted, reason=changed.reason)
            actions.note(connection, deed, new_id=means.new_id, now=now)
        tell_of(connection, means, changed, now)
    return [changed]


def _lock(connection: Connection, one: _Stream, now: datetime) -> bool:
    """The stream's row is ours and as it was; made where there was none."""
    if one.row is None:
        made = {
            "tenant_id": one.key[0], "stream_id": one.key[1], "mark": one.verdict.mark,
            "reason": one.verdict.reason, "since": now, "hold_id": None, "until": None,
        }  # fmt: skip
        fresh = dialect.insert(connection, brake).values(made).on_conflict_do_nothing()
        return connection.execute(fresh.returning(brake.c.stream_id)).first() is not None
    same = select(brake).where(*_mine(one.key)).with_for_update()
    return bool(connection.execute(same).first() == one.row)


def _mine(key: StreamKey) -> tuple[Any, ...]:
    return brake.c.tenant_id == key[0], brake.c.stream_id == key[1]


def _hold(connection: Connection, means: Means, one: _Stream, waiting: int, now: datetime) -> int | None:
    """The hold that is in force from now on."""
    if one.wants_hold and not one.is_held:
        new = NewHold(one.wanted, one.verdict.reason, one.until, waiting)
        return holds.put(connection, new, BRAKE, new_id=means.new_id, now=now).id
    if not one.is_held:
        return None
    hold_id: int = one.row.hold_id
    if one.wants_hold:
        holds.renew(connection, hold_id, reason=one.verdict.reason, until=one.until)
        return hold_id
    holds.take_back(connection, hold_id, BRAKE, _why_over(one), new_id=means.new_id, now=now)
    return None


def _why_over(one: _Stream) -> str:
    if one.verdict.mark is Mark.PAUSE:
        return "an override is in force"
    return one.verdict.reason or "nothing is held against it any more"


def _write(connection: Connection, one: _Stream, hold_id: int | None, now: datetime) -> None:
    if one.verdict.mark is Mark.CLEAR:
        connection.execute(delete(brake).where(*_mine(one.key)))
        return
    is_new = one.row is None or one.row.mark != one.verdict.mark
    values = {
        "mark": one.verdict.mark,
        "reason": one.verdict.reason,
        "since": now if is_new else one.row.since,
        "hold_id": hold_id,
        "until": one.until,
    }
    connection.execute(update(brake).where(*_mine(one.key)).values(values))


def _change(one: _Stream) -> Change | None:
    """What is to be told of it; None: nothing that its tenant does not know."""
    was_held = one.row is not None and one.row.hold_id is not None
    told = (one.key, one.name)
    if one.wants_hold:
        if one.is_held:
            return None
        return Change(*told, EventType.STREAM_PAUSED, one.verdict.reason, one.until)
    if was_held:
        return Change(*told, EventType.STREAM_RESUMED, _why_over(one))
    if one.row is None:
        return Change(*told, EventType.STREAM_WARNED, one.verdict.reason)
    return None
