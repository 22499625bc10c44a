"""Warm-up plans as data: how much a new IP may send a day, stage by stage, and when it is well or ill.

    [plan.example]
    unit = "day"                        # or "hour", with hours_a_day
    caps = [200, 400, 800]              # one IP, all providers
    source = "https://..."              # or "assumed"

A provider's ladder is its share of a plan's caps, never under the floor: a share of a small number would let
through less than a stage needs to tell anything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

OTHER = "other"  # all providers without a rule
_HOUR = "hour"


class WarmupPlanError(ValueError):
    """The data cannot be used; one sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """caps: messages a day of one IP, stage by stage, growing."""

    name: str
    caps: tuple[int, ...]
    source: str

    def stages(self, target_per_day: int | None) -> tuple[int, ...]:
        """The caps up to a volume at which the IP is warm; None: all of them."""
        if target_per_day is None:
            return self.caps
        return (*(cap for cap in self.caps if cap < target_per_day), target_per_day)


@dataclass(frozen=True, slots=True)
class Ladder:
    """caps: messages a day of one IP to one provider, stage by stage. Behind the last stage it is warm."""

    caps: tuple[int, ...]

    @property
    def top(self) -> int:
        """The stage that is warm."""
        return len(self.caps)

    def cap(self, stage: int) -> int | None:
        """None: warm, no cap."""
        return self.caps[stage] if stage < self.top else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Parts, 0.0 to 1.0. deferred, bounced, blocked: of the answers; complained: of what was delivered."""

    deferred: float
    bounced: float
    blocked: float
    complained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What it takes to call a rate exceeded.

    answers, bad  fewer of them are not judged
    sure          so many standard deviations over it: in few answers chance is large
    """

    answers: int
    bad: int
    sure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """When a day is good enough, and when it is not.

    used, delivered   parts of the cap and of the use that a stage needs to advance
    day, hour         what makes a day red, and the running hour by itself
    trouble           what makes a stream's last hour or two yellow
    idle_days         each so many days without mail cost a stage
    cold_days         after so many it begins anew
    """

    used: float
    delivered: float
    day: Evidence
    hour: Evidence
    trouble: Evidence
    yellow: Rates
    red: Rates
    idle_days: int
    cold_days: int


@dataclass(frozen=True, slots=True)
class WarmupRules:
    """All plans by name, the shares of providers, and health. floor: messages a day."""

    plans: Mapping[str, Plan]
    shares: Mapping[str, float]
    default_share: float
    floor: int
    health: Health

    def share(self, provider: str) -> float:
        return self.shares.get(provider, self.default_share)

    def ladder(self, plan: str, target_per_day: int | None, provider: str) -> Ladder:
        """A plan that there is no more is followed by the first one, lest an IP be without caps."""
        known = self.plans.get(plan) or next(iter(self.plans.values()))
        caps = known.stages(target_per_day)
        share = self.share(provider)
        scaled = (max(round(cap * share), min(cap, self.floor)) for cap in caps)
        # Small caps come out alike under the floor; a stage that allows no more is none.
        return Ladder(tuple(dict.fromkeys(scaled)))


def parse(text: str) -> WarmupRules:
    """Raises WarmupPlanError."""
    try:
        document = tomllib.loads(text)
        share = dict(document["share"])
        share.pop("source")
        floor, default = int(share.pop("floor")), float(share.pop("default"))
        return WarmupRules(
            plans={name: _plan(name, values) for name, values in document["plan"].items()},
            shares={name: float(value) for name, value in share.items()},
            default_share=default,
            floor=floor,
            health=_health(document),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise WarmupPlanError(f"the warm-up plans cannot be read: {error!r}") from None


def _plan(name: str, values: Mapping[str, Any]) -> Plan:
    factor = int(values["hours_a_day"]) if values["unit"] == _HOUR else 1
    caps = tuple(int(cap) * factor for cap in values["caps"])
    if not caps or caps[0] < 1 or any(b <= a for a, b in pairwise(caps)):
        raise WarmupPlanError(f"the caps of plan {name} must grow from stage to stage")
    if not values["source"]:
        raise WarmupPlanError(f"plan {name} needs a source")
    return Plan(name, caps, str(values["source"]))


def _health(document: Mapping[str, Any]) -> Health:
    return Health(
        used=float(document["advance"]["used"]),
        delivered=float(document["advance"]["delivered"]),
        day=_evidence(document["day"]),
        hour=_evidence(document["hour"]),
        trouble=_evidence(document["trouble"]),
        yellow=_rates(document["yellow"]),
        red=_rates(document["red"]),
        idle_days=int(document["decay"]["idle_days"]),
        cold_days=int(document["decay"]["cold_days"]),
    )


def _evidence(values: Mapping[str, Any]) -> Evidence:
    return Evidence(answers=int(values["answers"]), bad=int(values["bad"]), sure=float(values["sure"]))


def _rates(values: Mapping[str, Any]) -> Rates:
    names = ("deferred", "bounced", "blocked", "complained")
    return Rates(*(float(values[name]) for name in names))
