"""What a warm-up would look like: a volume a day against a plan, day by day, on a healthy list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mailer.policy import warmup
from mailer.policy.warmplan import WarmupRules
from mailer.policy.warmup import Counts, Level


@dataclass(frozen=True, slots=True)
class CurveDay:
    """day: 1, 2, ... cap: of all providers together, those that are warm with what is wanted for them; None:
    all are warm. over: what the IP could not take.

    providers  messages sent to each
    """

    day: int
    cap: int | None
    sent: int
    over: int
    providers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Curve:
    """warm_on: the day on which no provider has a cap that binds any more; None: not within these days."""

    days: tuple[CurveDay, ...]
    warm_on: int | None


def curve(rules: WarmupRules, plan: str, volume: int, *, days: int, share: Mapping[str, float]) -> Curve:
    """volume: messages a day. share: parts of it by provider."""
    ladders = {name: rules.ladder(plan, volume, name) for name in share}
    wanted = _split(volume, share)
    levels = {name: warmup.begin(ladder, 0) for name, ladder in ladders.items()}
    drawn = []
    for day in range(days):
        levels = {
            name: warmup.roll(ladders[name], rules.health, level, day)[0] for name, level in levels.items()
        }
        sent = {name: _sent(levels[name], wanted[name]) for name in share}
        total = sum(sent.values())
        drawn.append(CurveDay(day + 1, _cap(levels, wanted), total, volume - total, sent))
        levels = {name: _used(levels[name], sent[name]) for name in share}
    warm_on = next((d.day for d in drawn if d.over == 0), None)
    return Curve(tuple(drawn), warm_on)


def _split(volume: int, share: Mapping[str, float]) -> dict[str, int]:
    """Whole messages that add up to the volume; what rounding leaves goes to the largest."""
    parts = {name: int(volume * part / sum(share.values())) for name, part in share.items()}
    largest = max(parts, key=lambda name: parts[name])
    parts[largest] += volume - sum(parts.values())
    return parts


def _cap(levels: Mapping[str, Level], wanted: Mapping[str, int]) -> int | None:
    if all(level.cap is None for level in levels.values()):
        return None
    return sum(wanted[name] if level.cap is None else level.cap for name, level in levels.items())


def _sent(level: Level, wanted: int) -> int:
    return wanted if level.cap is None else min(wanted, level.cap)


def _used(level: Level, sent: int) -> Level:
    """A healthy day: 1 % bounced, 3 % deferred."""
    bounced, deferred = sent // 100, sent * 3 // 100
    return replace(level, counts=Counts(sent, sent - bounced - deferred, deferred, bounced))


def usual_share(rules: WarmupRules) -> dict[str, float]:
    """The shares that the plans are scaled by."""
    return dict(rules.shares)
