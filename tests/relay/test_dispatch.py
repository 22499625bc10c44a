"""Which IP claimed mail leaves from: pools as the operator mapped them, warm-up as the database grants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from mailer.config.load import site_rules, warmup_rules
from mailer.events import EventType, RecipientState, WaitReason
from mailer.identity import egress, pools
from mailer.identity.pools import NewPool, PoolChange
from mailer.policy.egress import BROADCAST, NoRoom
from mailer.policy.greylisting import Greylisted
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused
from mailer.policy.retry import RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import egress as queue_egress
from mailer.queue import read, settle, warming
from mailer.queue.claim import Claimed
from mailer.queue.egress import HostFacts
from mailer.queue.warming import Standing, Start
from mailer.relay.carrier import Report
from mailer.relay.dispatch import Dispatcher, DispatchParts, Sent
from mailer.relay.egress import EgressBook
from mailer.relay.presence import Presence
from mailer.relay.trouble import StreamTrouble
from mailer.relay.verdict import Judge
from mailer.store.tables import stream
from tests.support.mailroom import Mailroom

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
RULES = warmup_rules()
GOOGLE = "provider:google"
CAP = RULES.ladder("steady", None, "google").caps[0]
ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
SCHEDULE = RetrySchedule(delays=(timedelta(minutes=1),), give_up_after=timedelta(days=1000))


@dataclass
class Ticks:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A worker's dispatcher over the mailroom's store; `here` are the addresses of this host."""

    room: Mailroom
    dispatcher: Dispatcher
    book: EgressBook
    judge: Judge
    ticks: Ticks
    site: str | None = GOOGLE

    def claim(self, messages: int) -> list[Claimed]:
        self.room.accept(*(self.room.message() for _ in range(messages)))
        return self.room.claim(messages)

    def assign(self, claimed: Sequence[Claimed]) -> Sent:
        self.book.refresh(NOW)
        return self.dispatcher.assign(claimed, lambda _domain: self.site)

    def send(self, messages: int = 1) -> Sent:
        return self.assign(self.claim(messages))

    def standing(self, address: str) -> Standing:
        found = egress.one(self.room.store, address)
        warmup = warming.one(self.room.store, found.id, rules=RULES, now=NOW)
        assert warmup is not None
        [standing] = warmup.providers
        return standing

    def hear(self, claimed: Claimed, outcome: Outcome) -> None:
        self.dispatcher.note(claimed, Report(outcome))
        self.dispatcher.synchronise()

    def settle(self, claimed: Claimed, outcome: Outcome) -> None:
        settlement = self.judge(claimed, Report(outcome))
        settle.settle(
            self.room.store, self.room.worker.id, [settlement], new_id=self.room.new_id,
            process_number=self.room.worker.process_number, now=NOW,
        )  # fmt: skip


def bench(room: Mailroom, here: Collection[str] = (ONE, TWO, THREE), rules: SiteRules | None = None) -> Bench:
    presence = Presence(
        lambda _name, _kind: [], trusts_all=True, monotonic=lambda: 0.0, is_here=lambda a: a in here
    )
    rules = rules or site_rules(None)
    book = EgressBook(room.store, "here", presence, rules=rules, monotonic=lambda: 0.0)
    judge = Judge({"transactional": SCHEDULE}, now=lambda: NOW, draw=lambda: 0.0)
    ticks = Ticks()
    parts = DispatchParts(
        store=room.store, me=room.worker.id, book=book, rules=RULES, no_room=judge.without_egress,
        now=lambda: NOW, draw=lambda: 0.0, trouble=StreamTrouble(RULES.health, ticks),
    )  # fmt: skip
    return Bench(room, Dispatcher(parts), book, judge, ticks)


def pool(room: Mailroom, name: str, *addresses: str, **more: object) -> None:
    new = NewPool(name=name, **more)  # type: ignore[arg-type]
    pools.create(room.store, new, new_id=room.new_id, now=NOW)
    for address in addresses:
        egress.add(room.store, [address], f"out-{address[-1]}.example", new_id=room.new_id, now=NOW)
        pools.put_member(room.store, name, address)


def warm_up(room: Mailroom, address: str) -> None:
    found = egress.one(room.store, address)
    warming.start(room.store, found.id, Start("steady"), rules=RULES, now=NOW)


def sources(sent: Sent) -> Counter[str | None]:
    return Counter(c.egress and c.egress.name for c in sent.ready)


# ---- which pool -------------------------------------------------------------------------------------------


def test_without_pools_the_system_chooses(room: Mailroom) -> None:
    sent = bench(room).send(2)

    assert sources(sent) == {None: 2}
    assert sent.waiting == []


def test_the_default_pool_takes_what_nothing_else_maps(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)

    [claimed] = bench(room).send().ready

    assert claimed.egress is not None
    assert (claimed.egress.ipv4, claimed.egress.helo) == (ONE, "out-1.example")
    assert (claimed.only_site, claimed.granted) == (None, None)


def test_a_pool_that_nothing_maps_to_takes_nothing(room: Mailroom) -> None:
    pool(room, "main", ONE)

    assert sources(bench(room).send()) == {None: 1}


def test_the_streams_pool_goes_before_its_tenants_and_that_before_the_default(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    pool(room, "acmes", TWO, owner="acme")
    pool(room, "codes", THREE)
    b = bench(room)
    default = sources(b.send())
    pools.use(room.store, "acme", None, "acmes")
    tenants_own = sources(b.send())
    pools.use(room.store, "acme", "transactional", "codes")
    streams_own = sources(b.send())
    pools.use(room.store, "acme", "transactional", None)

    assert (default, tenants_own, streams_own) == ({ONE: 1}, {TWO: 1}, {THREE: 1})
    assert sources(b.send()) == {TWO: 1}


def test_broadcast_mail_passes_its_tenants_transactional_pool_over(room: Mailroom) -> None:
    pool(room, "main", ONE)
    pool(room, "news", TWO, kind=BROADCAST, is_default=True)
    pools.use(room.store, "acme", None, "main")
    with room.store.write() as c:
        c.execute(stream.update().where(stream.c.id == room.stream_id).values(kind=BROADCAST))

    assert sources(bench(room).send()) == {TWO: 1}


def test_an_ip_elsewhere_is_skipped_and_reported(room: Mailroom) -> None:
    pool(room, "main", ONE, TWO, is_default=True)
    b = bench(room, here=[TWO])

    sent = b.send(3)

    assert sources(sent) == {TWO: 3}
    [note] = egress.one(room.store, ONE).notes
    assert note == f"{ONE} is on no host with a worker: nothing leaves from it"


def test_a_pool_without_an_ip_here_makes_its_mail_wait_for_a_named_reason(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)

    sent = bench(room, here=[]).send()

    [(_, settlement)] = sent.waiting
    assert settlement.move.state is RecipientState.DEFERRED
    assert settlement.move.wait_reason is WaitReason.NO_EGRESS
    assert settlement.move.due_at == NOW + timedelta(minutes=1)
    assert settlement.heard.reply == "no IP of the pool main is active and on this host"


@pytest.mark.parametrize(
    ("kind", "pools_kind", "goes"),
    [("transactional", "transactional", TWO), ("broadcast", "transactional", None)],
)
def test_mail_that_was_moved_to_a_pool_leaves_from_there(
    room: Mailroom, kind: str, pools_kind: str, goes: str | None
) -> None:
    """Unless it may not, by what it has become since."""
    pool(room, "main", ONE, is_default=True)
    pool(room, "spare", TWO, kind=pools_kind)
    b = bench(room)
    spare = pools.one(room.store, "spare").id
    first, other = (structs.replace(one, stream_kind=kind) for one in b.claim(2))
    moved = structs.replace(first, pool_id=spare)

    sent = b.assign([moved])

    assert sources(sent) == {goes: 1}
    assert sources(b.assign([other])) == {ONE if kind == "transactional" else None: 1}


# ---- warm-up ----------------------------------------------------------------------------------------------


def test_a_pool_that_has_no_ip_yet_holds_its_mail_back(room: Mailroom) -> None:
    pool(room, "main", is_default=True)

    sent = bench(room).send()

    assert not sent.ready
    [(_, waits)] = sent.waiting
    assert waits.move.wait_reason is WaitReason.NO_EGRESS
    assert waits.heard.reply == "no IP of the pool main is active and on this host"


def test_what_is_over_the_cap_waits_until_the_day_ends(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)

    sent = b.send(CAP + 5)

    assert sources(sent) == {ONE: CAP}
    assert {c.only_site for c in sent.ready} == {GOOGLE}
    moves = [s.move for _, s in sent.waiting]
    assert Counter((m.wait_reason, m.due_at) for m in moves) == {(WaitReason.WARMUP, MIDNIGHT): 5}
    assert b.standing(ONE).used == CAP


def test_no_mail_waits_while_a_warm_ip_of_the_pool_has_room(room: Mailroom) -> None:
    pool(room, "main", ONE, TWO, is_default=True)
    warm_up(room, ONE)

    sent = bench(room).send(CAP + 30)

    assert sources(sent) == {ONE: CAP, TWO: 30}  # the draw always falls on the first that has room
    assert sent.waiting == []


def test_volume_overflows_into_the_named_pool_and_only_then_waits(room: Mailroom) -> None:
    pool(room, "spare", TWO)
    pool(room, "main", ONE, is_default=True, overflow="spare")
    warm_up(room, ONE)
    warm_up(room, TWO)

    sent = bench(room).send(2 * CAP + 7)

    assert sources(sent) == {ONE: CAP, TWO: CAP}
    assert len(sent.waiting) == 7


def test_mail_that_finds_no_room_before_its_deadline_fails_at_once(room: Mailroom) -> None:
    pool(room, "spare", TWO)
    pool(room, "main", ONE, is_default=True, overflow="spare")
    warm_up(room, ONE)
    warm_up(room, TWO)
    b = bench(room)
    urgent = [structs.replace(one, expires_at=NOW + timedelta(hours=1)) for one in b.claim(2 * CAP + 7)]

    sent = b.assign(urgent)

    assert sources(sent) == {ONE: CAP, TWO: CAP}
    ends = Counter((s.move.state, s.move.event) for _, s in sent.waiting)
    assert ends == {(RecipientState.EXPIRED, EventType.EXPIRED): 7}
    assert "deadline comes before there is room" in sent.waiting[0][1].move.reason


@pytest.mark.parametrize(
    ("words", "overflows"),
    [
        ("5.1.1 no such user", False),
        ("5.7.1 message content rejected", False),
        ("5.7.26 unauthenticated", False),
        ("5.7.1 your IP is on a blocklist", True),  # not the stream's fault
    ],
)
def test_mail_of_a_stream_in_trouble_does_not_overflow(room: Mailroom, words: str, overflows: bool) -> None:
    """It would spoil the next pool as well. After a day it may again."""
    pool(room, "spare", TWO)
    pool(room, "main", ONE, is_default=True, overflow="spare")
    warm_up(room, ONE)
    b = bench(room)
    for n, claimed in enumerate(b.send(CAP).ready):
        bad = Refused(reply(550, words), Phase.RCPT)
        b.dispatcher.note(claimed, Report(bad if n % 4 == 0 else Accepted(reply(250, "2.0.0 ok"))))

    now = sources(b.send(3))
    b.ticks.now = 25 * 3600.0
    tomorrow = sources(b.send(3))

    assert now == ({TWO: 3} if overflows else {})
    assert tomorrow == {TWO: 3}


def test_of_a_domain_not_yet_looked_up_nothing_counts_and_nothing_is_offered(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)
    b.site = None

    [claimed] = b.send().ready

    assert (claimed.only_site, claimed.granted) == ("", None)


def test_where_a_providers_rule_names_a_pool_the_site_must_be_known_first(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    pool(room, "careful", TWO)
    rule = '[provider.google]\nmx = ["google.com"]\npool = "careful"\nsource = "assumed"\n'
    b = bench(room, rules=SiteRules.parse({"own.toml": rule}))
    by_rule = sources(b.send())
    b.site = "mx:mx.example.org"
    by_default = sources(b.send())
    b.site = None
    [unknown] = b.send().ready

    assert (by_rule, by_default) == ({TWO: 1}, {ONE: 1})
    assert (unknown.egress, unknown.only_site) == (None, "")


def test_a_smart_host_needs_no_warm_up(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)
    b.site = "route:127.0.0.1:25"

    assert sources(b.send(CAP + 9)) == {ONE: CAP + 9}


def reply(code: int, text: str) -> Reply:
    return Reply(code, (text,))


@pytest.mark.parametrize(
    ("outcome", "used", "counted"),
    [
        (Accepted(reply(250, "2.0.0 ok")), 1, "delivered"),
        (Refused(reply(550, "5.1.1 no such user"), Phase.RCPT), 1, "bounced"),
        (Refused(reply(451, "4.3.0 later"), Phase.RCPT), 1, "deferred"),
        (Refused(reply(421, "4.7.0 too much from your IP address"), Phase.MAIL), 1, "blocked"),
        (Refused(reply(554, "5.7.1 your IP is on a blocklist"), Phase.GREETING), 0, "blocked"),
        (Refused(reply(421, "4.7.0 too many connections"), Phase.GREETING), 0, None),
        (Refused(reply(450, "4.2.0 Greylisted"), Phase.RCPT), 0, None),
        (Broken(Phase.CONNECT, "timed out"), 0, None),
        (Broken(Phase.END_OF_DATA, "timed out"), 1, None),
        (NotTried(WaitReason.NO_PERMIT), 0, None),
    ],
)
def test_an_offer_uses_room_and_its_answer_is_counted(
    room: Mailroom, outcome: Outcome, used: int, counted: str | None
) -> None:
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)
    [claimed] = b.send().ready

    b.hear(claimed, outcome)

    s = b.standing(ONE)
    answers = {name: getattr(s, name) for name in ("delivered", "deferred", "bounced", "blocked")}
    assert s.used == used
    assert answers == {name: int(name == counted) for name in answers}


def test_who_is_greylisted_for_a_day_is_counted_as_deferred(room: Mailroom) -> None:
    """No greylist asks for so long: a provider may defer a new IP's mail in these words."""
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)
    [claimed] = b.send().ready
    met = Greylisted("mx:mx.example", NOW - timedelta(hours=24), NOW - timedelta(hours=1))
    greylisted = Refused(reply(450, "4.2.0 Greylisted"), Phase.RCPT)

    b.dispatcher.note(structs.replace(claimed, greylisted=met), Report(greylisted, site=met.site))
    b.dispatcher.synchronise()

    assert (b.standing(ONE).used, b.standing(ONE).deferred) == (1, 1)


# ---- the next attempt's IP --------------------------------------------------------------------------------


def test_a_greylisted_recipient_comes_again_from_the_same_ip(room: Mailroom) -> None:
    pool(room, "main", TWO, ONE, is_default=True)
    b = bench(room)
    [first] = b.send().ready
    assert first.egress is not None
    egress.change(room.store, first.egress.ipv4 or "", state="draining")
    b.settle(first, Refused(reply(450, "4.2.0 Greylisted"), Phase.RCPT))

    again = structs.replace(first, attempts=1, egress=None)
    assert sources(b.assign([again])) == {first.egress.ipv4: 1}
    assert sources(b.send()) == {ONE: 1}  # what is new goes elsewhere while it drains


def test_after_blame_on_our_ip_the_next_try_leaves_from_another_once(room: Mailroom) -> None:
    pool(room, "main", ONE, TWO, THREE, is_default=True)
    b = bench(room)
    [first] = b.send().ready
    blocked = Refused(reply(451, "4.7.1 your IP is on a blocklist"), Phase.RCPT)
    b.settle(first, blocked)
    [second] = b.assign([structs.replace(first, attempts=1, egress=None)]).ready
    b.judge(second, Report(blocked))
    stay = b.judge(second, Report(blocked)).stay

    assert first.egress is not None and second.egress is not None
    assert (first.egress.ipv4, second.egress.ipv4) == (ONE, TWO)
    assert stay is not None
    assert (stay.egress_id, stay.is_pinned, stay.is_changed) == (second.egress.id, True, True)


def test_an_overflow_pool_changes_for_mail_that_is_claimed_next(room: Mailroom) -> None:
    pool(room, "spare", TWO)
    pool(room, "main", ONE, is_default=True)
    warm_up(room, ONE)
    b = bench(room)
    before = b.send(CAP + 1)
    pools.change(room.store, "main", PoolChange(overflow="spare"))

    assert len(before.waiting) == 1
    assert sources(b.send(2)) == {TWO: 2}


def test_mail_for_which_there_is_never_room_expires_like_all_other(room: Mailroom) -> None:
    """A cap that is too small for the volume must not keep mail for ever."""
    pool(room, "main", ONE, is_default=True)
    b = bench(room, here=[])
    [(claimed, settlement)] = b.send().waiting
    impatient = RetrySchedule(delays=(timedelta(minutes=1),), give_up_after=timedelta(hours=1))
    judge = Judge({"transactional": impatient}, now=lambda: NOW + timedelta(days=400), draw=lambda: 0.0)

    late = judge.without_egress(claimed, NoRoom(WaitReason.WARMUP, MIDNIGHT, "full"))

    assert settlement.move.event is None
    assert (late.move.state, late.move.event) == (RecipientState.EXPIRED, EventType.EXPIRED)


def test_what_waits_says_so_to_its_tenant(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    b = bench(room, here=[])
    m = room.message()
    room.accept(m)
    [(_, settlement)] = b.assign(room.claim()).waiting
    settle.settle(
        room.store, room.worker.id, [settlement], new_id=room.new_id,
        process_number=room.worker.process_number, now=NOW,
    )  # fmt: skip

    view = read.message_of(room.store, room.tenant_id, m.id)

    assert view is not None
    [r] = view.recipients
    assert (r.state, r.wait_reason, r.attempts) == (RecipientState.DEFERRED, WaitReason.NO_EGRESS, 0)
    assert r.last_reply == "no IP of the pool main is active and on this host"


def test_hosts_that_are_gone_are_forgotten(room: Mailroom) -> None:
    pool(room, "main", ONE, is_default=True)
    found = egress.one(room.store, ONE)
    fact = HostFacts(found.id, ipv4_here=True, ipv6_here=False, ipv4_name="out-1.example", ipv6_name=None)
    queue_egress.report(room.store, "old", [fact], now=NOW - timedelta(minutes=11))
    before = egress.one(room.store, ONE).notes
    queue_egress.report(room.store, "new", [replace(fact, ipv4_here=False)], now=NOW)

    assert before == ()
    assert [h.host for h in egress.one(room.store, ONE).hosts] == ["new"]
    assert egress.one(room.store, ONE).notes == (
        f"{ONE} is on no host with a worker: nothing leaves from it",
    )
