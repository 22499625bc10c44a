"""A tenant that sends to bad addresses slows its own new IP down and spoils no other pool's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from mailer.config.load import warmup_rules
from mailer.policy import warmup
from mailer.policy.egress import TRANSACTIONAL, Candidate, Egress, NoRoom, Room, Wish, choose
from mailer.policy.outcome import Accepted, Outcome, Refused
from mailer.policy.sites import SiteRules
from mailer.policy.warmup import Counts, Level, Verdict
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue.claim import Claimed
from mailer.relay.trouble import StreamTrouble

RULES = warmup_rules()
LADDER = RULES.ladder("steady", 20_000, "google")
OWN, SHARED = 1, 2
POOLS = (
    Candidate(egress=Egress(id=OWN, helo="own.example", ipv4="203.0.113.1"), pool="own"),
    Candidate(
        egress=Egress(id=SHARED, helo="shared.example", ipv4="203.0.113.2"), pool="shared", is_overflow=True
    ),
)
OK = Accepted(Reply(250, ("2.0.0 ok",)))
NOBODY = Refused(Reply(550, ("5.1.1 no such user",)), Phase.RCPT)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def mail(tenant_id: int) -> Claimed:
    return Claimed(
        attempt_id=1, recipient_id=1, message_id=1, tenant_id=tenant_id, lane_id=1, domain="gmail.com",
        address="a@gmail.com", attempts=0, version=1, first_due_at=NOON, expires_at=None, size_bytes=1,
        in_doubt=False, content_id=1, domain_id=1, return_path_domain="", on_doubt="retry",
        stream_kind=TRANSACTIONAL, stream_id=1,
    )  # fmt: skip


@dataclass
class World:
    """One tenant with a new IP of its own, and a shared pool that it overflows into; virtual hours."""

    rng: random.Random
    bad: float
    hour: int = 0

    def __post_init__(self) -> None:
        self.trouble = StreamTrouble(RULES.health, lambda: self.hour * 3600.0)
        # The shared IP stands at a middling stage, so that trouble would show there.
        self.levels = {
            OWN: warmup.begin(LADDER, 0), SHARED: Level(stage=12, cap=LADDER.cap(12), day=0),
        }  # fmt: skip
        self.verdicts: dict[int, Counter[Verdict]] = {OWN: Counter(), SHARED: Counter()}
        self.sent: Counter[int] = Counter()

    def pass_an_hour(self, messages: int) -> None:
        for _ in range(messages):
            self._send(mail(tenant_id=7))
        self.hour += 1
        for ip, level in self.levels.items():
            looked = warmup.check(LADDER, RULES.health, level, self.hour)
            self.levels[ip], _ = warmup.roll(LADDER, RULES.health, looked, self.hour // 24)
            self.verdicts[ip][looked.verdict] += 1

    def _send(self, claimed: Claimed) -> None:
        rooms = {
            ip: Room(free=None if v.cap is None else v.cap - v.counts.used) for ip, v in self.levels.items()
        }
        wish = Wish(
            tenant_id=claimed.tenant_id, stream_kind=claimed.stream_kind,
            may_overflow=not self.trouble.in_trouble(claimed),
        )  # fmt: skip
        chosen = choose(wish, POOLS, rooms, self.rng.random(), pool="main")
        if isinstance(chosen, NoRoom):
            return
        outcome: Outcome = NOBODY if self.rng.random() < self.bad else OK
        self.trouble.note(claimed, outcome, SiteRules().judge(outcome, None))
        self.sent[chosen.id] += 1
        level = self.levels[chosen.id]
        c = level.counts
        counts = (
            Counts(c.used + 1, c.delivered + 1, 0, c.bounced)
            if outcome is OK
            else Counts(c.used + 1, c.delivered, 0, c.bounced + 1)
        )
        self.levels[chosen.id] = replace(level, counts=counts)


@pytest.mark.parametrize("seed", range(5))
def test_a_poisoned_tenant_leaves_the_other_pools_ips_green(seed: int) -> None:
    world = World(random.Random(seed), bad=0.3)
    for _ in range(10 * 24):
        world.pass_an_hour(40)

    assert world.verdicts[OWN][Verdict.RED] > 0
    assert set(world.verdicts[SHARED]) == {Verdict.GREEN}
    assert world.sent[SHARED] < 20  # none once its trouble was heard of


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_tenants_volume_overflows_all_the_while(seed: int) -> None:
    world = World(random.Random(seed), bad=0.01)
    for _ in range(10 * 24):
        world.pass_an_hour(40)

    assert sum(world.sent.values()) == 10 * 24 * 40  # nothing waited
    assert world.sent[SHARED] > 0
    assert {*world.verdicts[OWN], *world.verdicts[SHARED]} == {Verdict.GREEN}


def test_trouble_is_over_after_a_day() -> None:
    now = [0.0]
    trouble = StreamTrouble(RULES.health, lambda: now[0])
    for _ in range(30):
        trouble.note(mail(7), NOBODY, SiteRules().judge(NOBODY, None))
    before = trouble.in_trouble(mail(7)), trouble.in_trouble(mail(8))
    now[0] = 24 * 3600.0

    assert before == (True, False)
    assert not trouble.in_trouble(mail(7))
