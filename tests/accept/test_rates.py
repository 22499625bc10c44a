"""What one key may submit: never more in any stretch of time, however many doors, and no longer wait than was
told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from mailer import clock as real
from mailer.accept.charging import Bill, Payer
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.submission import Fault, SubmissionError
from mailer.policy.limits import Rate
from mailer.store import Store

KEY, OTHER, TENANT = 7, 8, 70
EPOCH = datetime(2026, 3, 9, 12, tzinfo=UTC)


class Clock:
    """Seconds that a test moves: of the process, and the time of day, which SQLite takes from it."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.at)


class Process:
    """The doors of one process, as far as they count."""

    def __init__(self, store: Store, limits: RateLimits, clock: Clock | None = None) -> None:
        self.store = store
        self.clock = clock
        self.rates = KeyRates(limits, clock or real.monotonic)

    def submit(
        self, recipients: int = 1, *, key_id: int = KEY, quota: tuple[Rate, ...] = ()
    ) -> SubmissionError | None:
        payer = Payer(key_id, TENANT, quota)
        try:
            self.rates.check(key_id, recipients)
        except SubmissionError as error:
            return error
        refused = None
        with self.store.write() as connection:
            now = self.clock.now() if self.clock else real.now()
            bill = Bill(connection, self.rates, [payer], now=now)
            try:
                bill.submit(payer, recipients)
                bill.accept(payer, recipients)
            except SubmissionError as error:
                refused = error
            bill.close()
        bill.learn()
        return refused


@pytest.fixture
def clock() -> Clock:
    return Clock()


# The engine that takes the time of day from us.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@on_sqlite
def test_a_burst_on_both_sides_of_a_boundary_is_one_burst(store: Store) -> None:
    clock = Clock(999.99)
    doors = Process(store, RateLimits(messages_per_second=10), clock)

    before = [doors.submit() is None for _ in range(20)]
    clock.at += 0.4
    after = [doors.submit() is None for _ in range(20)]
    clock.at += 0.65
    later = [doors.submit() is None for _ in range(20)]

    assert [sum(before), sum(after), sum(later)] == [10, 0, 10]


@on_sqlite
def test_the_minute_is_limited_beside_the_second(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_second=10, messages_per_minute=25), clock)
    through = 0
    for _ in range(100):
        clock.at += 0.2
        through += doors.submit() is None
    refused = doors.submit()

    assert through == 25
    assert refused is not None
    assert (refused.fault, refused.retry_after_seconds) == (Fault.RATE_LIMITED, 41)
    assert refused.detail == "this API key may submit 25 messages in 60 s"


@on_sqlite
def test_after_the_wait_that_was_told_there_is_room(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_minute=9, recipients_per_second=5), clock)
    waits = []
    for recipients in (1, 4, 3, 5, 2, 2, 1, 5, 5, 4, 3, 5):
        refused = doors.submit(recipients)
        if refused is not None:
            waits.append(refused.retry_after_seconds or 0)
            clock.at += waits[-1]
            assert doors.submit(recipients) is None

    assert len(waits) >= 4
    assert max(waits) > 50, "the minute was full once"


@on_sqlite
def test_recipients_are_counted_and_messages_are(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_second=2, recipients_per_second=100), clock)

    first, second, third, fourth = (doors.submit(recipients) for recipients in (99, 2, 1, 1))

    assert (first, third) == (None, None)
    assert second is not None
    assert "100 recipients in 1 s" in second.detail
    assert fourth is not None
    assert "in 1 s" in fourth.detail


@on_sqlite
def test_a_message_that_no_wait_helps_is_told_so(store: Store, clock: Clock) -> None:
    of_key = Process(store, RateLimits(recipients_per_minute=10), clock).submit(11)
    of_tenant = Process(store, RateLimits(), clock).submit(11, quota=(Rate(86400, 10),))

    told = [(e.fault, e.retry_after_seconds) for e in (of_key, of_tenant) if e is not None]
    assert told == [(Fault.TOO_MANY_RECIPIENTS, None)] * 2


@on_sqlite
def test_keys_do_not_pay_for_each_other(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_second=1), clock)

    answers = [doors.submit(), doors.submit(key_id=OTHER), doors.submit()]

    assert [answer is None for answer in answers] == [True, True, False]


@on_sqlite
def test_a_look_counts_nothing_and_a_full_key_is_refused_at_the_look(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_second=1), clock)

    doors.rates.check(KEY)
    doors.rates.check(KEY)
    counted = doors.submit()

    assert counted is None
    with pytest.raises(SubmissionError, match="rate-limited"):
        doors.rates.check(KEY)


@on_sqlite
def test_a_quota_is_of_all_keys_and_says_when_there_is_room(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(), clock)
    quota = (Rate(3600, 5),)

    taken = [doors.submit(3, quota=quota), doors.submit(2, key_id=OTHER, quota=quota)]
    refused = doors.submit(1, quota=quota)
    clock.at += refused.retry_after_seconds or 0 if refused else 0

    assert taken == [None, None]
    assert refused is not None
    assert refused.fault is Fault.QUOTA_EXCEEDED
    assert 3600 <= (refused.retry_after_seconds or 0) <= 3600 + 73
    opens = clock.now().strftime("%Y-%m-%dT%H:%M")
    assert refused.detail.startswith(
        "this tenant may submit 5 recipients in any hour; there is room for it at "
    )
    assert opens in refused.detail
    assert doors.submit(3, quota=quota) is None


@on_sqlite
def test_a_quota_that_was_raised_lets_the_key_go_on_within_seconds(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(), clock)
    doors.submit(quota=(Rate(86400, 1),))
    refused = doors.submit(quota=(Rate(86400, 1),))
    clock.at += 2.1

    assert refused is not None
    assert doors.submit(quota=(Rate(86400, 9),)) is None


@on_sqlite
def test_what_was_learnt_is_forgotten(store: Store, clock: Clock) -> None:
    doors = Process(store, RateLimits(messages_per_second=1), clock)
    for key_id in range(1, 200):
        doors.submit(key_id=key_id)
    full = len(doors.rates._shut)
    clock.at += 1.1
    for key_id in range(1, 200):
        doors.submit(key_id=key_id)
    clock.at += 1.1
    doors.rates._shut |= {n: doors.rates._shut[1] for n in range(300, 1400)}
    doors.submit()

    assert full == 199
    assert len(doors.rates._shut) == 1


@on_sqlite
def test_a_clock_that_was_years_ahead_stops_nobody_for_years(store: Store, clock: Clock) -> None:
    ahead = Clock(clock.at + 3e8)
    limits = RateLimits(messages_per_minute=1)
    Process(store, limits, ahead).submit()
    doors = Process(store, limits, clock)
    refused = doors.submit()
    clock.at += 62

    assert refused is not None
    assert 0 < (refused.retry_after_seconds or 0) <= 62
    assert doors.submit() is None


def test_without_limits_nothing_is_kept_or_counted(store: Store) -> None:
    doors = Process(store, RateLimits())

    assert [doors.submit(1000) for _ in range(20)] == [None] * 20
    assert (doors.rates._shut, doors.rates.known) == ({}, set())


def test_many_doors_together_never_pass_a_key_by_one(store: Store) -> None:
    """Four processes that share one database, on each engine, as fast as they can, by their own clocks."""
    limits = RateLimits(messages_per_second=7, recipients_per_minute=45)
    through: list[tuple[float, float]] = []
    lock = threading.Lock()
    end = real.monotonic() + 4

    def work() -> None:
        doors = Process(store, limits)
        while real.monotonic() < end:
            began = real.monotonic()
            if doors.submit(2) is None:
                with lock:
                    through.append((began, real.monotonic()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert most_within(1.0, through) <= 7
    assert len(through) == 22, "all that the minute allows: 22 messages to two recipients each"


def most_within(seconds: float, through: list[tuple[float, float]]) -> int:
    """The most that began and were answered within any stretch of that length: so many were surely counted
    in it."""
    return max(sum(b >= begin and e < begin + seconds for b, e in through) for begin, _ in through)
