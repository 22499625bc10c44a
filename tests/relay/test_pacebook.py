"""What a worker hears reaches the database, and what holds there holds for its claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from mailer import clock
from mailer.config.load import site_rules
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused
from mailer.policy.pace import State
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import pace
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.inhand import InHand
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.pacebook import PaceBook
from mailer.store import Store, StoreUnavailable
from tests.support.mailroom import DELIVERED, KEYS, Mailroom

SITE = "mx:mx.example"
TAKEN = Accepted(Reply(250, ("2.0.0 ok",)))
TOO_FAST = Refused(Reply(421, ("4.7.28 Rate limit exceeded",)), Phase.MAIL)
UNKNOWN = Refused(Reply(550, ("5.1.1 no such user",)), Phase.RCPT)
GONE = Broken(Phase.CONNECT, "ConnectionRefusedError")
HOLDING = '[rule.spam]\ncode = [5]\ntext = "spam"\naction = ["hold-stream"]\nlasts = "1h"\nsource = "s"\n'


@dataclass
class Hands:
    """Both clocks, which the test moves."""

    began: datetime = field(default_factory=clock.now)
    seconds: float = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)


@dataclass
class Desk:
    """A book and its clock."""

    book: PaceBook
    hands: Hands

    def hear(self, *outcomes: Outcome, stream_id: int = 2) -> None:
        for outcome in outcomes:
            self.book.note("", SITE, 1, stream_id, outcome)

    def after(self, seconds: float) -> None:
        self.hands.seconds += seconds
        self.book.synchronise(self.hands.now())

    @property
    def connections(self) -> int:
        return self.book.connections("", SITE, 5)


def desk(store: Store, rules: SiteRules | None = None, hands: Hands | None = None) -> Desk:
    hands = hands or Hands()
    book = PaceBook(
        store, rules or site_rules(None), most_of=lambda site: 8, monotonic=hands.monotonic, now=hands.now
    )
    return Desk(book, hands)


def test_a_site_that_accepts_is_not_written_of(store: Store) -> None:
    d = desk(store)
    d.hear(*[TAKEN] * 50, UNKNOWN)
    d.after(1)

    assert d.connections == 5
    assert d.book.rate_per_hour("", SITE) is None
    assert pace.known(store).places == {}


def test_a_refusal_for_rate_stops_this_worker_before_anybody_is_told(store: Store) -> None:
    d = desk(store)
    d.hear(TAKEN, TOO_FAST)

    assert d.connections == 0
    assert d.book.claimable("", SITE, 9, held=0) == 0
    assert pace.known(store).places == {}


def test_all_workers_learn_of_it_and_one_sends_one_probe(store: Store) -> None:
    mine = desk(store)
    theirs = desk(store, hands=mine.hands)
    mine.hear(*[TAKEN] * 100, TOO_FAST)
    mine.after(1)
    theirs.after(0)
    assert (mine.connections, theirs.connections) == (0, 0)

    mine.after(30)
    asked = (mine.connections, theirs.connections)
    mine.after(1)
    theirs.after(0)

    assert asked == (0, 0)
    assert (mine.connections, theirs.connections) == (1, 0)
    assert mine.book.claimable("", SITE, 9, held=0) == 1
    assert mine.book.claimable("", SITE, 9, held=1) == 0
    mine.book.claimed("", SITE)
    assert mine.book.claimable("", SITE, 9, held=0) == 0
    assert mine.connections == 1


def probing(store: Store) -> Desk:
    d = desk(store)
    d.hear(*[TAKEN] * 100, TOO_FAST)
    d.after(1)
    d.after(30)
    assert d.connections == 0
    d.after(1)
    d.book.claimed("", SITE)
    return d


def test_an_accepted_probe_opens_the_site_at_a_rate(store: Store) -> None:
    d = probing(store)
    d.hear(TAKEN)
    in_between = d.connections
    d.after(1)

    assert in_between == 0
    assert d.connections == 5
    assert (d.book.rate_per_hour("", SITE) or 0) > 30


def test_a_refused_probe_waits_for_the_next(store: Store) -> None:
    d = probing(store)
    d.hear(TOO_FAST)
    d.after(1)

    standing = pace.known(store).places["", SITE]
    assert standing.state is State.SUSPENDED
    assert d.connections == 0


def test_a_probe_that_was_never_sent_may_be_another_message(store: Store) -> None:
    d = probing(store)
    d.hear(NotTried("no_permit"))

    assert d.book.claimable("", SITE, 9, held=0) == 1


def test_a_dead_site_is_suspended_whatever_its_mail_did_before(store: Store) -> None:
    d = desk(store)
    d.hear(*[GONE] * 6)
    d.after(1)
    still = d.connections
    d.hear(*[GONE] * 6)
    d.after(1)

    assert (still, d.connections) == (5, 0)


def test_breaks_between_answers_never_add_up(store: Store) -> None:
    d = desk(store)
    for _ in range(4):
        d.hear(*[GONE] * 6)
        d.after(1)
        d.hear(TAKEN)
        d.after(11)

    assert d.connections == 5
    assert pace.known(store).places == {}


def test_what_was_accepted_before_the_first_refusal_is_the_estimate(store: Store) -> None:
    d = desk(store)
    for _ in range(30):
        d.hear(*[TAKEN] * 20)
        d.after(60)
    d.hear(TOO_FAST)
    d.after(1)

    assert pace.pace_of(store, ("", SITE)).accepted_in_the_hour(d.hands.now()) == 600


def test_a_stream_that_is_held_is_held_for_all_workers(store: Store) -> None:
    d = desk(store, SiteRules.parse({"f": HOLDING}))
    d.hear(Refused(Reply(554, ("5.7.1 spam",)), Phase.END_OF_DATA), stream_id=8)
    d.after(1)
    other = desk(store, hands=d.hands)
    other.after(0)

    assert other.book.held_until(1, 8, SITE) == d.hands.now() + timedelta(hours=1)
    assert other.book.held_until(1, 2, SITE) is None
    assert other.connections == 5
    d.hands.seconds += 3601
    assert other.book.held_until(1, 8, SITE) is None
    assert other.book.stream_rate_per_hour(1, 8, SITE) == pytest.approx(60, rel=0.01)


class Away(Store):
    """Answers nothing while it is away."""

    away = True

    def write(self):  # type: ignore[no-untyped-def]
        if self.away:
            raise StoreUnavailable("away")
        return super().write()


def test_nothing_is_lost_while_the_database_is_away(store: Store) -> None:
    away = Away(store.url)
    d = desk(away)
    d.hear(*[TAKEN] * 40, TOO_FAST)
    d.after(1)
    assert pace.known(store).places == {}
    assert d.connections == 0
    away.away = False
    d.after(1)
    away.close()

    assert pace.pace_of(store, ("", SITE)).accepted_in_the_hour(d.hands.now()) == 40


# ---- the claimer ---------------------------------------------------------------------------------------


def claimer(room: Mailroom, d: Desk) -> tuple[Claimer, InHand]:
    lease = Lease(room.store, room.worker.id, seconds=1e9, monotonic=d.hands.monotonic)
    in_hand, limits = InHand(), ClaimLimits()
    means = Means(
        store=room.store, lease=lease, in_hand=in_hand, new_id=room.new_id,
        process_number=room.worker.process_number, keys=KEYS, now=clock.now, monotonic=d.hands.monotonic,
    )  # fmt: skip
    permits = Permits(room.store, room.worker.id, limit_of=limits.connections, monotonic=d.hands.monotonic)
    return Claimer(means, permits, limits=limits, site_of=lambda _: SITE, book=d.book), in_hand


def test_a_suspended_sites_backlog_waits_and_one_message_asks(room: Mailroom) -> None:
    d = desk(room.store)
    c, in_hand = claimer(room, d)
    room.accept(*(room.message(f"d{n}.example") for n in range(20)))
    d.hear(TAKEN, TOO_FAST)
    d.after(1)
    suspended = c.pull()
    d.after(30)
    due = c.pull()
    d.after(1)
    asking, more = c.pull(), c.pull()

    assert (suspended, due, more) == ([], [], [])
    assert len(asking) == 1

    room.settle(asking, DELIVERED)
    d.hear(TAKEN)
    in_hand.drop(a.attempt_id for a in asking)
    d.after(1)

    # As many as the rate that was learnt leaves, one lease of it after the other.
    assert len(list(iter(c.pull, []))) > 1


def test_a_held_streams_mail_is_not_claimed(room: Mailroom) -> None:
    d = desk(room.store, SiteRules.parse({"f": HOLDING}))
    c, _ = claimer(room, d)
    room.accept(room.message())
    refused = Refused(Reply(554, ("5.7.1 spam",)), Phase.END_OF_DATA)
    d.book.note("", SITE, room.tenant_id, room.stream_id, refused)
    d.after(1)
    held = c.pull()
    d.hands.seconds += 3601

    assert held == []
    assert [claimed.stream_id for claimed in c.pull()] == [room.stream_id]


def test_our_own_inbox_is_never_slowed(room: Mailroom) -> None:
    own = "route:127.0.0.1:2525"
    book = PaceBook(
        room.store, SiteRules(), most_of=lambda _: 20, unpaced={own}, monotonic=clock.monotonic, now=clock.now
    )
    for _ in range(20):
        book.note("", own, 1, 1, Broken(Phase.CONNECT, "refused"))
        book.note("", "mx:dead.example", 1, 1, Broken(Phase.CONNECT, "refused"))
    book.synchronise(clock.now())

    assert (book.connections("", own, 20), book.connections("", "mx:dead.example", 20)) == (20, 0)
