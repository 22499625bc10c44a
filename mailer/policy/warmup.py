"""How a new IP grows at one provider: stage by stage, by what was achieved and not by time alone.

A level belongs to (egress IP, provider): an IP that is warm for Gmail is cold for Outlook. A day ends green,
yellow or red. A green day on which most of the cap was used and most of that delivered advances; a sender of
little volume simply stays where it is. Yellow holds, red steps back, the latter within the day as well, by
the day so far or by the running hour alone: a list that turns bad in the evening is not excused by a good
morning. Days without mail make it cold again.

Pure: counts and days go in, a level comes out, so that a curve can be simulated, printed and replayed.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from mailer.policy.warmplan import Evidence, Health, Ladder, Rates


class Verdict(enum.StrEnum):
    """How a day went."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of one day.

    used        reserved to be offered, never above the cap
    delivered, deferred, bounced, blocked
                what the provider answered; blocked: refused because of our IP; greylisting is not counted
    complained  complaints that came on this day
    """

    used: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    blocked: int = 0
    complained: int = 0

    @property
    def answers(self) -> int:
        return self.delivered + self.deferred + self.bounced + self.blocked

    def since(self, before: Counts) -> Counts:
        """What was heard after `before`, which is of the same day."""
        return Counts(
            delivered=self.delivered - before.delivered,
            deferred=self.deferred - before.deferred,
            bounced=self.bounced - before.bounced,
            blocked=self.blocked - before.blocked,
            complained=self.complained - before.complained,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where one IP stands at one provider (columns of `warmup`).

    stage     0, 1, ...; the ladder's top is warm
    cap       messages of this day at most; None: warm
    day       days since 1970, UTC
    judged    answers heard when it last stepped back on this day; 0: it did not
    last_day  of use, before this day; None: never used
    verdict   of the last day, or of this one once that is red
    hour      hours since 1970 of the last look; 0: none on this day
    before    what had been heard when that hour was first looked at
    """

    stage: int
    cap: int | None
    day: int
    counts: Counts = Counts()
    judged: int = 0
    last_day: int | None = None
    verdict: Verdict = Verdict.GREEN
    reason: str = "begun"
    hour: int = 0
    before: Counts = Counts()

    @property
    def in_the_hour(self) -> Counts:
        """What was heard in the running hour, as far as it was looked at."""
        return self.counts.since(self.before)


@dataclass(frozen=True, slots=True)
class DayEnd:
    """A day that is over (a row of `warmup_day`)."""

    day: int
    stage: int
    cap: int | None
    counts: Counts
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """day: on which it is warm at the earliest, days since 1970; None: not as things stand. reason: why."""

    day: int | None
    reason: str


def begin(ladder: Ladder, today: int) -> Level:
    """The first level of an IP that has sent this provider nothing."""
    return Level(stage=0, cap=ladder.cap(0), day=today)


def judge(health: Health, counts: Counts) -> tuple[Verdict, str]:
    """How the counts of a day look, and what made them so."""
    if fault := _over(health.red, health.day, counts):
        return Verdict.RED, fault
    if fault := _over(health.yellow, replace(health.day, sure=0.0), counts):
        return Verdict.YELLOW, fault
    return Verdict.GREEN, "healthy"


def judge_hour(health: Health, counts: Counts) -> str | None:
    """What makes an hour red by itself; None: nothing."""
    fault = _over(health.red, health.hour, counts)
    return None if fault is None else f"{fault} within the hour"


def is_trouble(health: Health, day: Counts, lately: Counts) -> bool:
    """Whether a stream is so ill received that its mail is kept to itself. lately: the last hour or two."""
    if judge(health, day)[0] is not Verdict.GREEN:
        return True
    return _over(health.yellow, health.trouble, lately) is not None


def _over(limits: Rates, evidence: Evidence, counts: Counts) -> str | None:
    if counts.answers >= evidence.answers:
        for kind in ("blocked", "bounced", "deferred"):
            bad, limit = getattr(counts, kind), getattr(limits, kind)
            if _is_over(evidence, bad, limit * counts.answers):
                return f"{kind} {bad} of {counts.answers} answers, over {limit:.1%}"
    complained, limit = counts.complained, limits.complained
    if _is_over(evidence, complained, limit * counts.delivered):
        return f"complaints {complained} about {counts.delivered} delivered, over {limit:.1%}"
    return None


def _is_over(evidence: Evidence, bad: int, allowed: float) -> bool:
    return bad >= evidence.bad and bad > allowed + evidence.sure * math.sqrt(allowed)


def roll(
    ladder: Ladder, health: Health, level: Level, today: int, *, is_held: bool = False
) -> tuple[Level, DayEnd | None]:
    """The level of `today`, and the day that ended with it; unchanged if this day has begun already.

    is_held  an operator holds it: it does not advance, but steps back all the same
    """
    if level.day >= today:
        return level, None
    verdict, why = judge(health, level.counts)
    if level.judged:  # it was red within the day, and stepped back then
        verdict, why = Verdict.RED, level.reason
    used_on = level.day if level.counts.used else level.last_day
    stage, reason = _next_stage(ladder, health, level, (verdict, why), is_held=is_held)
    ended = DayEnd(level.day, level.stage, level.cap, level.counts, verdict, reason)
    stage, reason = _decayed(health, stage, reason, used_on=used_on, was=level.day, today=today)
    stage = min(stage, ladder.top)
    fresh = Level(
        stage=stage, cap=ladder.cap(stage), day=today, last_day=used_on, verdict=verdict, reason=reason[:200]
    )
    return fresh, ended


def _next_stage(
    ladder: Ladder, health: Health, level: Level, judged: tuple[Verdict, str], *, is_held: bool
) -> tuple[int, str]:
    counts = level.counts
    verdict, why = judged
    if verdict is Verdict.RED:
        return level.stage if level.judged else _back(ladder, level.stage), why
    if verdict is Verdict.YELLOW:
        return level.stage, f"holds: {why}"
    if level.cap is None:
        return level.stage, "warm"
    if is_held:
        return level.stage, "holds: an operator holds it"
    if counts.used < health.used * level.cap:
        return level.stage, f"stays: {counts.used} of {level.cap} used, too few to advance"
    if counts.delivered < health.delivered * counts.used:
        return level.stage, f"holds: {counts.delivered} of {counts.used} delivered, too few to advance"
    return level.stage + 1, f"advanced: {counts.used} of {level.cap} used, {counts.delivered} delivered"


def _back(ladder: Ladder, stage: int) -> int:
    return max(min(stage, ladder.top) - 1, 0)


def _decayed(
    health: Health, stage: int, reason: str, *, used_on: int | None, was: int, today: int
) -> tuple[int, str]:
    """What days without mail cost since day `was`; the same however often the days in between were rolled."""
    if used_on is None or stage == 0:
        return stage, reason
    idle = today - used_on
    if idle >= health.cold_days:
        return 0, f"begins anew: {idle} days without mail"
    lost = idle // health.idle_days - max(was - used_on, 0) // health.idle_days
    if lost <= 0:
        return stage, reason
    return max(stage - lost, 0), f"stepped back: {idle} days without mail"


def is_red(health: Health, level: Level) -> bool:
    """By the day so far, or by the running hour."""
    return _fault(health, level) is not None


def _fault(health: Health, level: Level) -> str | None:
    verdict, why = judge(health, level.counts)
    return why if verdict is Verdict.RED else judge_hour(health, level.in_the_hour)


def check(ladder: Ladder, health: Health, level: Level, hour: int) -> Level:
    """The level after a look within the day: red steps back at once, again when as many answers more came.

    hour  hours since 1970, now
    """
    why = _fault(health, level)
    heard = max(level.counts.answers, 1)
    if why is None or heard < 2 * level.judged:
        return _looked_at(level, hour)
    stage = _back(ladder, level.stage)
    reason = f"stepped back: {why}"[:200]
    stepped = replace(
        level, stage=stage, cap=ladder.cap(stage), judged=heard, verdict=Verdict.RED, reason=reason
    )
    return _looked_at(stepped, hour)


def is_new_hour(level: Level, hour: int) -> bool:
    """Something was heard since the hour before was first looked at: what this one brings begins now."""
    return level.hour != hour and level.in_the_hour != Counts()


def _looked_at(level: Level, hour: int) -> Level:
    return replace(level, hour=hour, before=level.counts) if is_new_hour(level, hour) else level


def forecast(ladder: Ladder, level: Level, *, is_held: bool = False) -> Forecast:
    """When it is warm if from now on every day advances it."""
    if level.cap is None:
        return Forecast(level.day, "warm")
    if is_held:
        return Forecast(None, "an operator holds it")
    if level.verdict is not Verdict.GREEN or level.reason.startswith(("holds", "stays")):
        return Forecast(None, level.reason)
    return Forecast(level.day + ladder.top - level.stage, "if every day advances it")
