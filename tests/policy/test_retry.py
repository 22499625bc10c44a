"""The retry schedule as an operator reads it (RFC 5321 §4.5.4.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.retry import STANDARD, TRANSACTIONAL, GiveUp, RetryAt, RetrySchedule, next_attempt

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY_LONG = RetrySchedule(delays=(5 * MINUTE, HOUR, 8 * HOUR), give_up_after=24 * HOUR)


def due_times(schedule: RetrySchedule) -> list[timedelta]:
    """When each attempt is made, counted from the first due time, without jitter."""
    times, now = [timedelta(0)], NOON
    while True:
        verdict = next_attempt(schedule, attempts=len(times), first_due_at=NOON, now=now, draw=0.0)
        if isinstance(verdict, GiveUp):
            return times
        now = verdict.at
        times.append(now - NOON)


def test_schedule_as_an_operator_reads_it() -> None:
    assert due_times(DAY_LONG) == [
        timedelta(0),
        5 * MINUTE,
        1 * HOUR + 5 * MINUTE,
        9 * HOUR + 5 * MINUTE,
        17 * HOUR + 5 * MINUTE,
        24 * HOUR,  # cut short from 25 h 05: the last try is made at the deadline
    ]


def test_the_default_schedules() -> None:
    assert due_times(TRANSACTIONAL) == [
        *(timedelta(minutes=m) for m in (0, 1, 6, 21, 51, 111, 231)),
        *(timedelta(minutes=m) for m in (471, 711, 951, 1191, 1431)),
        24 * HOUR,
    ]
    assert due_times(STANDARD)[-1] == timedelta(days=4)
    assert len(due_times(STANDARD)) == 31


@given(draw=st.floats(0, 1, exclude_max=True), attempts=st.integers(1, 10_000))
def test_never_in_the_past_and_never_after_the_deadline(draw: float, attempts: int) -> None:
    verdict = next_attempt(DAY_LONG, attempts=attempts, first_due_at=NOON, now=NOON + HOUR, draw=draw)

    assert isinstance(verdict, RetryAt)
    assert NOON + HOUR < verdict.at <= NOON + 24 * HOUR


def test_after_the_deadline_it_is_over() -> None:
    verdict = next_attempt(DAY_LONG, attempts=1, first_due_at=NOON, now=NOON + 24 * HOUR, draw=0.5)

    assert verdict == GiveUp(NOON + 24 * HOUR)


def test_jitter_only_lengthens() -> None:
    verdict = next_attempt(DAY_LONG, attempts=2, first_due_at=NOON, now=NOON, draw=0.5)

    assert verdict == RetryAt(NOON + HOUR * 1.05)


@pytest.mark.parametrize(
    ("delays", "give_up_after", "jitter"),
    [((), HOUR, 0.1), ((timedelta(0),), HOUR, 0.1), ((HOUR,), timedelta(0), 0.1), ((HOUR,), HOUR, 1.5)],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    delays: tuple[timedelta, ...], give_up_after: timedelta, jitter: float
) -> None:
    with pytest.raises(ValueError):
        RetrySchedule(delays=delays, give_up_after=give_up_after, jitter=jitter)
