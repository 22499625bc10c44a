"""A warm-up in virtual time: what each IP sent by the day, under which caps, and how it was received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mailer.events import RecipientState
from mailer.policy.bounceclass import Blame
from mailer.policy.classifier import shipped
from mailer.policy.outcome import Accepted, Outcome, Refused
from mailer.policy.warmup import Verdict
from mailer.queue import warming
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.queue.warming import PastDay
from mailer.simulate.fleet import Fleet
from mailer.simulate.harbour import Harbour, Ip, Pool, opened
from mailer.simulate.public import Audience
from mailer.simulate.script import Script
from mailer.simulate.sender import BEGIN, DAY, Conduct, Laws, Stream, Watcher
from mailer.simulate.world import World

NEW, WARM = "192.0.2.1", "192.0.2.2"  # RFC 5737 §3: nobody's
_ALL_ROWS = 100_000
_WORST_FIRST = (Verdict.RED, Verdict.YELLOW, Verdict.GREEN)


@dataclass(slots=True, kw_only=True)
class Day:
    """One IP's day, over all providers.

    cap      of the providers at which it is not warm, together; None: it is warm at all, or not warmed up
    refused  otherwise than because of our IP
    verdict  the worst of all providers; None: it is not warmed up, or sent nothing
    """

    number: int
    ip: str
    offered: int = 0
    accepted: int = 0
    blocked: int = 0
    refused: int = 0
    complained: int = 0
    cap: int | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """days: the new IP's first. waiting: messages in the queue at the end of each day. expired: of each."""

    script: str
    seed: int
    days: Mapping[str, Sequence[Day]]
    waiting: Sequence[int]
    expired: Sequence[int]

    @property
    def warm_on(self) -> int | None:
        """The first day of which no cap held the new IP up; None: none of these."""
        return next((day.number for day in self.days[NEW] if day.verdict and day.cap is None), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        days = {ip: [asdict(day) for day in found] for ip, found in self.days.items()}
        return {
            "script": self.script, "seed": self.seed, "warm_on": self.warm_on, "ips": days,
            "waiting": list(self.waiting), "expired": list(self.expired),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is tried.

    volume       messages a day
    plan         of the new IP's warm-up; None: it is thrown in without one
    has_warm     an IP that all know takes what the new one may not
    spoilt_from  the day from which the list is full of bad addresses; None: it stays good
    turn_seconds what is due is claimed so often
    """

    volume: int
    days: int
    seed: int
    plan: str | None = "steady"
    has_warm: bool = True
    spoilt_from: int | None = None
    turn_seconds: float = 1800.0


GOOD = Audience()
BAD = Audience(unknown=0.4, complains=0.02)


class Diary(Watcher):
    """Adds up what happens, by day and IP."""

    def __init__(self) -> None:
        self.days: dict[tuple[int, str], Day] = {}
        self.expired: dict[int, int] = {}

    def day(self, number: int, ip: str) -> Day:
        return self.days.setdefault((number, ip), Day(number=number, ip=ip))

    def offered(self, at: datetime, ip: str, provider: str, outcomes: Sequence[Outcome]) -> None:
        day = self.day(_number(at), ip)
        day.offered += len(outcomes)
        for outcome in outcomes:
            match outcome:
                case Accepted():
                    day.accepted += 1
                case Refused(reply, phase) if shipped().of_reply(reply, phase).blame is Blame.OUR_IP:
                    day.blocked += 1
                case _:
                    day.refused += 1

    def waits(self, at: datetime, provider: str, claimed: Claimed, settlement: Settlement) -> None:
        self.ended(at, claimed, settlement)

    def ended(self, at: datetime, claimed: Claimed, settlement: Settlement) -> None:
        if settlement.move.state is RecipientState.EXPIRED:
            self.expired[_number(at)] = self.expired.get(_number(at), 0) + 1

    def complained(self, at: datetime, ip: str, provider: str, who: int) -> None:
        self.day(_number(at), ip).complained += 1


def _number(at: datetime) -> int:
    return (at - BEGIN).days + 1


def grow(script: Script, laws: Laws, plan: Plan) -> Growth:
    """Sends for so many days from a new IP, by the rules as they are."""
    world = World(script, plan.seed)
    new = Ip(address=NEW, plan=plan.plan, target=max(int(plan.volume * 0.9), 1))
    warm = Ip(address=WARM, weight=0, known=plan.volume)
    pool = Pool(name="main", ips=(new, warm) if plan.has_warm else (new,))
    stream = Stream(
        name="news",
        volume=lambda _now: plan.volume,
        audience=lambda now: BAD if plan.spoilt_from and now >= (plan.spoilt_from - 1) * DAY else GOOD,
    )
    diary = Diary()
    waiting = []
    with opened([pool], laws.warmup, BEGIN) as harbour:
        introduce(world, pool)
        conduct = Conduct(turn_seconds=plan.turn_seconds)
        fleet = Fleet(world, harbour, [stream], laws, seed=plan.seed, conduct=conduct, watcher=diary)
        for _ in range(plan.days):
            fleet.run(DAY)
            waiting.append(fleet.waiting())
        fleet.end_day()
        found = {ip.address: _days(diary, harbour, ip.address, plan.days) for ip in pool.ips}
    expired = [diary.expired.get(number, 0) for number in range(1, plan.days + 1)]
    return Growth(script.name, plan.seed, found, waiting, expired)


def introduce(world: World, *pools: Pool) -> None:
    """Providers know those IPs that they are to know."""
    weights = sum(part.weight for part in world.parts.values())
    for ip in (ip for pool in pools for ip in pool.ips):
        for name, part in world.parts.items():
            if ip.known:
                world.provider(name).introduce(ip.address, round(ip.known * part.weight / weights), 0.0)


def _days(diary: Diary, harbour: Harbour, address: str, count: int) -> list[Day]:
    past: dict[int, list[PastDay]] = {}
    for row in warming.history(harbour.store, harbour.ids[address], most=_ALL_ROWS):
        past.setdefault((row.day - BEGIN.date()).days + 1, []).append(row)
    found = []
    for number in range(1, count + 1):
        day, rows = diary.day(number, address), past.get(number, [])
        caps = [row.cap for row in rows if row.cap is not None]
        day.cap = sum(caps) if caps else None
        day.verdict = next((v for v in _WORST_FIRST if any(row.verdict == v for row in rows)), None)
        found.append(day)
    return found
