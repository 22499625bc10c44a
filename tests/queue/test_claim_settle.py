"""What the queue promises, on both engines."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from mailer import clock
from mailer.events import EventType, RecipientState, WaitReason
from mailer.queue import claim, fanout, incarnations, permits, read, settle, sweep, verify
from mailer.queue.incarnations import Fenced
from mailer.store import Store
from mailer.store.tables import stream
from tests.support.mailroom import (
    BOUNCED,
    DELIVERED,
    HEARD_250,
    HEARD_451,
    HOUR,
    RELEASED,
    Mailroom,
    deferral,
    register,
    settlements,
)


def view(room: Mailroom, message_id: int) -> read.MessageView:
    found = read.message_of(room.store, room.tenant_id, message_id)
    assert found is not None
    return found


def test_an_accepted_recipient_is_claimed_delivered_and_told(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    moved = room.settle(room.claim(), DELIVERED)

    [r] = view(room, m.id).recipients
    assert (moved, r.state, r.attempts, r.wait_reason) == (1, RecipientState.DELIVERED, 1, None)
    assert [e.type for e in view(room, m.id).events] == [EventType.ACCEPTED, EventType.DELIVERED]
    assert verify.verify(room.store).holds


def test_what_is_claimed_is_claimed_by_nobody_else(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(10)))
    other = register(room.store)

    mine, theirs = room.claim(6), room.claim(100, me=other.id)

    assert len(mine) == 6
    assert len(theirs) == 4
    assert not {c.recipient_id for c in mine} & {c.recipient_id for c in theirs}


def test_two_workers_at_once_never_claim_the_same(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{i % 7}.example") for i in range(200)))
    workers = [register(room.store) for _ in range(4)]
    taken: list[int] = []

    def work(me: int) -> None:
        while got := room.claim(3, me=me):
            taken.extend(c.recipient_id for c in got)

    threads = [threading.Thread(target=work, args=(w.id,)) for w in workers]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert len(taken) == len(set(taken)) == 200


def test_settling_twice_moves_nothing_twice(room: Mailroom) -> None:
    room.accept(room.message())
    claimed = room.claim()
    room.settle(claimed, DELIVERED)

    again = room.settle(claimed, BOUNCED)

    assert again == 0
    assert verify.verify(room.store).holds


def test_a_stale_attempt_cannot_settle_what_was_claimed_anew(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    first = room.claim()
    room.settle(first, RELEASED)
    room.claim()

    moved = room.settle(first, DELIVERED)

    assert moved == 0
    assert view(room, m.id).recipients[0].state == RecipientState.LEASED


def test_a_fenced_worker_writes_nothing(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    claimed = room.claim()
    incarnations.fence(room.store, room.worker.id, now=clock.now())

    with pytest.raises(Fenced):
        room.settle(claimed, DELIVERED)
    with pytest.raises(Fenced):
        room.claim()
    with pytest.raises(Fenced):
        incarnations.beat(room.store, room.worker.id)

    assert view(room, m.id).recipients[0].state == RecipientState.LEASED


def test_a_release_is_no_attempt_and_no_event(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    room.settle(room.claim(), RELEASED)

    [r] = view(room, m.id).recipients
    assert (r.state, r.attempts, r.wait_reason) == (RecipientState.QUEUED, 0, WaitReason.RELEASED)
    assert [e.type for e in view(room, m.id).events] == [EventType.ACCEPTED]
    assert verify.verify(room.store).holds


def test_a_deferred_recipient_waits_for_its_due_time(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    due = clock.now() + HOUR
    room.settle(room.claim(), deferral(due), HEARD_451)

    early = sweep.wake_due(room.store, now=due - HOUR / 2)
    on_time = sweep.wake_due(room.store, now=due)

    assert (early, on_time) == (0, 1)
    assert [c.attempts for c in room.claim()] == [1]


def test_a_wish_to_cancel_is_obeyed_unless_it_was_delivered(room: Mailroom) -> None:
    from mailer.store.tables import recipient

    kept, cancelled = room.message("a.example"), room.message("b.example")
    room.accept(kept, cancelled)
    by_domain = {c.domain: c for c in room.claim()}
    with room.store.write() as c:
        c.execute(recipient.update().values(cancel_wanted=True))

    room.settle([by_domain["a.example"]], DELIVERED)
    room.settle([by_domain["b.example"]], deferral(clock.now() + HOUR), HEARD_451)

    assert view(room, kept.id).recipients[0].state == RecipientState.DELIVERED
    assert view(room, cancelled.id).recipients[0].state == RecipientState.CANCELLED
    assert verify.verify(room.store).holds


def test_a_claim_stops_at_its_bytes_but_takes_at_least_one(room: Mailroom) -> None:
    room.accept(*(room.message(body=b"x" * 1000) for _ in range(5)))

    assert len(room.claim(max_bytes=10)) == 1
    assert len(room.claim(max_bytes=2100)) == 2


def test_a_late_yes_stops_a_retry_that_was_not_yet_dialled(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    [c] = room.claim()
    room.settle([c], RELEASED)

    stopped = settle.note_late_reply(
        room.store,
        c.attempt_id,
        settle.LateReply(250, "250 ok"),
        new_id=room.new_id,
        process_number=0,
        now=clock.now(),
    )

    [r] = view(room, m.id).recipients
    assert stopped
    assert (r.state, r.tries[0].late_reply) == (RecipientState.DELIVERED, "250 ok")
    assert verify.verify(room.store).holds


def test_a_late_yes_is_evidence_only_once_the_retry_is_dialled(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    [c] = room.claim()
    room.settle([c], RELEASED)
    room.claim()

    stopped = settle.note_late_reply(
        room.store,
        c.attempt_id,
        settle.LateReply(250, "250 ok"),
        new_id=room.new_id,
        process_number=0,
        now=clock.now(),
    )

    assert not stopped
    assert view(room, m.id).recipients[0].state == RecipientState.LEASED


def test_lanes_with_work_are_found_and_follow_their_site(room: Mailroom) -> None:
    room.accept(room.message("a.example"), room.message("b.example"), room.message("a.example"))
    before = claim.waiting_lanes(room.store, limit=10)

    room.settle(room.claim(1), RELEASED, HEARD_250)

    assert {(x.domain, x.site) for x in before} == {("a.example", None), ("b.example", None)}
    assert {x.site for x in claim.waiting_lanes(room.store, limit=10)} == {"mx:mx.example"}


@pytest.mark.parametrize(
    ("heard", "noted"),
    [("provider:google", "provider:google"), ("mx:mx.example+2", "mx:mx.example+2"), ("route:hub:25", None)],
)
def test_a_lane_notes_every_site_but_a_route(room: Mailroom, heard: str, noted: str | None) -> None:
    room.accept(room.message())

    room.settle(room.claim(), RELEASED, replace(HEARD_250, site=heard))

    assert [x.site for x in claim.waiting_lanes(room.store, limit=10)] == [noted]


def test_many_lanes_are_looked_at_in_turns(room: Mailroom) -> None:
    room.accept(*(room.message(f"d{i}.example") for i in range(5)))

    first = claim.waiting_lanes(room.store, limit=3)
    second = claim.waiting_lanes(room.store, limit=3, after=first[-1].lane_id)

    assert len({x.lane_id for x in (*first, *second)}) == 5
    assert claim.waiting_lanes(room.store, limit=3, after=second[-1].lane_id) == []


def test_permits_of_all_workers_never_pass_the_limit(room: Mailroom) -> None:
    others = [register(room.store) for _ in range(3)]

    grants = [permits.acquire(room.store, w.id, {"mx:a": 6})["mx:a"] for w in [room.worker, *others]]

    assert sum(grants) <= 6
    assert grants[0] == 1


def test_permits_return_with_a_fenced_worker(room: Mailroom) -> None:
    other = register(room.store)
    permits.acquire(room.store, other.id, {"mx:a": 1})
    taken = permits.acquire(room.store, room.worker.id, {"mx:a": 1})["mx:a"]

    incarnations.fence(room.store, other.id, now=clock.now())

    assert taken == 0
    assert permits.acquire(room.store, room.worker.id, {"mx:a": 1})["mx:a"] == 1


def test_the_longest_domain_and_the_longest_address_have_permits_as_all_others(room: Mailroom) -> None:
    domain = ".".join(["a" * 49] * 5) + ".ab"  # 252 octets: one more for the local part, and the @
    names = f"domain:{domain}", f"ip:2001:db8:1111:2222:3333:4444:5555:6666|mx:{domain[:120]}+99"

    grants = permits.acquire(room.store, room.worker.id, dict.fromkeys(names, 2))

    assert grants == dict.fromkeys(names, 2)


def test_an_idempotency_key_is_won_once_and_replayed(room: Mailroom) -> None:
    first, second = room.message(key="k1"), room.message(key="k1")

    lost_first, lost_second = room.accept(first), room.accept(second)

    assert lost_first == {}
    assert (lost_second[second.id].message_id, lost_second[second.id].response) == (first.id, first.response)
    assert read.message_of(room.store, room.tenant_id, second.id) is None
    assert verify.verify(room.store).holds


def test_a_key_twice_in_one_group_is_accepted_once(room: Mailroom) -> None:
    first, second = room.message(key="k1"), room.message(key="k1")

    lost = room.accept(first, second)

    assert list(lost) == [second.id]


def test_doors_that_race_for_the_same_keys_accept_each_once(room: Mailroom) -> None:
    doors = [[room.message(key=f"k{i}") for i in range(20)] for _ in range(4)]
    lost: list[int] = []

    def door(messages: list) -> None:
        lost.extend(room.accept(*messages))

    threads = [threading.Thread(target=door, args=(d,)) for d in doors]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert len(lost) == 60
    assert verify.verify(room.store).tenants[0].accepted == 20


def test_event_numbers_have_no_gaps_and_keep_a_recipients_order(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(5)))
    fanout.fan_out(room.store, most=3)
    room.settle(room.claim(), DELIVERED)
    while fanout.fan_out(room.store, most=3):
        pass

    page = read.events(room.store, room.tenant_id, after=0, limit=100)

    assert [e.number for e in page.events] == list(range(1, 11))
    assert all(e.version == 1 for e in page.events if e.type == EventType.ACCEPTED)
    assert verify.verify(room.store).holds


def test_fan_outs_at_once_number_each_event_once(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(300)))

    def number() -> None:
        for _ in range(100):
            fanout.fan_out(room.store, most=10)

    threads = [threading.Thread(target=number) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    while fanout.fan_out(room.store):
        pass

    assert verify.verify(room.store).holds
    assert read.events(room.store, room.tenant_id, after=0, limit=1).events[0].number == 1


def test_pages_of_the_log_join_without_loss(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(7)))
    fanout.fan_out(room.store)

    first = read.events(room.store, room.tenant_id, after=0, limit=4)
    second = read.events(room.store, room.tenant_id, after=first.last_number, limit=4)

    assert [e.number for e in (*first.events, *second.events)] == [1, 2, 3, 4, 5, 6, 7]
    assert first.epoch == "test-epoch"


def test_another_tenant_sees_nothing(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    fanout.fan_out(room.store)

    assert read.message_of(room.store, room.tenant_id + 1, m.id) is None
    assert read.events(room.store, room.tenant_id + 1, after=0, limit=10).events == []


def test_process_numbers_of_the_living_differ(store: Store) -> None:
    living = [register(store) for _ in range(20)]

    assert len({w.process_number for w in living}) == 20


def test_a_rolled_back_acceptance_leaves_nothing(room: Mailroom) -> None:
    m = room.message(key="k")

    with pytest.raises(ZeroDivisionError), room.store.write() as c:
        room.insert(c, [m], clock.now())
        raise ZeroDivisionError

    assert read.message_of(room.store, room.tenant_id, m.id) is None
    assert verify.verify(room.store).holds


def test_verify_finds_a_recipient_that_vanished(room: Mailroom) -> None:
    from mailer.store.tables import recipient

    m = room.message("a.example", "b.example")
    room.accept(m)
    with room.store.write() as c:
        c.execute(recipient.delete().where(recipient.c.id == m.recipients[0].id))

    verdict = verify.verify(room.store)

    assert not verdict.holds
    assert verdict.tenants[0].unaccounted == 1


def test_verify_finds_a_final_state_that_was_never_told(room: Mailroom) -> None:
    from mailer.store.tables import recipient

    room.accept(room.message())
    with room.store.write() as c:
        c.execute(recipient.update().values(state="delivered", wait_reason=None))

    broken = [c.name for c in verify.verify(room.store).checks if not c.holds]

    assert broken == ["every change was told once, and every final state exactly once"]


def test_settlements_of_several_moves_in_one_group(room: Mailroom) -> None:
    room.accept(*(room.message(f"{x}.example") for x in "abc"))
    a, b, c = sorted(room.claim(), key=lambda x: x.domain)
    group = [
        *settlements([a], DELIVERED),
        *settlements([b], BOUNCED),
        *settlements([c], deferral(clock.now() + HOUR), HEARD_451),
    ]

    moved = settle.settle(
        room.store, room.worker.id, group, new_id=room.new_id, process_number=1, now=clock.now()
    )

    [count] = verify.verify(room.store).tenants
    assert moved == 3
    assert (count.final["delivered"], count.final["bounced"], count.in_queue) == (1, 1, 1)


def test_what_is_wanted_of_tls_is_known_to_whoever_takes_the_attempt(room: Mailroom) -> None:
    """By the claim, and by one who finds it leased: mail must not go out with less than was asked for."""
    with room.store.write() as c:
        c.execute(stream.update().values(tls="encrypted"))
    room.accept(replace(room.message(), tls="required"))

    claimed = room.claim()
    found = sweep.open_attempts(room.store, room.worker.id, most=10)

    assert [(c.tls, c.stream_tls) for c in claimed] == [("required", "encrypted")]
    assert found == claimed
