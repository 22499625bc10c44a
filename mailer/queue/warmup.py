"""Warm-up levels in the database: room is reserved before anything is dialled, and a day rolls over once.

`used` counts what was reserved and never passes `cap`: the row is locked, and the statement that adds to it
says so again. What turned out not to be offered is given back to the day it was reserved of. Whoever comes
first on a new day rolls the row over; all others find it rolled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from mailer.policy import warmup as policy
from mailer.policy.warmplan import OTHER, Ladder, WarmupRules
from mailer.policy.warmup import Counts, DayEnd, Level, Verdict
from mailer.queue.incarnations import hold_live
from mailer.store import Store, dialect
from mailer.store.tables import attempt, egress_ip, warmup, warmup_day, warmup_plan

HELD = "held"
STOPPED = "stopped"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = ("used", "delivered", "deferred", "bounced", "blocked", "complained")
_BEFORE = {f"{name}_before": name for name in _COUNTS[1:]}  # columns of the running hour

Key = tuple[int, str]  # egress id, provider


def day_of(now: datetime) -> int:
    """Days since 1970, UTC."""
    return (now - _EPOCH).days


def hour_of(now: datetime) -> int:
    """Hours since 1970."""
    return (now - _EPOCH) // timedelta(hours=1)


def start_of(day: int) -> datetime:
    """The instant at which that day begins."""
    return _EPOCH + timedelta(days=day)


@dataclass(frozen=True, slots=True)
class Grant:
    """messages: granted of what was wanted. day: that they were taken of; give them back to it alone."""

    messages: int
    day: int


def reserve(
    store: Store, me: int, wants: Mapping[Key, int], *, rules: WarmupRules, now: datetime
) -> dict[Key, Grant]:
    """Takes room for messages that are about to be offered; never more than the caps of the day allow.

    An IP that is not being warmed up, or is warm there, gets all it wants. A repeat takes room again: give
    back what is not used. Raises Fenced.
    """
    today = day_of(now)
    with store.write() as connection:
        hold_live(connection, me)
        rows = _current(connection, wants, rules, today)
        grants = {}
        taken = []
        for key, wanted in wants.items():
            row = rows.get(key)
            if row is None:
                grants[key] = Grant(wanted, today)
                continue
            level = row.level
            room = wanted if level.cap is None else max(min(wanted, level.cap - level.counts.used), 0)
            grants[key] = Grant(room, level.day)
            if room:
                taken.append({"e": key[0], "p": key[1], "n": room, "d": level.day})
        for one in taken:
            if connection.execute(_TAKE, one).rowcount != 1:
                raise RuntimeError(f"a warm-up row changed under its lock: {one}")
        return grants


_ROW = warmup.c.egress_id == bindparam("e"), warmup.c.provider == bindparam("p")
_TAKE = (
    update(warmup)
    .where(
        *_ROW,
        warmup.c.day == bindparam("d"),
        or_(warmup.c.cap.is_(None), warmup.c.used + bindparam("n") <= warmup.c.cap),
    )
    .values(used=warmup.c.used + bindparam("n"))
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A locked row of `warmup`, of today, and what its plan says. is_fresh: the day began here and now."""

    level: Level
    ladder: Ladder
    is_fresh: bool


def _current(
    connection: Connection, keys: Collection[Key], rules: WarmupRules, today: int
) -> dict[Key, _Row]:
    """The rows of these keys, locked, begun where there was none, and rolled over to today.

    Sorted, so that two processes never wait for each other in a circle.
    """
    plans = _plans(connection, {egress_id for egress_id, _ in keys})
    found: dict[Key, _Row] = {}
    for key in sorted(keys):
        plan = plans.get(key[0])
        if plan is None:
            continue
        ladder = rules.ladder(plan.plan, plan.target_per_day, key[1])
        level = _locked(connection, key, ladder, today)
        fresh, ended = policy.roll(ladder, rules.health, level, today, is_held=plan.state == HELD)
        if ended is not None:
            # Under the row's lock, so the day ends once, whoever comes at the same time.
            _write(connection, key, fresh)
            over = dialect.insert(connection, warmup_day).values(_day_values(key, ended))
            connection.execute(over.on_conflict_do_nothing())
        found[key] = _Row(fresh, ladder, ended is not None)
    return found


def _plans(connection: Connection, egress_ids: Collection[int]) -> dict[int, Any]:
    """Those that limit. Locked against a change of plan until this transaction ends."""
    wanted = (
        select(warmup_plan)
        .where(warmup_plan.c.egress_id.in_(egress_ids), warmup_plan.c.state != STOPPED)
        .order_by(warmup_plan.c.egress_id)
        .with_for_update(read=True)
    )
    return {row.egress_id: row for row in connection.execute(wanted)}


def _locked(connection: Connection, key: Key, ladder: Ladder, today: int) -> Level:
    begun = _values(key, policy.begin(ladder, today))
    connection.execute(dialect.insert(connection, warmup).values(begun).on_conflict_do_nothing())
    mine = select(warmup).where(warmup.c.egress_id == key[0], warmup.c.provider == key[1])
    return level_of(connection.execute(mine.with_for_update()).one())


def level_of(row: Any) -> Level:
    """A row of `warmup` as the policy reads it."""
    return Level(
        stage=row.stage,
        cap=row.cap,
        day=row.day,
        counts=Counts(*(getattr(row, name) for name in _COUNTS)),
        judged=row.judged,
        last_day=row.last_day,
        verdict=Verdict(row.verdict),
        reason=row.reason,
        hour=row.hour,
        before=Counts(**{name: getattr(row, column) for column, name in _BEFORE.items()}),
    )


def _values(key: Key, level: Level) -> dict[str, Any]:
    return {
        "egress_id": key[0],
        "provider": key[1],
        "stage": level.stage,
        "cap": level.cap,
        "day": level.day,
        **{name: getattr(level.counts, name) for name in _COUNTS},
        "judged": level.judged,
        "last_day": level.last_day,
        "verdict": level.verdict,
        "reason": level.reason,
        "hour": level.hour,
        **{column: getattr(level.before, name) for column, name in _BEFORE.items()},
    }


def _day_values(key: Key, ended: DayEnd) -> dict[str, Any]:
    return {
        "egress_id": key[0],
        "provider": key[1],
        "day": ended.day,
        "stage": ended.stage,
        "cap": ended.cap,
        **{name: getattr(ended.counts, name) for name in _COUNTS},
        "verdict": ended.verdict,
        "reason": ended.reason[:200],
    }


def _write(connection: Connection, key: Key, level: Level) -> None:
    mine = update(warmup).where(warmup.c.egress_id == key[0], warmup.c.provider == key[1])
    connection.execute(mine.values(_values(key, level)))


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of offers: counts to add, and how many reserved ones of which day were not offered.

    counts.used is not read
    """

    counts: Counts
    back: Mapping[int, int] | None = None


def observe(store: Store, heard: Mapping[Key, Heard]) -> None:
    """Adds up what workers heard. An IP that is not being warmed up is passed over."""
    if not heard:
        return
    with store.write() as connection:
        # Row by row in order, as a reserve locks them: two that meet never wait for each other in a circle.
        for key, one in sorted(heard.items(), key=lambda item: item[0]):
            row = {"e": key[0], "p": key[1]}
            for day, n in (one.back or {}).items():
                connection.execute(_GIVE_BACK, row | {"d": day, "n": n})
            if one.counts != Counts():
                answers = {f"n_{name}": getattr(one.counts, name) for name in _COUNTS[1:]}
                connection.execute(_ADD, row | answers)


_GIVE_BACK = (
    update(warmup)
    .where(*_ROW, warmup.c.day == bindparam("d"), warmup.c.used >= bindparam("n"))
    .values(used=warmup.c.used - bindparam("n"))
)
_ADD = (
    update(warmup)
    .where(*_ROW)
    .values({warmup.c[name]: warmup.c[name] + bindparam(f"n_{name}") for name in _COUNTS[1:]})
)


def sweep(store: Store, *, rules: WarmupRules, now: datetime) -> list[tuple[Key, Level]]:
    """Rolls days over and steps back what is red; returns the levels that changed.

    Any number of sweepers may do it at once: the day of a row ends once, and a step back is noted with it.
    """
    limited = select(warmup_plan.c.egress_id).where(warmup_plan.c.state != STOPPED)
    with store.read() as connection:
        rows = connection.execute(select(warmup).where(warmup.c.egress_id.in_(limited))).all()
    worth = [(r.egress_id, r.provider) for r in rows if _is_worth_a_look(rules, level_of(r), now)]
    changed: list[tuple[Key, Level]] = []
    for key in sorted(worth):
        with store.write() as connection:
            changed += _look_again(connection, key, rules, now)
    return changed


def _is_worth_a_look(rules: WarmupRules, level: Level, now: datetime) -> bool:
    is_new = level.day < day_of(now) or policy.is_new_hour(level, hour_of(now))
    return is_new or policy.is_red(rules.health, level)


def _look_again(
    connection: Connection, key: Key, rules: WarmupRules, now: datetime
) -> Sequence[tuple[Key, Level]]:
    row = _current(connection, [key], rules, day_of(now)).get(key)
    if row is None:
        return []
    level = policy.check(row.ladder, rules.health, row.level, hour_of(now))
    if level != row.level:
        _write(connection, key, level)
    return [(key, level)] if row.is_fresh or level.judged != row.level.judged else []


def complained(connection: Connection, recipient_id: int, message_id: int) -> None:
    """Counts a complaint against the IP that the mail left from, if that is being warmed up.

    Providers that are not one site are counted with all others: their site does not tell their name.
    """
    delivered = (
        select(attempt.c.egress_ip, attempt.c.site)
        .where(
            attempt.c.message_id == message_id,
            attempt.c.recipient_id == recipient_id,
            attempt.c.outcome == "accepted",
        )
        .order_by(attempt.c.id.desc())
        .limit(1)
    )
    row = connection.execute(delivered).first()
    if row is None or row.egress_ip is None:
        return
    source = or_(egress_ip.c.ipv4 == row.egress_ip, egress_ip.c.ipv6 == row.egress_ip)
    left_from = connection.execute(select(egress_ip.c.id).where(source)).scalar()
    if left_from is not None:
        kind, _, name = (row.site or "").partition(":")
        provider = name if kind == "provider" else OTHER
        counts = {f"n_{count}": int(count == "complained") for count in _COUNTS[1:]}
        connection.execute(_ADD, {"e": left_from, "p": provider, **counts})


def cap_today(
    store: Store, egress_id: int, provider: str, *, rules: WarmupRules, now: datetime
) -> int | None:
    """Messages that may leave from there today; None: as many as wanted."""
    level = _level_today(store, (egress_id, provider), rules, now)
    return None if level is None else level.cap


def used_today(store: Store, egress_id: int, provider: str, *, rules: WarmupRules, now: datetime) -> int:
    """Messages reserved of today's cap so far."""
    level = _level_today(store, (egress_id, provider), rules, now)
    return 0 if level is None else level.counts.used


def _level_today(store: Store, key: Key, rules: WarmupRules, now: datetime) -> Level | None:
    """Computed, not written: what a reserve now would find."""
    with store.read() as connection:
        plan = connection.execute(
            select(warmup_plan).where(warmup_plan.c.egress_id == key[0], warmup_plan.c.state != STOPPED)
        ).first()
        if plan is None:
            return None
        row = connection.execute(
            select(warmup).where(warmup.c.egress_id == key[0], warmup.c.provider == key[1])
        ).first()
    ladder = rules.ladder(plan.plan, plan.target_per_day, key[1])
    if row is None:
        return policy.begin(ladder, day_of(now))
    return policy.roll(ladder, rules.health, level_of(row), day_of(now), is_held=plan.state == HELD)[0]
