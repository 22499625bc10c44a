"""What one key may submit: never more in any stretch of time, and no longer wait than was told."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.submission import Fault, SubmissionError

KEY, OTHER = 7, 8


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def refusal(rates: KeyRates, recipients: int = 1, key_id: int = KEY) -> SubmissionError | None:
    try:
        rates.count(key_id, recipients)
    except SubmissionError as error:
        return error
    return None


def admitted(rates: KeyRates, clock: Clock, steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When how many recipients got through, of submissions at intervals."""
    through = []
    for seconds, recipients in steps:
        clock.at += seconds
        if refusal(rates, recipients) is None:
            through.append((clock.at, recipients))
    return through


def most_within(seconds: float, through: list[tuple[float, int]]) -> int:
    """The most that any half-open stretch of that length saw."""
    return max(
        (sum(n for at, n in through if begin <= at < begin + seconds) for begin, _ in through), default=0
    )


STEPS = st.lists(st.tuples(st.floats(0, 0.7), st.integers(1, 4)), max_size=60)


@given(STEPS, st.floats(1, 1e6))
def test_no_stretch_of_time_sees_more_than_the_limit(steps: list[tuple[float, int]], start: float) -> None:
    clock = Clock(start)
    rates = KeyRates(RateLimits(recipients_per_second=5), clock)

    through = admitted(rates, clock, steps)

    assert most_within(1.0, through) <= 5


@given(STEPS)
def test_after_the_wait_that_was_told_there_is_room(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    rates = KeyRates(RateLimits(messages_per_minute=9, recipients_per_second=5), clock)
    admitted(rates, clock, steps)

    refused = refusal(rates, 5)
    clock.at += (refused.retry_after_seconds or 0) if refused else 0

    assert refused is None or refusal(rates, 5) is None


def test_a_burst_on_both_sides_of_a_boundary_is_one_burst() -> None:
    clock = Clock(999.99)
    rates = KeyRates(RateLimits(messages_per_second=10), clock)

    before = admitted(rates, clock, [(0.0, 1)] * 20)
    after = admitted(rates, clock, [(0.02, 1)] * 20)
    later = admitted(rates, clock, [(1.1, 1)] + [(0.0, 1)] * 20)

    assert [len(before), len(after), len(later)] == [10, 0, 10]


def test_the_minute_is_limited_beside_the_second() -> None:
    clock = Clock()
    rates = KeyRates(RateLimits(messages_per_second=10, messages_per_minute=25), clock)

    through = admitted(rates, clock, [(0.2, 1)] * 200)
    refused = refusal(rates)

    assert len(through) == 25
    assert refused is not None
    assert (refused.fault, refused.retry_after_seconds) == (Fault.RATE_LIMITED, 21)
    assert refused.detail == "this API key may submit 25 messages in 60 s"


def test_recipients_are_counted_and_messages_are() -> None:
    clock = Clock()
    rates = KeyRates(RateLimits(messages_per_second=2, recipients_per_second=100), clock)

    first = refusal(rates, 99)
    second = refusal(rates, 2)
    third = refusal(rates, 1)
    fourth = refusal(rates, 0)

    assert (first, third) == (None, None)
    assert second is not None
    assert "100 recipients in 1 s" in second.detail
    assert fourth is not None
    assert "2 messages in 1 s" in fourth.detail


def test_a_message_that_no_wait_helps_is_told_so() -> None:
    refused = refusal(KeyRates(RateLimits(recipients_per_minute=10), Clock()), 11)

    assert refused is not None
    assert refused.fault is Fault.TOO_MANY_RECIPIENTS
    assert refused.retry_after_seconds is None


def test_keys_do_not_pay_for_each_other() -> None:
    rates = KeyRates(RateLimits(messages_per_second=1), Clock())

    assert refusal(rates) is None
    assert refusal(rates, key_id=OTHER) is None
    assert refusal(rates) is not None


def test_a_look_counts_nothing() -> None:
    rates = KeyRates(RateLimits(messages_per_second=1), Clock())

    rates.check(KEY)
    rates.check(KEY)
    counted = refusal(rates)

    assert counted is None
    with pytest.raises(SubmissionError, match="rate-limited"):
        rates.check(KEY)


def test_idle_keys_are_forgotten() -> None:
    clock = Clock()
    rates = KeyRates(RateLimits(messages_per_second=1), clock)
    for key_id in range(10_000):
        rates.count(key_id, 1)
    clock.at += 2
    rates.count(10_000, 1)

    assert len(rates._keys) == 1


def test_without_limits_nothing_is_kept() -> None:
    rates = KeyRates(RateLimits(), Clock())

    assert [refusal(rates, 1000) for _ in range(100)] == [None] * 100
    assert rates._keys == {}
