"""When a callback is tried again; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.schedule import asked_to_wait, next_due

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DELAYS = tuple(timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18000, 36000, 36000))
SECONDS = st.integers(0, 10**6).map(lambda s: timedelta(seconds=s))


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 5), (2, 300), (3, 1800), (4, 7200), (5, 18000), (6, 36000), (7, 36000)]
)
def test_each_failure_waits_as_the_schedule_says(attempts: int, seconds: int) -> None:
    assert next_due(DELAYS, attempts=attempts, now=NOW, draw=0.0) == NOW + timedelta(seconds=seconds)


def test_after_the_last_delay_it_is_given_up() -> None:
    assert next_due(DELAYS, attempts=8, now=NOW, draw=0.0) is None
    assert next_due((), attempts=1, now=NOW, draw=0.0) is None


@given(st.integers(1, 7), st.floats(0, 1, exclude_max=True))
def test_the_jitter_adds_a_tenth_at_most(attempts: int, draw: float) -> None:
    due = next_due(DELAYS, attempts=attempts, now=NOW, draw=draw)

    assert due is not None
    assert DELAYS[attempts - 1] <= due - NOW <= DELAYS[attempts - 1] * 1.1


@given(st.integers(1, 7), SECONDS)
def test_who_asks_to_wait_never_shortens_a_delay_nor_waits_for_ever(attempts: int, asked: timedelta) -> None:
    due = next_due(DELAYS, attempts=attempts, now=NOW, draw=0.0, asked=asked)

    assert due is not None
    assert DELAYS[attempts - 1] <= due - NOW <= max(DELAYS)
    assert due - NOW == max(DELAYS[attempts - 1], min(asked, max(DELAYS)))


@pytest.mark.parametrize(
    ("status", "field", "wait"),
    [
        (429, "120", timedelta(minutes=2)),
        (503, " 120 ", timedelta(minutes=2)),
        (429, "Tue, 24 Nov 2026 12:05:00 GMT", timedelta(minutes=5)),
        (429, "Tue, 24 Nov 2026 12:05:00", timedelta(minutes=5)),
        (503, "Tue, 24 Nov 2026 11:00:00 GMT", timedelta(0)),
        (429, None, None),
        (429, "soon", None),
        (429, "-5", None),
        (429, "1.5", None),
        (500, "120", None),
        (200, "120", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    status: int, field: str | None, wait: timedelta | None
) -> None:
    """RFC 9110 §10.2.3."""
    assert asked_to_wait(status, field, NOW) == wait


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,5} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [+-]?\w{0,5}"))
def test_no_retry_after_raises(field: str) -> None:
    wait = asked_to_wait(429, field, NOW)

    assert wait is None or wait >= timedelta(0)
