"""A new tenant's daily cap grows with clean days, on both engines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from mailer import clock
from mailer.config.load import brake_rules
from mailer.identity import tenants
from mailer.policy.brake import Counts
from mailer.policy.limits import Rate
from mailer.queue import allowances, brake, braking, explain, newcomers, paced
from mailer.queue.newcomers import Grown
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Means
from tests.relay.test_claimer import bench
from tests.support.mailroom import Mailroom

RULES = brake_rules(None)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Nursery:
    """A tenant that is new since NOON, under a cap of 100."""

    room: Mailroom
    now: datetime = NOON

    def sends(self, **counts: int) -> None:
        key = (self.room.tenant_id, self.room.stream_id)
        with self.room.store.write() as connection:
            braking.count(connection, {key: Counts(**counts)}, process_number=1, now=self.now)

    def next_day(self) -> list[Grown]:
        self.now += DAY
        return newcomers.grow(self.room.store, RULES, now=self.now)

    def cap(self) -> int | None:
        rates = allowances.of(self.room.store, "newcomer", [self.room.tenant_id])
        return next((r.count for found in rates.values() for r in found), None)


@pytest.fixture
def nursery(room: Mailroom) -> Nursery:
    with room.store.write() as connection:
        newcomers.begin(connection, room.tenant_id, cap=100, now=NOON)
    return Nursery(room)


def test_the_cap_grows_after_a_clean_day_and_once(nursery: Nursery) -> None:
    nursery.sends(delivered=80)
    early = newcomers.grow(nursery.room.store, RULES, now=nursery.now + timedelta(hours=11))
    grown = nursery.next_day()

    assert (early, grown) == ([], [Grown(nursery.room.tenant_id, 100, 200)])
    assert newcomers.grow(nursery.room.store, RULES, now=nursery.now) == []
    assert nursery.cap() == 200


@pytest.mark.parametrize(
    "day",
    [
        {"delivered": 49},
        {},
        {"delivered": 95, "bounced": 5},
        {"delivered": 100, "complained": 1},
    ],
)
def test_a_day_that_was_little_used_or_ill_received_leaves_it(nursery: Nursery, day: dict[str, int]) -> None:
    nursery.sends(**day)

    assert nursery.next_day() == []
    assert nursery.cap() == 100


def test_a_stream_that_is_warned_of_keeps_the_cap(nursery: Nursery) -> None:
    nursery.sends(bounced=500)
    brake.judge(Means(nursery.room.store, nursery.room.new_id, 1, lambda: nursery.now), RULES)
    nursery.now += DAY
    newcomers.grow(nursery.room.store, RULES, now=nursery.now)
    nursery.sends(delivered=100)

    assert nursery.next_day() == []


def test_after_enough_clean_days_there_is_none(nursery: Nursery) -> None:
    caps = []
    for _ in range(6):
        nursery.sends(delivered=nursery.cap() or 0)
        caps += [grown.cap for grown in nursery.next_day()]

    assert caps == [200, 400, 800, 1600, 3200, None]
    assert nursery.cap() is None
    nursery.sends(delivered=5)
    assert nursery.next_day() == []


def test_who_is_trusted_has_none_at_once(nursery: Nursery) -> None:
    now = nursery.now

    assert newcomers.trust(nursery.room.store, nursery.room.tenant_id, now=now)
    assert not newcomers.trust(nursery.room.store, nursery.room.tenant_id, now=now)
    assert nursery.cap() is None


def test_a_cap_of_the_operators_holds_beside_it(nursery: Nursery) -> None:
    store, tenant_id = nursery.room.store, nursery.room.tenant_id
    allowances.allow(store, "tenant", tenant_id, [Rate(86400, 50)], now=NOON)
    nursery.sends(delivered=100)
    nursery.next_day()

    found = {
        (held.is_newcomers, str(at.rate)) for held in allowances.standing(store, now=NOON) for at in held.at
    }
    assert found == {(False, "50/day"), (True, "200/day")}


def test_a_worker_claims_no_more_than_the_cap_and_explain_says_why(room: Mailroom) -> None:
    with room.store.write() as connection:
        newcomers.begin(connection, room.tenant_id, cap=2, now=clock.now())
    messages = [room.message("a.example") for _ in range(4)]
    room.accept(*messages)
    b = bench(room)
    claimed = []
    for _ in range(6):
        claimed += b.claimer.pull()
        b.clock.now += 3

    waits = next(m.id for m in messages if m.id not in {c.message_id for c in claimed})
    told = explain.explain(room.store, room.tenant_id, waits, Knowledge(also=paced.FINDERS), now=clock.now())

    assert len(claimed) == 2
    assert told is not None
    assert "its tenant is new, and sends 2/day at most, and so much was sent" in [
        obstacle.what for obstacle in told[0].obstacles
    ]


def test_another_tenant_is_not_capped(nursery: Nursery) -> None:
    made = tenants.create(
        nursery.room.store, "globex", in_doubt="retry", new_id=nursery.room.new_id, now=NOON
    )
    other = replace(nursery.room, tenant_id=made.id)

    assert allowances.of(other.store, "newcomer", [made.id]) == {}
