"""Days of sending to all providers of a script, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailer.policy.sites import SiteRules
from mailer.simulate.courier import Courier, Hour, Sender
from mailer.simulate.script import Script
from mailer.simulate.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    """hours: by provider, in order."""

    script: str
    seed: int
    hours: Mapping[str, Sequence[Hour]]

    def days(self, provider: str) -> list[Hour]:
        """The hours of each day added up; rate, state and what waits as they were at its end."""
        hours = self.hours[provider]
        return [_sum(number, hours[at : at + 24]) for number, at in enumerate(range(0, len(hours), 24))]

    def as_json(self) -> dict[str, Any]:
        """Plain values: figures by provider and hour."""
        return {
            "script": self.script,
            "seed": self.seed,
            "providers": {name: [_plain(hour) for hour in hours] for name, hours in self.hours.items()},
        }


def run(
    script: Script, rules: SiteRules, *, hours: int, seed: int, messages_per_day: float | None = None
) -> Outcome:
    """Sends for so many virtual hours.

    messages_per_day  over all providers by their weights; None: as the script says. 0: more than they take
    """
    world = World(script, seed)
    volume = script.traffic.messages_per_day if messages_per_day is None else messages_per_day
    weights = sum(part.weight for part in script.parts)
    found = {}
    for part in script.parts:
        sender = Sender(
            messages_per_day=volume * part.weight / weights,
            connections=script.traffic.connections,
            transaction_seconds=script.traffic.transaction_seconds,
        )
        found[part.name] = list(Courier(world, part.name, rules, sender, seed).hours(hours))
    return Outcome(script.name, seed, found)


def _sum(number: int, hours: Sequence[Hour]) -> Hour:
    last = hours[-1]
    return Hour(
        number=number,
        accepted=sum(hour.accepted for hour in hours),
        limited=sum(hour.limited for hour in hours),
        refused=sum(hour.refused for hour in hours),
        broken=sum(hour.broken for hour in hours),
        bounced=sum(hour.bounced for hour in hours),
        rate=last.rate,
        state=last.state,
        waiting=last.waiting,
    )


def _plain(hour: Hour) -> dict[str, Any]:
    return {
        "hour": hour.number,
        "accepted": hour.accepted,
        "refused_for_rate": hour.limited,
        "refused": hour.refused,
        "broken": hour.broken,
        "bounced": hour.bounced,
        "rate_per_hour": hour.rate,
        "state": hour.state.value,
        "waiting": hour.waiting,
    }
