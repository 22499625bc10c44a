"""A stream that is ill received is held within one round, and nobody else is; on both engines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from sqlalchemy import select

from mailer import clock
from mailer.config.load import brake_rules
from mailer.events import EventType
from mailer.policy.brake import Counts, hour_of
from mailer.queue import actions, brake, braking, holds, overriding, settle
from mailer.queue.actions import Doer
from mailer.queue.overriding import Override, Target
from mailer.queue.pieces import Means
from mailer.queue.settle import LateReply
from mailer.queue.streamnews import Change
from mailer.store import Store
from mailer.store.tables import event_new, stream, tenant
from tests.support.hearing import Word, record
from tests.support.mailroom import BOUNCED, DELIVERED, HOUR, KEYS, RELEASED, Mailroom, settlements

RULES = brake_rules(None)
NOON = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
OPERATOR = Doer("ann at the console")
POISONED = Counts(delivered=800, bounced=200)


@dataclass
class Court:
    """A tenant with a broadcast and a transactional stream, another tenant, and a clock."""

    room: Mailroom
    broadcast: int
    other: tuple[int, int]
    now: datetime = NOON

    @property
    def store(self) -> Store:
        return self.room.store

    @property
    def means(self) -> Means:
        return Means(self.store, self.room.new_id, self.room.worker.process_number, lambda: self.now)

    @property
    def key(self) -> tuple[int, int]:
        return self.room.tenant_id, self.broadcast

    @property
    def target(self) -> Target:
        return Target(self.room.tenant_id, self.broadcast, "broadcast")

    def heard(self, counts: Counts, key: tuple[int, int] | None = None, process: int = 1) -> None:
        with self.store.write() as connection:
            braking.count(connection, {key or self.key: counts}, process_number=process, now=self.now)

    def judge(self, after: timedelta = timedelta()) -> list[Change]:
        self.now += after
        return brake.judge(self.means, RULES)

    def held(self) -> list[dict[str, object]]:
        return [dict(h.wanted.shown()) for h in holds.listed(self.store, None, now=self.now)]

    def told(self) -> list[str]:
        with self.store.read() as connection:
            return list(connection.execute(select(event_new.c.type).order_by(event_new.c.seq)).scalars())

    def deeds(self) -> list[tuple[str, str]]:
        return [(a.kind, a.done_by) for a in reversed(actions.listed(self.store, None, limit=99))]


@pytest.fixture
def court(room: Mailroom) -> Court:
    broadcast, other, theirs = room.new_id(), room.new_id(), room.new_id()
    new = {"kind": "broadcast", "in_doubt": "retry", "created_at": NOON}
    with room.store.write() as c:
        c.execute(tenant.insert().values(id=other, name="other", state="active", created_at=NOON))
        c.execute(stream.insert().values(id=broadcast, tenant_id=room.tenant_id, name="broadcast", **new))
        c.execute(stream.insert().values(id=theirs, tenant_id=other, name="broadcast", **new))
    return Court(room, broadcast, (other, theirs))


def test_a_poisoned_stream_is_paused_within_one_round_and_no_other_is(court: Court) -> None:
    court.heard(POISONED)
    court.heard(Counts(delivered=1000), (court.room.tenant_id, court.room.stream_id))
    court.heard(Counts(delivered=1000), court.other)

    [change] = court.judge()

    assert (change.key, change.type, change.stream) == (court.key, EventType.STREAM_PAUSED, "broadcast")
    [one] = holds.listed(court.store, None, now=court.now)
    assert (one.wanted.tenant_id, one.wanted.stream) == (court.room.tenant_id, "broadcast")
    assert (one.placed_by, one.owner_id, one.until) == ("brake", None, change.until)
    assert "20.00% hard bounces, 200 of 1000 in 24 h" in one.reason
    assert court.told() == ["stream_paused"]
    assert court.deeds() == [("hold", "brake")]


def test_a_round_that_finds_nothing_new_writes_nothing(court: Court) -> None:
    court.heard(POISONED)
    court.judge()

    assert court.judge(timedelta(minutes=1)) == []
    assert len(court.deeds()) == len(court.held()) == 1


def test_below_the_minimum_volume_nothing_is_judged(court: Court) -> None:
    court.heard(Counts(bounced=199))

    assert court.judge() == []
    court.heard(Counts(bounced=1))
    assert [c.type for c in court.judge()] == ["stream_paused"]


def test_what_processes_counted_is_added_up(court: Court) -> None:
    for process in (1, 2, 3):
        court.heard(Counts(delivered=60, bounced=10), process=process)
        court.heard(Counts(bounced=1), process=process)

    assert [c.reason for c in court.judge()] == [
        "15.49% hard bounces, 33 of 213 in 24 h: from 10.00% on it is paused"
    ]


def test_a_transactional_stream_is_warned_of_once_and_sends_on(court: Court) -> None:
    court.heard(POISONED, (court.room.tenant_id, court.room.stream_id))

    first, again = court.judge(), court.judge(timedelta(minutes=1))

    assert ([c.type for c in first], again, court.held()) == (["stream_warned"], [], [])
    assert court.deeds() == [("warn", "brake")]
    assert court.told() == ["stream_warned"]


def test_the_hours_leave_the_windows_and_the_pause_ends_when_it_said(court: Court) -> None:
    court.heard(POISONED)
    [paused] = court.judge()
    assert paused.until is not None

    before = court.judge(paused.until - NOON - timedelta(seconds=1))
    still = court.held()
    holds.lapse(court.store, new_id=court.room.new_id, now=paused.until)
    after = court.judge(timedelta(seconds=1))

    assert (before, len(still), court.held()) == ([], 1, [])
    assert [(c.type, c.key) for c in after] == [(EventType.STREAM_RESUMED, court.key)]
    assert overriding.standing(court.store, now=court.now) == []
    assert paused.until == datetime(2026, 12, 1, 12, tzinfo=UTC)  # 168 hours, the running one among them


def test_a_day_of_much_good_mail_in_the_week_ends_a_pause_with_the_day(court: Court) -> None:
    court.heard(Counts(delivered=20_000))
    court.now += 30 * HOUR
    court.heard(POISONED)

    [paused] = court.judge()

    assert paused.until == datetime(2026, 11, 26, 18, tzinfo=UTC)


def test_what_is_heard_while_it_is_paused_moves_the_end(court: Court) -> None:
    court.heard(POISONED)
    [paused] = court.judge()
    court.now += 2 * HOUR
    court.heard(Counts(delivered=1, bounced=500))

    changes = court.judge()

    [one] = holds.listed(court.store, None, now=court.now)
    assert changes == []
    assert paused.until is not None
    assert one.until == paused.until + 2 * HOUR
    assert court.deeds() == [("hold", "brake")]


def test_a_pause_survives_a_restart(court: Court) -> None:
    court.heard(POISONED)
    court.judge()
    reopened = Store(court.store.url)

    means = replace(court.means, store=reopened)
    found = holds.listed(reopened, None, now=court.now)
    changes = brake.judge(means, RULES)
    reopened.close()

    assert (len(found), changes, len(court.held())) == (1, [], 1)


def test_sweepers_at_once_place_one_hold(court: Court) -> None:
    court.heard(POISONED)
    with court.store.read() as connection:
        [one] = [s for s in brake._look(connection, RULES, court.now) if s.differs]

    first = brake._follow(court.means, one, court.now)
    second = brake._follow(court.means, one, court.now)

    assert (len(first), second, len(court.held())) == (1, [], 1)


@pytest.mark.parametrize("whole_tenant", [False, True])
def test_an_override_lets_the_mail_go_at_once_and_for_as_long_as_it_says(
    court: Court, whole_tenant: bool
) -> None:
    court.heard(POISONED)
    court.judge()
    target = Target(court.room.tenant_id) if whole_tenant else court.target
    wanted = Override(court.now + 2 * HOUR, "the list was cleaned")

    let_go = overriding.override(court.means, target, wanted, OPERATOR)
    at_once = court.held()
    meanwhile = court.judge(HOUR)
    over = court.judge(HOUR)

    assert (let_go, at_once, meanwhile) == (1, [], [])
    assert [c.type for c in over] == ["stream_paused"]
    assert court.told() == ["stream_paused", "stream_resumed", "stream_paused"]
    assert court.deeds() == [
        ("hold", "brake"), ("override", OPERATOR.name), ("release", OPERATOR.name), ("hold", "brake"),
    ]  # fmt: skip


def test_an_override_before_the_trouble_leaves_a_warning(court: Court) -> None:
    overriding.override(court.means, court.target, Override(NOON + HOUR, "known"), OPERATOR)
    court.heard(POISONED)

    assert [c.type for c in court.judge()] == ["stream_warned"]
    [one] = overriding.standing(court.store, now=court.now)
    assert (one.tenant, one.stream, one.mark, one.is_held) == ("acme", "broadcast", "pause", False)
    assert (one.override, one.set_by) == (Override(NOON + HOUR, "known"), OPERATOR.name)


def test_another_streams_override_changes_nothing(court: Court) -> None:
    other = Target(court.room.tenant_id, court.room.stream_id, "transactional")
    overriding.override(court.means, other, Override(NOON + HOUR, "known"), OPERATOR)
    overriding.override(court.means, Target(court.other[0]), Override(NOON + HOUR, "known"), OPERATOR)
    court.heard(POISONED)

    assert [c.type for c in court.judge()] == ["stream_paused"]


def test_a_cleared_override_is_judged_at_the_next_round(court: Court) -> None:
    overriding.override(court.means, court.target, Override(NOON + 9 * HOUR, "known"), OPERATOR)
    court.heard(POISONED)
    court.judge()

    cleared = overriding.clear(court.means, court.target, OPERATOR, "they did not clean it")

    assert cleared
    assert not overriding.clear(court.means, court.target, OPERATOR, "again")
    assert [c.type for c in court.judge()] == ["stream_paused"]
    assert ("clear", OPERATOR.name) in court.deeds()


def test_whoever_releases_the_hold_overrides_it_until_it_would_have_ended(court: Court) -> None:
    court.heard(POISONED)
    [paused] = court.judge()
    [one] = holds.listed(court.store, None, now=court.now)
    holds.release(court.store, one.id, OPERATOR, reason="", new_id=court.room.new_id, now=court.now)

    next_round = court.judge(timedelta(minutes=1))

    assert [c.type for c in next_round] == ["stream_resumed"]
    assert court.judge(HOUR) == court.held() == []
    [standing] = overriding.standing(court.store, now=court.now)
    assert (standing.override, standing.set_by) == (
        Override(paused.until or NOON, "its hold was released"), OPERATOR.name,
    )  # fmt: skip


def test_better_rates_lift_the_pause_and_leave_a_warning(court: Court) -> None:
    court.heard(POISONED)
    court.judge()
    court.heard(Counts(delivered=2000))  # what workers had in hand

    [change] = court.judge()

    assert (change.type, court.held()) == (EventType.STREAM_RESUMED, [])
    assert "200 of 3000" in change.reason
    [one] = overriding.standing(court.store, now=court.now)
    assert one.mark == "warn"


def test_switched_off_it_lets_go_what_it_held(court: Court) -> None:
    court.heard(POISONED)
    court.judge()

    changes = brake.judge(court.means, RULES.off())

    assert ([c.type for c in changes], court.held()) == (["stream_resumed"], [])
    assert brake.judge(court.means, RULES.off()) == []


def test_mail_is_counted_as_it_is_settled(court: Court) -> None:
    room = court.room
    room.accept(room.message("a.example", "b.example", "c.example", "d.example"))
    claimed = sorted(room.claim(), key=lambda c: c.domain)
    ends = settlements(claimed[:2], DELIVERED) + settlements(claimed[2:], BOUNCED)
    ends[2] = structs.replace(ends[2], is_hard=True)

    def settled() -> int:
        return settle.settle(
            room.store, room.worker.id, ends, new_id=room.new_id,
            process_number=room.worker.process_number, now=NOON,
        )  # fmt: skip

    moved, repeated = settled(), settled()

    with room.store.read() as connection:
        hours = braking.hours_of(connection, (room.tenant_id, room.stream_id), after=0)
    assert (moved, repeated) == (4, 0)
    assert hours == {hour_of(NOON): Counts(delivered=2, bounced=1)}


def test_a_late_reply_that_delivers_is_counted(court: Court) -> None:
    room = court.room
    room.accept(room.message())
    [claimed] = room.claim()
    room.settle([claimed], RELEASED)
    settle.note_late_reply(
        room.store, claimed.attempt_id, LateReply(250, "250 ok"), new_id=room.new_id,
        process_number=room.worker.process_number, now=NOON,
    )  # fmt: skip

    with room.store.read() as connection:
        hours = braking.hours_of(connection, (room.tenant_id, room.stream_id), after=0)
    assert hours == {hour_of(NOON): Counts(delivered=1)}


@pytest.mark.parametrize(
    ("kind", "facts", "counted"),
    [
        (EventType.COMPLAINED, {"feedback_type": "abuse"}, Counts(complained=1)),
        (EventType.BOUNCED, {"status": "5.1.1"}, Counts(bounced=1)),
        (EventType.BOUNCED, {"status": "5.7.1"}, Counts()),
        (EventType.BOUNCED, {"status": "5.7.1", "blame": "recipient"}, Counts(bounced=1)),
        (EventType.BOUNCED, {"status": "5.1.1", "blame": "our-ip"}, Counts()),
        (EventType.UNSUBSCRIBED, {}, Counts()),
    ],
)
def test_what_is_heard_afterwards_is_counted_once(
    court: Court, kind: EventType, facts: dict[str, str], counted: Counts
) -> None:
    room = court.room
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), DELIVERED)
    for _ in range(2):
        record(
            room.store, m.recipients[0].id, Word(kind, "bounce.acme.example", facts),
            keys=KEYS, new_id=room.new_id, now=clock.now() + 2 * HOUR,
        )  # fmt: skip

    with room.store.read() as connection:
        found = braking.hours_of(
            connection, (room.tenant_id, room.stream_id), after=hour_of(clock.now() + HOUR)
        )
    assert sum(found.values(), Counts()) == counted


def test_complaints_pause(court: Court) -> None:
    court.heard(Counts(delivered=2000))
    court.heard(Counts(complained=6), process=braking.HEARD_AFTERWARDS)

    [change] = court.judge()

    assert change.type is EventType.STREAM_PAUSED
    assert change.reason == "0.30% complaints, 6 of 2000 in 24 h: from 0.30% on it is paused"


def test_counts_of_long_ago_are_forgotten(court: Court) -> None:
    court.heard(POISONED)
    court.now += 3 * HOUR
    court.heard(Counts(delivered=1))

    dropped = braking.forget(court.store, before=court.now)

    with court.store.read() as connection:
        assert braking.hours_of(connection, court.key, after=0) == {hour_of(court.now): Counts(delivered=1)}
    assert (dropped, braking.forget(court.store, before=court.now)) == (1, 0)
