"""How a new IP grows at one provider: stage by stage, by what was achieved and not by time alone.

A level belongs to (egress IP, provider): an IP that is warm for Gmail is cold for Outlook. A day ends green,
yellow or red. A green day on which most of the cap was used and most of that delivered advances; a sender of
little volume simply stays where it is. Yellow holds, red steps back, the latter within the day as well. Days
without mail make it cold again.

Pure: counts and days go in, a level comes out, so that a curve can be simulated, printed and replayed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from mailer.policy.warmplan import Health, Ladder, Rates


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where one IP stands at one provider (columns of `warmup`).

    stage     0, 1, ...; the ladder's top is warm
    cap       messages of this day at most; None: warm
    day       days since 1970, UTC
    judged    answers heard when it last stepped back on this day; 0: it did not
    last_day  of use, before this day; None: never used
    verdict   of the last day, or of this one once that is red
    """

    stage: int
    cap: int | None
    day: int
    counts: Counts = Counts()
    judged: int = 0
    last_day: int | None = None
    verdict: Verdict = Verdict.GREEN
    reason: str = "begun"


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
    """How the counts look, and what made them so."""
    for verdict, limits in ((Verdict.RED, health.red), (Verdict.YELLOW, health.yellow)):
        if fault := _over(health, limits, counts):
            return verdict, fault
    return Verdict.GREEN, "healthy"


def _over(health: Health, limits: Rates, counts: Counts) -> str | None:
    if counts.answers >= health.answers:
        for kind in ("blocked", "bounced", "deferred"):
            bad = getattr(counts, kind)
            if bad >= health.bad and bad > getattr(limits, kind) * counts.answers:
                return f"{kind} {bad} of {counts.answers} answers, over {getattr(limits, kind):.1%}"
    if counts.complained >= health.bad and counts.complained > limits.complained * counts.delivered:
        return (
            f"complaints {counts.complained} about {counts.delivered} delivered, over {limits.complained:.1%}"
        )
    return None


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


def check(ladder: Ladder, health: Health, level: Level) -> Level:
    """The level after a look within the day: red steps back at once, again when as many answers more came."""
    verdict, why = judge(health, level.counts)
    heard = max(level.counts.answers, 1)
    if verdict is not Verdict.RED or heard < 2 * level.judged:
        return level
    stage = _back(ladder, level.stage)
    reason = f"stepped back: {why}"[:200]
    return replace(
        level, stage=stage, cap=ladder.cap(stage), judged=heard, verdict=Verdict.RED, reason=reason
    )


def forecast(ladder: Ladder, level: Level, *, is_held: bool = False) -> Forecast:
    """When it is warm if from now on every day advances it."""
    if level.cap is None:
        return Forecast(level.day, "warm")
    if is_held:
        return Forecast(None, "an operator holds it")
    if level.verdict is not Verdict.GREEN or level.reason.startswith(("holds", "stays")):
        return Forecast(None, level.reason)
    return Forecast(level.day + ladder.top - level.stage, "if every day advances it")
