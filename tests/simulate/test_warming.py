"""Warm-up against providers that judge an IP, in virtual time, by the product's own rows and rules."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from mailer.config.load import brake_rules, site_rules, warmup_rules
from mailer.events import WaitReason
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.brake import Mark
from mailer.policy.classifier import shipped
from mailer.policy.outcome import Outcome, Refused
from mailer.policy.warmup import Verdict
from mailer.queue import warming, warmup
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.queue.warming import Standing
from mailer.simulate.fleet import Fleet
from mailer.simulate.harbour import Ip, Pool, opened
from mailer.simulate.public import Audience
from mailer.simulate.script import Script, parse
from mailer.simulate.sender import BEGIN, DAY, HOUR, Conduct, Laws, Stream, Watcher
from mailer.simulate.warmed import NEW, Plan, grow, introduce
from mailer.simulate.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # weeks of mail, message by message

LAWS = Laws(site_rules(None), warmup_rules(), brake_rules(None))
SEEDS = (1, 2, 3)
COSTLY = SEEDS if os.environ.get("EVERY_SEED") else SEEDS[:1]  # where one takes up to a minute and a half
CLEAN = Audience(unknown=0.01, complains=0.0002)
BOUNCING = Audience(unknown=0.4)
COMPLAINING = Audience(complains=0.03)
GOOGLE = "google"


def judges(seed: int) -> Script:
    """Strict in their own ways: how much growth they bear, what they forgive, when their day begins.

    They bear growth by 1.8 at least: a step of the plan is 1.4, their day is not ours, and mail is uneven.
    """
    rng = random.Random(seed)
    parts = {
        "google-like": (50, "gmail-smtp-in.l.google.com", 110),
        "outlook-like": (10, "example.olc.protection.outlook.com", 30),
        "small-hosts": (20, "mx.small.test", 50),
    }
    sections = []
    for name, (weight, mx, free) in parts.items():
        sections.append(
            f'[provider.{name}]\nweight = {weight}\nmx = "{mx}"\n'
            f'[[provider.{name}.does]]\nkind = "standing"\n'
            f"free = {free + rng.randrange(free)}\ngrowth = {1.8 + 1.2 * rng.random():.2f}\n"
            f"unknown = {0.05 + 0.1 * rng.random():.3f}\ncomplaints = {0.002 + 0.002 * rng.random():.4f}\n"
            f'lasts = "{rng.choice((4, 12, 24, 48))}h"\nshift = "{rng.randrange(24)}h"\n'
        )
    return parse("judges", "\n".join(sections))


# ---- a healthy list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_ip_is_warm_within_45_days_and_none_of_them_is_red(seed: int) -> None:
    found = grow(judges(seed), LAWS, Plan(volume=1200, days=45, seed=seed, turn_seconds=HOUR))

    assert Verdict.RED not in {day.verdict for day in found.days[NEW]}
    assert sum(day.blocked for day in found.days[NEW]) <= 0.01 * sum(day.offered for day in found.days[NEW])
    assert found.warm_on is not None
    assert found.warm_on <= 30
    assert sum(found.expired) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_mail_without_a_warm_up_costs_the_ip_its_standing(seed: int) -> None:
    """The adversary bites: what the test above shows is the controller's doing."""
    naive = Plan(volume=1200, days=3, seed=seed, plan=None, has_warm=False, turn_seconds=HOUR)

    first = grow(judges(seed), LAWS, naive).days[NEW][0]

    assert first.blocked >= 0.1 * first.offered
    assert first.accepted < 0.5 * 1200  # the rest waits for providers that do not want the IP


# ---- a sender of one's own making -------------------------------------------------------------------------


@dataclass
class Auditor(Watcher):
    """Adds up by itself what is promised, and notes where a promise was broken.

    offered  by day, IP and provider; what was greylisted was no use of a cap
    idle     mail that waited for volume while an IP that it might use had room
    over     offers beyond the cap in force
    """

    fleet: Fleet | None = None
    offered_of: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    outcomes: list[tuple[datetime, str, str, Outcome]] = field(default_factory=list)
    waits_of: list[tuple[datetime, int, WaitReason]] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    each_turn: Callable[[datetime], None] = lambda _at: None

    def offered(self, at: datetime, ip: str, provider: str, outcomes: Sequence[Outcome]) -> None:
        assert self.fleet is not None
        self.outcomes += [(at, ip, provider, outcome) for outcome in outcomes]
        key = (at - BEGIN).days, ip, provider
        self.offered_of[key] += sum(not _is_greylisted(outcome) for outcome in outcomes)
        cap = self._cap(ip, provider, at)
        if cap is not None and self.offered_of[key] > cap:
            self.over.append(f"{at} {ip} {provider}: {self.offered_of[key]} over {cap}")

    def waits(self, at: datetime, provider: str, claimed: Claimed, settlement: Settlement) -> None:
        assert self.fleet is not None
        reason = settlement.move.wait_reason
        if reason is None:  # its time was over
            return
        self.waits_of.append((at, claimed.tenant_id, reason))
        if reason is WaitReason.WARMUP:
            open_ = [ip for ip in self.fleet.harbour.ids if self._has_room(ip, provider, at)]
            self.idle += [f"{at} {ip} {provider}" for ip in open_]

    def turned(self, at: datetime) -> None:
        self.each_turn(at)

    def _cap(self, ip: str, provider: str, at: datetime) -> int | None:
        fleet = self.fleet
        assert fleet is not None
        egress_id = fleet.harbour.ids[ip]
        return warmup.cap_today(fleet.store, egress_id, _named(provider), rules=LAWS.warmup, now=at)

    def _has_room(self, ip: str, provider: str, at: datetime) -> bool:
        """As the database has it, whatever the worker believed."""
        fleet = self.fleet
        assert fleet is not None
        if fleet.closed_until(ip, provider) is not None:
            return False
        cap = self._cap(ip, provider, at)
        key = fleet.harbour.ids[ip], _named(provider)
        return cap is None or cap > warmup.used_today(fleet.store, *key, rules=LAWS.warmup, now=at)


def _is_greylisted(outcome: Outcome) -> bool:
    return (
        isinstance(outcome, Refused)
        and shipped().of_reply(outcome.reply, outcome.phase).bounce_class is BounceClass.GREYLISTED
    )


def _named(provider: str) -> str:
    """A provider of a script as the warm-up has it."""
    return {"google-like": GOOGLE, "outlook-like": "outlook-consumer"}.get(provider, "other")


@contextmanager
def sending(
    script: Script, pools: Sequence[Pool], *streams: Stream, seed: int = 1, conduct: Conduct | None = None
) -> Iterator[tuple[Fleet, Auditor]]:
    auditor = Auditor()
    made = World(script, seed)
    introduce(made, *pools)
    with opened(pools, LAWS.warmup, BEGIN) as harbour:
        auditor.fleet = Fleet(
            made, harbour, streams, LAWS, seed=seed, conduct=conduct or Conduct(), watcher=auditor
        )
        yield auditor.fleet, auditor


def verdicts(fleet: Fleet, ip: str) -> list[Verdict]:
    """Of its days that are over and the one that runs."""
    egress_id = fleet.harbour.ids[ip]
    now = warming.one(fleet.store, egress_id, rules=LAWS.warmup, now=fleet.at())
    past = warming.history(fleet.store, egress_id, most=10_000)
    words = [day.verdict for day in past] + [standing.verdict for standing in (now.providers if now else ())]
    return [Verdict(word) for word in words]


TRUSTED = parse(
    "trusted",
    '[provider.google-like]\nweight = 3\nmx = "gmail-smtp-in.l.google.com"\n'
    '[provider.outlook-like]\nweight = 1\nmx = "example.olc.protection.outlook.com"\n',
)
GREYLISTING = parse(
    "greylisting",
    '[provider.google-like]\nweight = 3\nmx = "gmail-smtp-in.l.google.com"\n'
    '[provider.small-hosts]\nweight = 2\ndoes = [{ kind = "greylist", seconds = "10m" }]\n',
)


# ---- a list that turns bad --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [BOUNCING, COMPLAINING], ids=["bounces", "complaints"])
@pytest.mark.parametrize("at_hour", [1, 9, 20])
@pytest.mark.parametrize("seed", COSTLY)
def test_a_list_that_turns_bad_steps_back_within_the_hour(seed: int, at_hour: int, bad: Audience) -> None:
    """The day was good until then, and long: what it heard must not excuse what it hears now."""
    spoilt_at = DAY + at_hour * HOUR
    volume = 700 * 24
    stream = Stream(
        name="news",
        volume=lambda now: 400 if now < DAY else volume,
        audience=lambda now: bad if now >= spoilt_at else CLEAN,
        kind="transactional",  # the brake holds none of these: the controller is alone
    )
    pool = Pool(name="main", kind="transactional", ips=(Ip(address=NEW, plan="steady", target=200),))
    conduct = Conduct(turn_seconds=300)
    with sending(TRUSTED, [pool], stream, seed=seed, conduct=conduct) as (fleet, auditor):
        fleet.run(DAY)
        fleet.skip(spoilt_at - DAY - min(at_hour, 6) * HOUR)
        fleet.run(min(at_hour, 6) * HOUR)
        before = verdicts(fleet, NEW)
        fleet.run(HOUR)
        after = {s.provider: s for s in _standings(fleet)}

    assert Verdict.RED not in before
    assert after[GOOGLE].verdict == Verdict.RED
    assert after[GOOGLE].cap is not None
    assert not auditor.over or "google-like" not in auditor.over[0]


def _standings(fleet: Fleet, ip: str = NEW) -> Sequence[Standing]:
    found = warming.one(fleet.store, fleet.harbour.ids[ip], rules=LAWS.warmup, now=fleet.at())
    assert found is not None
    return found.providers


# ---- a tenant that is poisoned ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["broadcast", "transactional"])
@pytest.mark.parametrize("seed", COSTLY)
def test_a_poisoned_tenant_leaves_the_other_ips_green(seed: int, kind: str) -> None:
    """Four tenants share three IPs that grow; from the third day on the list of one is bad."""
    ips = tuple(Ip(address=f"192.0.2.{n}", plan="steady", target=2000) for n in (1, 2, 3))
    spare = (Ip(address="192.0.2.9", plan="steady", target=2000),)
    pools = [
        Pool(name="main", ips=ips, kind=kind, overflow="spare"),
        Pool(name="spare", ips=spare, kind=kind),
    ]
    healthy = [Stream(name=f"t{n}", volume=lambda _now: 250, kind=kind) for n in range(3)]
    poisoned = Stream(
        name="bad",
        volume=lambda now: 150 if now < 2 * DAY else 1200,
        audience=lambda now: BOUNCING if now >= 2 * DAY else CLEAN,
        kind=kind,
    )
    with sending(TRUSTED, pools, *healthy, poisoned, seed=seed) as (fleet, auditor):
        fleet.run(4 * DAY)
        ill = [ip for ip in fleet.harbour.ids if Verdict.RED in verdicts(fleet, ip)]
        is_held = fleet.mark_of(4) is Mark.PAUSE

    assert len(ill) <= 1
    assert "192.0.2.9" not in ill
    assert is_held or any(who == 4 and at > BEGIN + timedelta(days=3) for at, who, _ in auditor.waits_of)


# ---- over the whole run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", COSTLY)
def test_no_cap_is_passed_no_room_is_left_and_each_day_ends_once(seed: int) -> None:
    """Two workers with clocks 40 seconds apart, two new IPs, a warm one in the overflow pool, greylisting."""
    ips = tuple(Ip(address=f"192.0.2.{n}", plan="steady", target=500) for n in (1, 2))
    pools = [
        Pool(name="main", ips=ips, overflow="spare"),
        Pool(name="spare", ips=(Ip(address="192.0.2.9", known=2000),)),
    ]
    streams = [Stream(name=f"t{n}", volume=lambda _now: 400) for n in range(3)]
    conduct = Conduct(workers=2, skew_seconds=40, turn_seconds=1200)
    with sending(GREYLISTING, pools, *streams, seed=seed, conduct=conduct) as (fleet, auditor):
        fleet.run(8 * DAY)
        fleet.end_day()
        over = {
            ip.address: warming.history(fleet.store, fleet.harbour.ids[ip.address], most=999) for ip in ips
        }

    assert auditor.over == []
    assert auditor.idle == []
    assert auditor.waits_of == []
    for found in over.values():
        days = Counter((day.provider, day.day) for day in found)
        assert set(days.values()) == {1}
        assert len(days) == 2 * 8
        grown = {p: [d.stage for d in reversed(found) if d.provider == p] for p in (GOOGLE, "other")}
        assert all(b - a in (0, 1) for stages in grown.values() for a, b in pairwise(stages))
        assert grown[GOOGLE][-1] > grown[GOOGLE][0]


@pytest.mark.parametrize("seed", COSTLY)
def test_mail_waits_for_volume_only_while_no_ip_has_room(seed: int) -> None:
    """Nothing is warm and nothing overflows: most mail must wait, and none in vain."""
    ips = tuple(Ip(address=f"192.0.2.{n}", plan="steady", target=500) for n in (1, 2))
    stream = Stream(name="news", volume=lambda _now: 900)
    conduct = Conduct(workers=2, skew_seconds=40, turn_seconds=1200)
    pool = Pool(name="main", ips=ips)
    with sending(GREYLISTING, [pool], stream, seed=seed, conduct=conduct) as (fleet, auditor):
        fleet.run(4 * DAY)

    assert len(auditor.waits_of) > 300
    assert {reason for _, _, reason in auditor.waits_of} == {WaitReason.WARMUP}
    assert auditor.idle == []
    assert auditor.over == []


@pytest.mark.parametrize("seed", COSTLY)
def test_a_sender_of_little_volume_comes_to_no_harm(seed: int) -> None:
    """Fifteen messages a day to all providers together, for 45 days: none waits, none is refused for it."""
    stream = Stream(name="forms", volume=lambda _now: 15, kind="transactional")
    pool = Pool(name="main", kind="transactional", ips=(Ip(address=NEW, plan="steady", target=50_000),))
    conduct = Conduct(turn_seconds=2 * HOUR)
    with sending(judges(seed), [pool], stream, seed=seed, conduct=conduct) as (fleet, auditor):
        fleet.run(45 * DAY)
        found = verdicts(fleet, NEW)

    assert set(found) == {Verdict.GREEN}
    assert auditor.waits_of == []
    assert not any(_blames_us(outcome) for _, _, _, outcome in auditor.outcomes)


def _blames_us(outcome: Outcome) -> bool:
    return (
        isinstance(outcome, Refused)
        and shipped().of_reply(outcome.reply, outcome.phase).blame is Blame.OUR_IP
    )


# ---- days without mail ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", COSTLY)
@pytest.mark.parametrize(("idle_days", "lost"), [(5, 0), (12, 1), (40, None)])
def test_what_is_idle_grows_cold_by_degrees(seed: int, idle_days: int, lost: int | None) -> None:
    """lost: stages; None: all. Providers forget an IP after 30 days, and judge it anew."""
    stream = Stream(name="news", volume=lambda _now: 700)
    warm = Ip(address="192.0.2.9", weight=0, known=1000)
    pool = Pool(name="main", ips=(Ip(address=NEW, plan="steady", target=500), warm))
    with sending(judges(seed), [pool], stream, seed=seed, conduct=Conduct(turn_seconds=HOUR)) as (
        fleet,
        auditor,
    ):
        fleet.run(9 * DAY)
        before = {s.provider: (s.stage or s.stages + 1) for s in _standings(fleet)}
        fleet.skip(idle_days * DAY)
        after = {s.provider: (s.stage or s.stages + 1) for s in _standings(fleet)}
        heard = len(auditor.outcomes)
        fleet.run(2 * DAY)

    assert before[GOOGLE] > 2
    assert after == {name: 1 if lost is None else stage - lost for name, stage in before.items()}
    assert not any(_blames_us(o) for _, ip, _, o in auditor.outcomes[heard:] if ip == NEW)
