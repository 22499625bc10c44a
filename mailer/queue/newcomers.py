"""New tenants: a daily cap that grows with each clean day, until there is none.

The cap is an allowance like others (allowances.py), held by the claim over any 24 hours. It is judged once
a UTC day from what was counted of the day that is over (braking.py): a day that used enough of the cap and
was well received makes it grow; any other leaves it. Any number of sweepers may do it: a day is judged once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from mailer.policy import brake as policy
from mailer.policy.brake import Counts
from mailer.policy.brakeplan import BrakeRules
from mailer.policy.limits import WINDOWS, Rate
from mailer.queue import allowances
from mailer.store import Store
from mailer.store.tables import brake, brake_count, newcomer

_HOURS = 24


@dataclass(frozen=True, slots=True)
class Grown:
    """A cap that changed. cap: messages in any 24 hours; None: there is none any more."""

    tenant_id: int
    before: int
    cap: int | None


def begin(connection: Connection, tenant_id: int, *, cap: int, now: datetime) -> None:
    """A tenant that is made in this transaction may send so many messages a day at first."""
    row = {"tenant_id": tenant_id, "first_cap": cap, "cap": cap, "day": _day(now)}
    connection.execute(newcomer.insert().values(row))
    _allow(connection, tenant_id, cap, now)


def trust(store: Store, tenant_id: int, *, now: datetime) -> bool:
    """It is new no more. False: it was not."""
    with store.write() as connection:
        was = connection.execute(delete(newcomer).where(newcomer.c.tenant_id == tenant_id)).rowcount
        _allow(connection, tenant_id, None, now)
        return bool(was)


def grow(store: Store, rules: BrakeRules, *, now: datetime) -> list[Grown]:
    """Judges the days that are over; returns the caps that changed."""
    today = _day(now)
    due = select(newcomer.c.tenant_id).where(newcomer.c.day < today).order_by(newcomer.c.tenant_id)
    with store.read() as connection:
        tenant_ids = connection.execute(due).scalars().all()
    changed = []
    for tenant_id in tenant_ids:
        with store.write() as connection:
            found = _judge(connection, rules, tenant_id, now)
        if found is not None:
            changed.append(found)
    return changed


def _judge(connection: Connection, rules: BrakeRules, tenant_id: int, now: datetime) -> Grown | None:
    mine = newcomer.c.tenant_id == tenant_id
    row = connection.execute(select(newcomer).where(mine).with_for_update()).first()
    if row is None or row.day >= _day(now):
        return None  # another sweeper was first
    day = _counts(connection, tenant_id, row.day)
    is_marked = connection.execute(
        select(brake.c.mark).where(brake.c.tenant_id == tenant_id).limit(1)
    ).first()
    is_clean = is_marked is None and policy.is_clean(rules, day)
    cap = policy.grown(rules.newcomer, row.first_cap, row.cap, day.delivered, is_clean=is_clean)
    if cap is None:
        connection.execute(delete(newcomer).where(mine))
    else:
        connection.execute(update(newcomer).where(mine).values(cap=cap, day=_day(now)))
    if cap == row.cap:
        return None
    _allow(connection, tenant_id, cap, now)
    return Grown(tenant_id, row.cap, cap)


def _counts(connection: Connection, tenant_id: int, day: int) -> Counts:
    hours = brake_count.c.hour.between(day * _HOURS, day * _HOURS + _HOURS - 1)
    columns = (brake_count.c.delivered, brake_count.c.bounced, brake_count.c.complained)
    summed = select(*(func.coalesce(func.sum(column), 0) for column in columns))
    row = connection.execute(summed.where(brake_count.c.tenant_id == tenant_id, hours)).one()
    return Counts(*map(int, row))


def _allow(connection: Connection, tenant_id: int, cap: int | None, now: datetime) -> None:
    rates = [] if cap is None else [Rate(WINDOWS["day"], cap)]
    allowances.put(connection, "newcomer", tenant_id, rates, now=now)


def _day(at: datetime) -> int:
    return policy.hour_of(at) // _HOURS
