"""The learner by single steps; days of it are in tests/simulate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.pace import (
    FORGOTTEN_AFTER,
    LEAST_RATE,
    PROBE_PATIENCE,
    Circumstances,
    Pace,
    Slice,
    State,
    Why,
    is_forgotten,
    learn,
    probe,
    suspend,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
WHY = Why(reason="421 4.7.28 slow down", rule="r", place="f:1")


def after(pace: Pace, at: timedelta, **heard: int) -> Pace:
    return learn(pace, Slice(**heard), Circumstances(now=NOON + at, most=8, why=WHY))


def slowed() -> Pace:
    """600 in a minute, refused, and asked again with success an hour later."""
    shut = after(after(Pace(), 0 * SECOND, accepted=600), MINUTE, limited=1)
    asked = probe(shut, NOON + HOUR)
    refused = after(asked, HOUR, limited=1)
    return after(probe(refused, NOON + HOUR + MINUTE), HOUR + MINUTE, accepted=1)


def test_a_site_that_accepts_is_free() -> None:
    pace = after(Pace(), SECOND, accepted=5000, answered=3)

    assert (pace.state, pace.rate, pace.connections) == (State.FREE, None, None)


def test_the_first_refusal_for_rate_stops_everything_for_some_seconds() -> None:
    pace = after(Pace(), SECOND, accepted=50, limited=1)

    assert (pace.state, pace.why, pace.since) == (State.SUSPENDED, WHY, NOON + SECOND)
    assert not pace.is_probe_due(NOON + 10 * SECOND)
    assert pace.is_probe_due(NOON + 11 * SECOND)


def test_what_was_under_way_at_a_suspension_is_no_probe() -> None:
    shut = after(Pace(), SECOND, accepted=50, limited=1)

    assert after(shut, 2 * SECOND, accepted=3).state is State.SUSPENDED
    assert after(shut, 2 * SECOND, limited=9).suspended_until == shut.suspended_until


def test_probes_that_fail_go_at_growing_intervals() -> None:
    pace, at, pauses = after(Pace(), 0 * SECOND, limited=1), timedelta(0), []
    for _ in range(8):
        assert pace.suspended_until is not None
        pauses.append(pace.suspended_until - NOON - at)
        at = pace.suspended_until - NOON
        pace = after(probe(pace, NOON + at), at, limited=1)

    assert [p.total_seconds() for p in pauses] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_probe_that_nobody_answers_for_makes_room_for_another() -> None:
    asked = probe(after(Pace(), 0 * SECOND, limited=1), NOON + MINUTE)

    assert not asked.is_probe_due(NOON + 2 * MINUTE)
    assert asked.is_probe_due(NOON + MINUTE + PROBE_PATIENCE)


def test_the_estimate_is_what_was_accepted_over_the_time_until_mail_is_taken_again() -> None:
    pace = slowed()

    assert pace.state is State.SLOWED
    assert pace.rate is not None
    assert 540 <= pace.rate <= 600
    assert pace.why == WHY


def test_a_rate_grows_only_while_it_is_used() -> None:
    pace = idle = slowed()
    for number in range(1, 40):
        at = HOUR + MINUTE + number * 6 * MINUTE
        pace = after(pace, at, accepted=57)
        idle = after(idle, at, accepted=1)

    assert pace.rate is not None
    assert pace.rate > 1.5 * (idle.rate or 0)
    assert idle.rate == slowed().rate


def test_a_refusal_cuts_the_rate_once_and_what_was_under_way_does_not() -> None:
    at = HOUR + 3 * MINUTE
    cut = after(slowed(), at, accepted=1, limited=1)
    again = after(cut, at + SECOND, accepted=1, limited=3)

    assert LEAST_RATE <= (cut.rate or 0) <= 0.95 * (slowed().rate or 0)
    assert again.rate == cut.rate


def test_refusals_in_a_row_close_a_slowed_site_again() -> None:
    assert after(slowed(), HOUR + 3 * MINUTE, limited=5).state is State.SUSPENDED


def test_ten_breaks_in_a_row_suspend_and_an_answer_between_them_does_not() -> None:
    nine = after(Pace(), 0 * SECOND, broken=9)

    assert nine.state is State.FREE
    assert after(nine, SECOND, broken=1).state is State.SUSPENDED
    assert after(after(nine, SECOND, answered=1), 2 * SECOND, broken=9).state is State.FREE


def test_after_an_outage_connections_double_each_half_minute() -> None:
    dead = after(Pace(), 0 * SECOND, broken=10)
    pace = after(probe(dead, NOON + MINUTE), MINUTE, answered=1)
    counts = [pace.connections]
    for number in range(1, 4):
        pace = after(pace, MINUTE + number * 30 * SECOND, accepted=1)
        counts.append(pace.connections)

    assert counts == [1, 2, 4, None]
    assert (pace.state, pace.rate) == (State.FREE, None)


def test_too_many_connections_halve_them_and_one_more_is_tried_each_ten_minutes() -> None:
    fewer = after(Pace(), 0 * SECOND, accepted=9, crowded=2)
    again = after(fewer, SECOND, accepted=9, crowded=2)
    later = after(again, 11 * MINUTE, accepted=1)

    assert (fewer.state, fewer.connections) == (State.SLOWED, 4)
    assert again.connections == 4
    assert later.connections == 5


def test_a_rules_suspension_doubles_when_it_comes_again_within_a_day() -> None:
    first = suspend(Pace(), 2 * HOUR, Circumstances(now=NOON, most=8, why=WHY))
    asked = probe(first, NOON + 2 * HOUR)
    answered = after(asked, 2 * HOUR, limited=1)
    second = suspend(answered, 2 * HOUR, Circumstances(now=NOON + 2 * HOUR, most=8, why=WHY))

    assert first.suspended_until == NOON + 2 * HOUR
    assert second.suspended_until == NOON + 6 * HOUR
    assert (second.state, second.since) == (State.SUSPENDED, NOON)


def test_a_rate_is_forgotten_after_a_week_without_a_refusal() -> None:
    pace = slowed()
    assert pace.troubled_at is not None

    assert not is_forgotten(pace, pace.troubled_at + FORGOTTEN_AFTER)
    assert is_forgotten(pace, pace.troubled_at + FORGOTTEN_AFTER + SECOND)
    assert not is_forgotten(after(Pace(), 0 * SECOND, limited=1), NOON + 30 * 24 * HOUR)


_HEARD = st.builds(
    Slice,
    accepted=st.integers(0, 200),
    limited=st.integers(0, 20),
    crowded=st.integers(0, 3),
    answered=st.integers(0, 20),
    broken=st.integers(0, 12),
)


@given(st.lists(st.tuples(st.integers(1, 100_000), _HEARD, st.booleans()), max_size=60))
def test_whatever_is_heard_it_stays_whole_and_can_be_kept(
    steps: list[tuple[int, Slice, bool]],
) -> None:
    pace, now = Pace(), NOON
    for seconds, heard, asks in steps:
        now += seconds * SECOND
        if asks and pace.is_shut and pace.is_probe_due(now):
            pace = probe(pace, now)
        pace = learn(pace, heard, Circumstances(now=now, most=8))

        assert pace.rate is None or pace.rate >= LEAST_RATE
        assert pace.connections is None or 1 <= pace.connections < 8
        assert pace.is_shut == (pace.state in (State.SUSPENDED, State.PROBING))
        assert not pace.is_shut or pace.suspended_until is not None
        assert (pace.state is State.FREE) == (
            pace.rate is None and pace.connections is None and not pace.is_shut
        )
        assert len(pace.history) <= 61
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(pace))), Pace) == pace
