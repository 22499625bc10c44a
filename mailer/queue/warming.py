"""Warm-ups as the operator sees and steers them: plan, stage, use, forecast, and why it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.policy import warmup as policy
from mailer.policy.warmplan import WarmupRules
from mailer.queue.warmup import HELD, STOPPED, day_of, level_of, start_of
from mailer.store import Store, dialect
from mailer.store.tables import egress_ip, warmup, warmup_day, warmup_plan

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Standing:
    """One IP at one provider, today.

    stage      1, 2, ... `stages`; None: warm
    cap, used  messages of today; cap None: as many as wanted
    warm_on    when it is warm if every day advances it; None: not as things stand, `forecast` says why
    reason     why it stands where it stands
    """

    provider: str
    stage: int | None
    stages: int
    cap: int | None
    used: int
    delivered: int
    deferred: int
    bounced: int
    blocked: int
    complained: int
    verdict: str
    reason: str
    warm_on: date | None
    forecast: str


@dataclass(frozen=True, slots=True)
class Warmup:
    """One IP's warm-up. state: running, held, stopped (no caps). reason: an operator's; None: none given."""

    egress_id: int
    address: str
    plan: str
    target_per_day: int | None
    state: str
    reason: str | None
    started_at: datetime
    providers: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class PastDay:
    """A day that is over, of one IP at one provider."""

    provider: str
    day: date
    stage: int
    cap: int | None
    used: int
    delivered: int
    deferred: int
    bounced: int
    blocked: int
    complained: int
    verdict: str
    reason: str


def listed(store: Store, *, rules: WarmupRules, now: datetime) -> list[Warmup]:
    """All warm-ups, stopped ones too."""
    with store.read() as connection:
        return _read(connection, rules, now)


def one(store: Store, egress_id: int, *, rules: WarmupRules, now: datetime) -> Warmup | None:
    with store.read() as connection:
        return next(iter(_read(connection, rules, now, egress_id)), None)


def history(store: Store, egress_id: int, *, most: int = 100) -> list[PastDay]:
    """The latest days first."""
    days = (
        select(warmup_day)
        .where(warmup_day.c.egress_id == egress_id)
        .order_by(warmup_day.c.day.desc(), warmup_day.c.provider)
        .limit(most)
    )
    with store.read() as connection:
        return [
            PastDay(
                r.provider, start_of(r.day).date(), r.stage + 1, r.cap, r.used, r.delivered, r.deferred,
                r.bounced, r.blocked, r.complained, r.verdict, r.reason,
            )
            for r in connection.execute(days)
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """plan: a name in the rules. target_per_day: messages a day at which it is warm; None: the plan's end."""

    plan: str
    target_per_day: int | None = None


def start(store: Store, egress_id: int, wanted: Start, *, rules: WarmupRules, now: datetime) -> bool:
    """Begins anew from the first stage, at all providers; False: there is no such IP.

    What was used today stays counted. The caller has made sure that there is such a plan.
    """
    with store.write() as connection:
        if connection.execute(select(egress_ip.c.id).where(egress_ip.c.id == egress_id)).first() is None:
            return False
        values = {
            "egress_id": egress_id, "plan": wanted.plan, "target_per_day": wanted.target_per_day,
            "state": RUNNING, "reason": None, "started_at": now,
        }  # fmt: skip
        new = dialect.insert(connection, warmup_plan).values(values)
        connection.execute(new.on_conflict_do_update(index_elements=["egress_id"], set_=values))
        mine = select(warmup.c.provider).where(warmup.c.egress_id == egress_id).order_by(warmup.c.provider)
        for provider in connection.execute(mine.with_for_update()).scalars().all():
            ladder = rules.ladder(wanted.plan, wanted.target_per_day, provider)
            _begin_anew(connection, egress_id, provider, cap=ladder.cap(0))
        return True


def _begin_anew(connection: Connection, egress_id: int, provider: str, *, cap: int | None) -> None:
    answers = dict.fromkeys(("delivered", "deferred", "bounced", "blocked", "complained"), 0)
    row = update(warmup).where(warmup.c.egress_id == egress_id, warmup.c.provider == provider)
    begun = {"stage": 0, "cap": cap, "judged": 0, "verdict": policy.Verdict.GREEN, "reason": "begun"}
    connection.execute(row.values(**begun, **answers))


def hold(store: Store, egress_id: int, reason: str | None) -> bool:
    """It does not advance any more, at no provider; caps stay as they are. False: nothing is warming up."""
    return _set_state(store, egress_id, HELD, reason, only=(HELD, RUNNING))


def resume(store: Store, egress_id: int) -> bool:
    """It goes on from where it stands. False: nothing is held. What was stopped is started anew instead."""
    return _set_state(store, egress_id, RUNNING, None, only=(HELD, RUNNING))


def stop(store: Store, egress_id: int, reason: str | None) -> bool:
    """No caps from now on. False: nothing is warming up."""
    return _set_state(store, egress_id, STOPPED, reason, only=(HELD, RUNNING, STOPPED))


def _set_state(store: Store, egress_id: int, state: str, reason: str | None, *, only: Sequence[str]) -> bool:
    with store.write() as connection:
        mine = update(warmup_plan).where(warmup_plan.c.egress_id == egress_id, warmup_plan.c.state.in_(only))
        return connection.execute(mine.values(state=state, reason=reason and reason[:200])).rowcount > 0


def _read(
    connection: Connection, rules: WarmupRules, now: datetime, egress_id: int | None = None
) -> list[Warmup]:
    plans = (
        select(warmup_plan, egress_ip.c.ipv4, egress_ip.c.ipv6)
        .join(egress_ip, egress_ip.c.id == warmup_plan.c.egress_id)
        .order_by(warmup_plan.c.egress_id)
    )
    levels = select(warmup).order_by(warmup.c.provider)
    if egress_id is not None:
        plans = plans.where(warmup_plan.c.egress_id == egress_id)
        levels = levels.where(warmup.c.egress_id == egress_id)
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(levels):
        rows[row.egress_id].append(row)
    return [_shown(plan, rows[plan.egress_id], rules, day_of(now)) for plan in connection.execute(plans)]


def _shown(plan: Any, rows: Sequence[Any], rules: WarmupRules, today: int) -> Warmup:
    return Warmup(
        plan.egress_id,
        plan.ipv4 or plan.ipv6,
        plan.plan,
        plan.target_per_day,
        plan.state,
        plan.reason,
        plan.started_at,
        tuple(_standing(plan, row, rules, today) for row in rows),
    )


def _standing(plan: Any, row: Any, rules: WarmupRules, today: int) -> Standing:
    """As of today: a row of an earlier day is shown as the first reserve of today would find it."""
    is_held = plan.state == HELD
    ladder = rules.ladder(plan.plan, plan.target_per_day, row.provider)
    level, _ = policy.roll(ladder, rules.health, level_of(row), today, is_held=is_held)
    foreseen = policy.forecast(ladder, level, is_held=is_held)
    counts = level.counts
    return Standing(
        provider=row.provider,
        stage=None if level.cap is None else level.stage + 1,
        stages=ladder.top,
        cap=None if plan.state == STOPPED else level.cap,
        used=counts.used,
        delivered=counts.delivered,
        deferred=counts.deferred,
        bounced=counts.bounced,
        blocked=counts.blocked,
        complained=counts.complained,
        verdict=level.verdict,
        reason=level.reason,
        warm_on=None if foreseen.day is None else start_of(foreseen.day).date(),
        forecast=foreseen.reason,
    )
