"""A worker obeys the brake: a poisoned stream waits, its tenant's other mail and everybody's goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mailer import clock
from mailer.config.load import brake_rules
from mailer.policy.brake import Counts
from mailer.queue import brake, braking, explain, overriding
from mailer.queue.actions import Doer
from mailer.queue.claim import Claimed
from mailer.queue.obstacles import Knowledge
from mailer.queue.overriding import Override, Target
from mailer.queue.pieces import Means
from mailer.relay.brakebook import BrakeBook
from mailer.store.tables import stream, tenant
from tests.relay.test_claimer import Clock, bench
from tests.support.mailroom import HOUR, Mailroom

RULES = brake_rules(None)


@pytest.fixture
def means(room: Mailroom) -> Means:
    return Means(room.store, room.new_id, room.worker.process_number, clock.now)


@pytest.fixture
def campaign(room: Mailroom) -> Mailroom:
    """The same tenant's broadcast stream."""
    stream_id = room.new_id()
    with room.store.write() as c:
        c.execute(
            stream.insert().values(
                id=stream_id, tenant_id=room.tenant_id, name="broadcast", kind="broadcast",
                in_doubt="retry", created_at=clock.now(),
            )
        )  # fmt: skip
    return replace(room, stream_id=stream_id)


@pytest.fixture
def neighbour(room: Mailroom) -> Mailroom:
    """Another tenant's broadcast stream."""
    tenant_id, stream_id = room.new_id(), room.new_id()
    with room.store.write() as c:
        c.execute(tenant.insert().values(id=tenant_id, name="n", state="active", created_at=clock.now()))
        c.execute(
            stream.insert().values(
                id=stream_id, tenant_id=tenant_id, name="broadcast", kind="broadcast",
                in_doubt="retry", created_at=clock.now(),
            )
        )  # fmt: skip
    return replace(room, tenant_id=tenant_id, stream_id=stream_id)


def poison(of: Mailroom) -> None:
    with of.store.write() as connection:
        counts = {(of.tenant_id, of.stream_id): Counts(delivered=100, bounced=900)}
        braking.count(connection, counts, process_number=1, now=clock.now())


def streams(claimed: Sequence[Claimed]) -> set[tuple[int, int]]:
    return {(c.tenant_id, c.stream_id) for c in claimed}


def key(of: Mailroom) -> tuple[int, int]:
    return of.tenant_id, of.stream_id


def test_only_the_poisoned_stream_waits(
    room: Mailroom, campaign: Mailroom, neighbour: Mailroom, means: Means
) -> None:
    poison(campaign)
    brake.judge(means, RULES)
    for each in (room, campaign, neighbour):
        each.accept(each.message("a.example"))

    b = bench(room)
    claimed = [*b.claimer.pull(), *b.claimer.pull(), *b.claimer.pull()]

    assert streams(claimed) == {key(room), key(neighbour)}


def test_an_override_lets_it_go_within_a_second(room: Mailroom, campaign: Mailroom, means: Means) -> None:
    poison(campaign)
    brake.judge(means, RULES)
    campaign.accept(campaign.message("a.example"))
    b = bench(room)
    before = b.claimer.pull()

    wanted = Override(clock.now() + HOUR, "the list was cleaned")
    overriding.override(means, Target(*key(campaign), "broadcast"), wanted, Doer("ann"))
    b.clock.now += 1

    assert (before, streams(b.claimer.pull())) == ([], {key(campaign)})


def test_a_worker_knows_marked_streams_within_ten_seconds(
    room: Mailroom, campaign: Mailroom, means: Means
) -> None:
    ticks = Clock()
    book = BrakeBook(room.store, monotonic=ticks)
    book.synchronise()
    poison(campaign)
    poison(room)
    brake.judge(means, RULES)
    book.synchronise()
    before = book.is_marked(*key(campaign))

    ticks.now += 10
    book.synchronise()

    assert (before, book.is_marked(*key(campaign)), book.is_marked(*key(room))) == (False, True, True)
    assert not book.is_marked(room.tenant_id, 5)


def test_explain_names_the_brake_its_reason_and_the_time(
    room: Mailroom, campaign: Mailroom, means: Means
) -> None:
    poison(campaign)
    [paused] = brake.judge(means, RULES)
    m = campaign.message("a.example")
    campaign.accept(m)

    told = explain.explain(room.store, room.tenant_id, m.id, Knowledge(for_operator=True), now=clock.now())

    assert told is not None
    held = told[0].obstacles[0]
    assert (held.kind, held.until, held.facts["placed_by"]) == ("held", paused.until, "brake")
    assert "90.00% hard bounces, 900 of 1000" in held.what
