"""Claims for pools: what a site takes is counted for each of our IPs, and none stands in another's way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from mailer import clock
from mailer.config.load import warmup_rules
from mailer.events import AttemptState, RecipientState, WaitReason
from mailer.identity import egress, pools, tenants
from mailer.identity.pools import NewPool
from mailer.policy.egress import Stay
from mailer.policy.limits import Rate
from mailer.policy.outcome import Accepted, Outcome, Refused
from mailer.policy.retry import RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import allowances, incarnations, moving, settle, warming
from mailer.queue.actions import Doer
from mailer.queue.claim import Claimed
from mailer.queue.pieces import Means as Doing
from mailer.queue.selection import Selection
from mailer.queue.settle import Heard, Move, Settlement
from mailer.queue.warming import Start
from mailer.relay import departing, prospects
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.dispatch import Dispatcher, DispatchParts, Sent
from mailer.relay.egress import EgressBook
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.pacebook import PaceBook
from mailer.relay.presence import Presence
from mailer.relay.trouble import StreamTrouble
from mailer.relay.verdict import Judge
from mailer.store.tables import ip_pool, permit, recipient, tenant
from tests.support.mailroom import DELIVERED, KEYS, RELEASED, Mailroom, register

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULES = warmup_rules()
ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
SITE = "provider:slow"
SCHEDULE = RetrySchedule(delays=(timedelta(minutes=1),), give_up_after=timedelta(days=9000))
TOO_FAST = Refused(Reply(421, ("4.7.0 too fast",)), Phase.MAIL)
BY_RATE = """
[provider.slow]
mx = ["slow.example"]
source = "assumed"
{limits}

[rule.slow-down]
code = [421]
text = 'too fast'
action = ["slow"]
source = "ours"
"""


class Ticks:
    """What the test says, and the database's clock in step with it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def at(self) -> datetime:
        return NOW + timedelta(seconds=self.now - 1000.0)


@dataclass
class Bench:
    """A worker's claimer and dispatcher over the mailroom's store."""

    room: Mailroom
    me: int
    claimer: Claimer
    dispatcher: Dispatcher
    book: EgressBook
    pace: PaceBook
    permits: Permits
    in_hand: InHand
    lease: Lease
    ticks: Ticks

    def pull(self) -> list[Claimed]:
        self.book.refresh(self.ticks.at())
        return self.claimer.pull()

    def pull_all(self) -> list[Claimed]:
        self.book.refresh(self.ticks.at())
        found: list[Claimed] = []
        while more := self.claimer.pull():
            found += more
        return found

    def assign(self, claimed: Sequence[Claimed]) -> Sent:
        return self.dispatcher.assign(claimed, lambda _: SITE)

    def deliver(self, claimed: list[Claimed]) -> None:
        self.room.settle(claimed, DELIVERED, me=self.me)
        self.in_hand.drop(c.attempt_id for c in claimed)

    def release(self, claimed: list[Claimed]) -> None:
        self.room.settle(claimed, RELEASED, me=self.me)
        self.in_hand.drop(c.attempt_id for c in claimed)

    def defer(self, claimed: Sequence[Claimed], stay: Stay) -> None:
        """They were refused, and are due again at once."""
        move = Move(
            attempt_state=AttemptState.SETTLED, state=RecipientState.QUEUED, wait_reason=WaitReason.REFUSED
        )
        settle.settle(
            self.room.store, self.me,
            [
                Settlement(c.attempt_id, c.recipient_id, c.lane_id, Heard(outcome="refused"), move, stay)
                for c in claimed
            ],
            new_id=self.room.new_id, process_number=self.room.worker.process_number, now=clock.now(),
        )  # fmt: skip
        self.in_hand.drop(c.attempt_id for c in claimed)

    def later(self, seconds: float) -> None:
        self.ticks.now += seconds
        self.lease.renew()


def bench(
    room: Mailroom, limits: str = "", *, here: Collection[str] = (ONE, TWO, THREE), me: int | None = None,
    site: str | None = SITE, most: ClaimLimits | None = None, in_trouble: bool = False,
) -> Bench:  # fmt: skip
    me, ticks = me or room.worker.id, Ticks()
    rules = SiteRules.parse({"sites.toml": BY_RATE.format(limits=limits)})
    most = replace(most or ClaimLimits(), rules=rules)
    presence = Presence(
        lambda _name, _kind: [], trusts_all=True, monotonic=lambda: 0.0, is_here=lambda a: a in here
    )
    book = EgressBook(room.store, "here", presence, rules=rules, monotonic=ticks)
    pace = PaceBook(room.store, rules, most_of=most.connections, monotonic=ticks, now=ticks.at)
    judge = Judge({"transactional": SCHEDULE}, now=ticks.at, draw=lambda: 0.0)
    parts = DispatchParts(
        store=room.store, me=me, book=book, rules=RULES, no_room=judge.without_egress, now=ticks.at,
        draw=random.Random(7).random, trouble=StreamTrouble(RULES.health, ticks),
        suspended_until=lambda e, s: pace.closed_until(e.name, s),
        leaves=lambda e, s: pace.claimed(e.name, s),
        is_slowed=lambda _mail, _site: in_trouble,
    )  # fmt: skip
    lease = Lease(room.store, me, seconds=15, monotonic=ticks)
    in_hand = InHand()
    permits = Permits(room.store, me, limit_of=most.connections, monotonic=ticks)
    means = Means(
        store=room.store, lease=lease, in_hand=in_hand, new_id=room.new_id,
        process_number=room.worker.process_number, keys=KEYS, now=ticks.at, monotonic=ticks,
    )  # fmt: skip
    claimer = Claimer(means, permits, limits=most, site_of=lambda _: site, book=pace, pools=parts)
    return Bench(room, me, claimer, Dispatcher(parts), book, pace, permits, in_hand, lease, ticks)


def pool(room: Mailroom, *addresses: str, name: str = "main", **more: object) -> None:
    """The default one."""
    new = NewPool(name=name, **({"is_default": True} | more))  # type: ignore[arg-type]
    pools.create(room.store, new, new_id=room.new_id, now=NOW)
    for address in addresses:
        egress.add(room.store, [address], f"out-{address[-1]}.example", new_id=room.new_id, now=NOW)
        pools.put_member(room.store, name, address)


def ip(room: Mailroom, address: str) -> int:
    return egress.one(room.store, address).id


def accept(room: Mailroom, count: int, domain: str = "slow.example") -> None:
    room.accept(*(room.message(domain) for _ in range(count)))


def sources(claimed: Sequence[Claimed]) -> Counter[str | None]:
    return Counter(c.egress.name if c.egress else None for c in claimed)


# ---- ceilings ---------------------------------------------------------------------------------------------


def test_each_ip_of_a_pool_sends_as_much_as_the_rule_allows_one_and_no_more(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 20)
    b = bench(room, "messages_per_hour = 3\n")

    claimed = b.pull_all()

    assert sources(claimed) == {ONE: 3, TWO: 3}
    assert all(c.spend is not None and c.only_site == SITE for c in claimed)


def test_two_workers_together_pass_no_ips_ceiling(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 40)
    mine, theirs = (
        bench(room, "messages_per_hour = 5\n", me=w.id) for w in (room.worker, register(room.store))
    )
    claimed: list[Claimed] = []
    for _ in range(10):
        claimed += [*mine.pull(), *theirs.pull()]

    assert sources(claimed) == {ONE: 5, TWO: 5}


def test_what_is_limited_together_is_limited_over_all_ips(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 20)
    b = bench(room, "messages_per_hour = 100\n[provider.slow.together]\nmessages_per_hour = 4\n")

    assert len(b.pull_all()) == 4


def test_a_tenants_allowance_holds_over_all_ips(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 20)
    allowances.allow(room.store, "tenant", room.tenant_id, [Rate(3600, 5)], now=clock.now())

    assert len(bench(room).pull_all()) == 5


def test_what_every_ip_has_used_up_is_asked_for_again_when_the_first_of_them_opens(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 30)
    b = bench(room, "messages_per_minute = 2\n")
    first = b.pull_all()
    b.deliver(first)
    closed = b.pull_all()
    waits = b.claimer.opens_in()

    assert (sources(first), closed) == ({ONE: 2, TWO: 2}, [])
    assert waits is not None
    assert 55 < waits < 66


def test_without_pools_all_is_counted_under_the_sites_own_name(room: Mailroom) -> None:
    accept(room, 9)
    b = bench(room, "messages_per_hour = 3\n")

    claimed = b.pull_all()

    assert sources(claimed) == {None: 3}
    assert b.in_hand.by_place() == {SITE: 3}
    assert {c.only_site for c in claimed} == {None}


# ---- the draw ---------------------------------------------------------------------------------------------


def test_mail_is_spread_by_weight_in_one_claim_and_over_many(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    pools.put_member(room.store, "main", TWO, weight=3)
    b = bench(room)
    accept(room, 60)
    at_once = b.pull_all()
    b.deliver(at_once)
    one_by_one: Counter[str | None] = Counter()
    for _ in range(60):
        accept(room, 1)
        one = b.pull()
        one_by_one += sources(one)
        b.deliver(one)

    for used in (sources(at_once), one_by_one):
        assert used.total() == 60
        assert 6 <= used[ONE] <= 24


def test_of_many_lanes_each_leaves_from_few_ips_at_a_time_and_all_ips_are_used(room: Mailroom) -> None:
    pool(room, ONE, TWO, THREE)
    room.accept(*(room.message(f"d{n}.example") for n in range(300)))
    b = bench(room)

    used = sources(b.pull_all())

    assert set(used) == {ONE, TWO, THREE}
    assert all(45 <= n <= 60 for n in used.values())  # as much as a tenant may have in hand at each


def test_where_more_lanes_wait_than_one_look_takes_in_all_are_claimed_in_the_end(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prospects, "PIECE", 10)
    pool(room, ONE, TWO)
    room.accept(*(room.message(f"d{n}.example") for n in range(60)))
    b = bench(room, most=ClaimLimits(connections_per_site=1))
    done: list[Claimed] = []
    for _ in range(300):
        claimed = b.pull()
        b.deliver(claimed)
        done += claimed
        b.later(0.05)
        if len(done) == 60:
            break

    assert len({c.recipient_id for c in done}) == len(done) == 60
    assert set(sources(done)) == {ONE, TWO}


def test_sites_that_suspended_every_ip_do_not_hide_those_that_suspended_one(
    room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many sites wait as rooms are looked at in few pulls."""
    monkeypatch.setattr(departing, "_WAYS_AT_ONCE", 1)
    monkeypatch.setattr(departing, "_ROOMS_AT_ONCE", 4)
    pool(room, ONE, TWO)
    room.accept(*(room.message(f"d{n}.example") for n in range(40)))
    b = bench(room)
    b.claimer._site_of = lambda domain: f"mx:{domain}"
    for n in range(40):
        for address in (ONE, TWO) if n < 30 else (ONE,):
            b.pace.note(address, f"mx:d{n}.example", 1, 1, TOO_FAST)
    b.later(1)
    b.pace.synchronise(b.ticks.at())
    done: list[Claimed] = []
    for _ in range(100):
        b.later(0.05)
        done += b.pull()

    assert sources(done) == {TWO: 10}


def test_a_weight_of_zero_and_an_overflow_pool_are_not_for_a_moments_rush(room: Mailroom) -> None:
    pool(room, THREE, name="spare", is_default=False)
    pool(room, ONE, TWO, overflow="spare")
    pools.put_member(room.store, "main", TWO, weight=0)
    accept(room, 20)

    assert sources(bench(room, "messages_per_hour = 3\n").pull_all()) == {ONE: 3}


# ---- what must stay ---------------------------------------------------------------------------------------


def test_pinned_recipients_leave_from_their_ip_within_its_ceiling_and_block_nobody(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 12)
    b = bench(room)
    before = b.pull_all()
    b.defer(before, Stay(ip(room, ONE), is_pinned=True, is_changed=False))
    accept(room, 5)
    limited = bench(room, "messages_per_hour = 4\n")

    claimed = limited.pull_all()

    old = {c.recipient_id for c in before}
    assert sources([c for c in claimed if c.recipient_id in old]) == {ONE: 4}
    assert sources([c for c in claimed if c.recipient_id not in old]) == {TWO: 4}
    assert all(c.stay is not None for c in claimed if c.recipient_id in old)


def test_pinned_recipients_leave_from_an_ip_that_is_draining_and_nothing_else_does(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 3)
    b = bench(room)
    before = b.pull_all()
    b.defer(before, Stay(ip(room, ONE), is_pinned=True, is_changed=False))
    egress.change(room.store, ONE, state="draining")
    accept(room, 30)

    claimed = b.pull_all()

    old = {c.recipient_id for c in before}
    assert {c.recipient_id for c in claimed if c.egress and c.egress.name == ONE} == old
    assert sources(claimed) == {ONE: 3, TWO: 30}


def test_a_recipient_that_one_ip_was_refused_for_waits_for_another(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 6)
    b = bench(room)
    before = b.pull_all()
    b.defer(before, Stay(ip(room, ONE), is_pinned=False, is_changed=True))
    limited = bench(room, "messages_per_hour = 2\n")
    again = limited.pull_all()
    accept(room, 3)

    assert sources(again) == {TWO: 2}
    assert sources(limited.pull_all()) == {ONE: 2}


def test_what_is_pinned_to_an_ip_that_is_gone_leaves_from_another(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 3)
    b = bench(room)
    b.defer(b.pull_all(), Stay(ip(room, ONE), is_pinned=True, is_changed=False))

    assert sources(bench(room, here=[TWO]).pull_all()) == {TWO: 3}


# ---- what was moved to a pool -----------------------------------------------------------------------------


def move_to(room: Mailroom, name: str, **wanted: object) -> None:
    own = Doing(room.store, room.new_id, room.worker.process_number, clock.now)
    order = moving.MoveToPool(name, "the main one is blocked")
    moving.move_to_pool(own, Selection(**wanted), Doer("ann"), order)  # type: ignore[arg-type]


def test_moved_mail_leaves_from_the_chosen_pool_within_its_ips_ceiling_and_the_rest_from_its_own(
    room: Mailroom,
) -> None:
    pool(room, ONE)
    pool(room, THREE, name="spare", is_default=False)
    accept(room, 8)
    move_to(room, "spare", domain="slow.example")
    accept(room, 8)
    b = bench(room, "messages_per_hour = 3\n")

    claimed = b.pull_all()

    spare = pools.one(room.store, "spare").id
    assert sources(claimed) == {ONE: 3, THREE: 3}
    assert {(c.egress and c.egress.name, c.pool_id) for c in claimed} == {(ONE, 0), (THREE, spare)}
    assert all(c.spend is not None for c in claimed)
    assert {p for p, n in b.in_hand.by_place().items() if n} == {f"ip:{a}|{SITE}" for a in (ONE, THREE)}


def test_moved_mail_leaves_by_the_usual_rule_once_its_pool_is_removed_or_closed_to_it(room: Mailroom) -> None:
    tenants.create(room.store, "globex", in_doubt="retry", new_id=room.new_id, now=NOW)
    pool(room, ONE)
    pool(room, THREE, name="spare", is_default=False)
    accept(room, 3)
    move_to(room, "spare")
    b = bench(room)
    room.accept(room.message("other.example"))
    with room.store.write() as c:
        c.execute(update(ip_pool).where(ip_pool.c.name == "spare").values(tenant_id=globex(room)))
    closed = b.pull_all()
    b.release(closed)
    pools.remove(room.store, "spare")
    b.later(60)

    assert sources(closed) == {ONE: 4}
    assert sources(b.pull_all()) == {ONE: 4}


def globex(room: Mailroom) -> int:
    with room.store.read() as connection:
        return connection.execute(select(tenant.c.id).where(tenant.c.name == "globex")).scalar_one()


def test_moved_mail_whose_last_try_was_pinned_to_an_ip_of_its_old_pool_leaves_from_the_new_one(
    room: Mailroom,
) -> None:
    pool(room, ONE)
    pool(room, THREE, name="spare", is_default=False)
    accept(room, 3)
    b = bench(room)
    b.defer(b.pull_all(), Stay(ip(room, ONE), is_pinned=True, is_changed=False))
    move_to(room, "spare")

    assert sources(b.pull_all()) == {THREE: 3}


def test_mail_leaves_from_a_pool_where_nothing_else_does(room: Mailroom) -> None:
    """There is no default pool: all other mail leaves by the system's choice."""
    pool(room, THREE, name="spare", is_default=False)
    accept(room, 2)
    move_to(room, "spare")
    accept(room, 3)

    assert sources(bench(room).pull_all()) == {THREE: 2, None: 3}


def test_an_attempt_that_is_adopted_knows_its_pool(room: Mailroom) -> None:
    pool(room, ONE)
    pool(room, THREE, name="spare", is_default=False)
    accept(room, 1)
    move_to(room, "spare")
    room.claim()

    assert [c.pool_id for c in bench(room).pull()] == [pools.one(room.store, "spare").id]


# ---- what was learnt --------------------------------------------------------------------------------------


def hear(b: Bench, address: str, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        b.pace.note(address, SITE, b.room.tenant_id, b.room.stream_id, outcome)
    b.later(1)
    b.pace.synchronise(b.ticks.at())


def test_a_suspended_ip_leaves_the_other_at_full_speed_and_one_message_asks(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 40)
    b = bench(room)
    b.deliver(b.pull_all())
    hear(b, ONE, Accepted(Reply(250, ("ok",))), TOO_FAST)
    accept(room, 40)
    while_suspended = sources(b.pull_all())
    b.later(30)
    b.pace.synchronise(b.ticks.at())
    accept(room, 40)
    b.pull()
    b.later(1)
    b.pace.synchronise(b.ticks.at())
    accept(room, 40)

    assert while_suspended == {TWO: 40}
    assert sources(b.pull_all())[ONE] == 1


def test_where_every_ip_is_suspended_mail_waits_in_the_queue(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 4)
    b = bench(room)
    hear(b, ONE, TOO_FAST)
    hear(b, TWO, TOO_FAST)

    assert b.pull_all() == []
    assert states(room) == {"queued": 4}


def states(room: Mailroom) -> Counter[str]:
    with room.store.read() as connection:
        return Counter(connection.execute(select(recipient.c.state)).scalars())


# ---- permits and hands ------------------------------------------------------------------------------------


def test_each_ip_has_permits_of_its_own(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 200)
    b = bench(room, "connections = 2\n")

    b.pull_all()

    places = [f"ip:{ONE}|{SITE}", f"ip:{TWO}|{SITE}"]
    held = b.in_hand.by_place()
    assert [b.permits.granted(place) for place in places] == [2, 2]
    assert [held[place] for place in places] == [6, 6]  # three quarters of 2 connections' work for 0.2 s


def test_an_ip_whose_permits_others_hold_is_left_to_them_and_they_return_with_their_holder(
    room: Mailroom,
) -> None:
    pool(room, ONE, TWO)
    accept(room, 3)
    other = register(room.store)
    b = bench(room, "connections = 1\n")
    theirs = Permits(room.store, other.id, limit_of=lambda _: 1, monotonic=Ticks())
    theirs.refresh([f"ip:{ONE}|{SITE}"])
    first = b.pull_all()
    b.deliver(first)
    incarnations.fence(room.store, other.id, now=clock.now())
    b.later(6)
    accept(room, 20)

    assert sources(first) == {TWO: 3}
    assert set(sources(b.pull_all())) == {ONE, TWO}
    with room.store.read() as connection:
        held = {tuple(row) for row in connection.execute(select(permit.c.site, permit.c.incarnation_id))}
    assert held == {(f"ip:{address}|{SITE}", room.worker.id) for address in (ONE, TWO)}


def test_an_ips_permits_are_shared_by_the_workers_of_its_host(room: Mailroom) -> None:
    register(room.store, host="elsewhere")
    register(room.store)
    b = bench(room, "connections = 6\n")

    b.permits.refresh([SITE, f"ip:{ONE}|{SITE}"])

    assert (b.permits.granted(SITE), b.permits.granted(f"ip:{ONE}|{SITE}")) == (2, 3)


# ---- warm-up, and what has no place -----------------------------------------------------------------------


def warm_up(room: Mailroom, address: str) -> int:
    """What it may send on the first day."""
    warming.start(room.store, ip(room, address), Start("steady"), rules=RULES, now=NOW)
    return RULES.ladder("steady", None, "slow").caps[0]


def test_what_a_reserve_refuses_goes_back_and_leaves_from_another_ip_with_its_tokens(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    cap = warm_up(room, ONE)
    accept(room, 4 * cap)
    mine, theirs = (
        bench(room, "messages_per_hour = 500\n"),
        bench(room, "messages_per_hour = 500\n", me=register(room.store).id),
    )
    mine.book.refresh(NOW)
    theirs.book.refresh(NOW)
    used = theirs.assign([c for c in theirs.pull_all() if c.egress and c.egress.name == ONE])
    sent = mine.assign(mine.claimer.pull())
    turned = [*used.back, *sent.back]
    theirs.release(used.back)
    mine.release(sent.back)
    mine.in_hand.drop(mine.in_hand.attempts())
    again = mine.claimer.pull()

    assert len([c for c in [*used.ready, *sent.ready] if c.granted]) <= cap
    assert {c.egress and c.egress.name for c in turned} <= {ONE}
    assert set(sources(again)) <= {TWO}
    assert all(c.spend for c in again)


def test_a_stream_in_trouble_keeps_to_one_warm_ip_whatever_is_dealt(room: Mailroom) -> None:
    pool(room, ONE, TWO, THREE)
    warm_up(room, ONE)
    for n in range(30):
        accept(room, 3, f"d{n}.example")
    b = bench(room, in_trouble=True)

    claimed = b.pull_all()

    assert len(claimed) >= 20
    assert len(sources(claimed)) == 1
    assert sources(claimed).keys() < {TWO, THREE}


def test_mail_whose_ips_are_all_full_for_today_is_told_so_and_takes_no_tokens(room: Mailroom) -> None:
    pool(room, ONE)
    cap = warm_up(room, ONE)
    accept(room, cap + 5)
    b = bench(room, "messages_per_hour = 500\n")
    sent: list[Sent] = []
    for _ in range(cap + 6):  # an hour's tokens are dealt one by one
        found = b.assign(b.pull())
        b.release(found.back)
        sent.append(found)

    ready = [c for s in sent for c in s.ready]
    waiting = [settlement for s in sent for _, settlement in s.waiting]
    assert sources(ready) == {ONE: cap}
    assert {(w.move.wait_reason, w.move.state) for w in waiting} == {
        (WaitReason.WARMUP, RecipientState.DEFERRED)
    }
    assert len(waiting) == 5


def test_mail_of_a_pool_without_an_ip_here_is_told_so(room: Mailroom) -> None:
    pool(room, ONE)
    accept(room, 3)
    b = bench(room, here=[])

    claimed = b.pull_all()
    sent = b.assign(claimed)

    assert {(c.egress, c.must_wait, c.spend) for c in claimed} == {(None, True, None)}
    assert {s.move.wait_reason for _, s in sent.waiting} == {WaitReason.NO_EGRESS}


@pytest.mark.parametrize("with_pool", [True, False])
def test_a_claim_that_nobody_answered_for_is_claimed_anew_where_its_ip_is_not_known(
    room: Mailroom, with_pool: bool
) -> None:
    if with_pool:
        pool(room, ONE)
    accept(room, 1)
    [unknown] = room.claim()
    b = bench(room)

    adopted = b.pull()
    sent = b.assign(adopted)

    assert [c.attempt_id for c in adopted] == [unknown.attempt_id]
    assert (len(sent.back), len(sent.ready)) == ((1, 0) if with_pool else (0, 1))


def test_the_first_mail_to_a_domain_finds_out_its_site_first(room: Mailroom) -> None:
    pool(room, ONE, TWO)
    accept(room, 2)
    b = bench(room, "messages_per_hour = 1\n", site=None)

    claimed = b.pull_all()

    assert {(c.egress, c.is_unsited, c.spend) for c in claimed} == {(None, True, None)}
    assert b.in_hand.by_place() == {"domain:slow.example": 2}
