"""When a greylisted recipient comes again, and what a site's greylisting is found to take."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mailer.policy.disposition import Defer, Facts, decide
from mailer.policy.greylisting import LONGEST, Habit, Sighting, learn, next_try
from mailer.policy.outcome import Refused
from mailer.policy.retry import DEFAULT_DELAYS, TRANSACTIONAL
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
FACTS = Facts(schedule=TRANSACTIONAL, attempts=1, first_due_at=NOON, now=NOON, draw=0.5)
UNSETTLED = Habit(passes_after=300 * SECOND, refuses_until=61 * SECOND, refused_at=NOON)
SETTLED = replace(UNSETTLED, refuses_until=290 * SECOND)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def follows(words: str, facts: Facts, code: int = 451) -> timedelta:
    """How long after its first refusal the recipient comes again."""
    decided = decide(Refused(Reply(code, (words,)), Phase.RCPT), facts)
    assert isinstance(decided, Defer)
    return decided.at - (facts.greylisted_at or facts.now)


@pytest.mark.parametrize(
    ("words", "habit", "at"),
    [
        # Nobody knows: as the schedule has it, jitter and all, or just after the next common time.
        ("4.7.1 Greylisted", None, 61),
        # What it took before, by the first retry: the schedule alone would come at 60 and 360 s.
        ("4.7.1 Greylisted", SETTLED, 301),
        ("4.7.1 greylisting in action", replace(SETTLED, passes_after=seconds(45)), 46),
        # Never sooner than its words say, and not for them alone later than is remembered.
        ("4.7.1 Greylisted, try again in 400 seconds", SETTLED, 400),
        ("4.7.1 Greylisted for 00:10:00", None, 600),
        ("4.7.1 Greylisted, try again in 5 seconds", SETTLED, 301),
        ("4.7.1 Greylisted, come back in 5 hours", SETTLED, 5 * 3600),
        # Another deferral goes by the schedule.
        ("4.2.1 later", SETTLED, 63),
    ],
)
def test_a_greylisted_recipient_comes_again_when_it_passes(
    words: str, habit: Habit | None, at: float
) -> None:
    assert follows(words, structs.replace(FACTS, habit=habit)) == seconds(at)


def test_a_second_refusal_is_counted_from_the_first() -> None:
    second = structs.replace(FACTS, attempts=2, greylisted_at=NOON - MINUTE, habit=SETTLED)

    assert follows("4.7.1 Greylisted", second) == seconds(301)


def test_who_is_refused_after_the_remembered_time_comes_by_common_times_and_the_schedule() -> None:
    second = structs.replace(FACTS, attempts=2, greylisted_at=NOON - seconds(302), habit=SETTLED)
    late = structs.replace(FACTS, attempts=2, greylisted_at=NOON - 2 * HOUR, habit=SETTLED)

    assert follows("4.7.1 Greylisted", second) == seconds(601)
    assert follows("4.7.1 Greylisted", late) == 2 * HOUR + 5 * MINUTE * 1.05


def test_without_a_memory_tries_meet_the_common_times() -> None:
    schedule = TRANSACTIONAL.delays_after(1, 0.0)
    first = next_try(NOON, None, schedule, now=NOON, draw=0.0)
    second = next_try(NOON, None, schedule[1:], now=first + SECOND, draw=0.0)
    third = next_try(NOON, None, schedule[2:], now=second + SECOND, draw=0.0)

    assert [at - NOON for at in (first, second, third)] == [MINUTE, seconds(301), seconds(601)]


def test_who_was_often_deferred_for_other_reasons_goes_by_the_schedule() -> None:
    """Else a domain whose site changes with every try would be tried every minute."""
    often = structs.replace(FACTS, attempts=5, habit=SETTLED)

    assert follows("4.7.1 Greylisted", often) == 60 * MINUTE * 1.05
    assert follows("4.7.1 Greylisted", structs.replace(often, attempts=2)) == seconds(301)


def test_after_a_day_it_is_deferred_as_any_other() -> None:
    """No greylist asks for so long (RFC 6647 §5)."""
    facts = structs.replace(FACTS, attempts=5, first_due_at=NOON - HOUR, habit=SETTLED)
    old, young = (
        structs.replace(facts, greylisted_at=NOON - DAY),
        structs.replace(facts, greylisted_at=NOON - 4 * MINUTE),
    )

    assert follows("4.7.1 Greylisted", old) == DAY + HOUR * 1.05
    assert follows("4.7.1 Greylisted", young) == seconds(301)


def test_the_last_try_is_due_before_the_senders_deadline() -> None:
    facts = structs.replace(FACTS, habit=SETTLED, expires_at=NOON + 4 * MINUTE)

    assert follows("4.7.1 Greylisted", facts) < 4 * MINUTE


def test_what_nobody_tried_yet_is_tried_at_the_common_times() -> None:
    """Mail that was held passed after a day; that says nothing of how soon it would have."""
    held = Habit(passes_after=20 * HOUR)
    delays = TRANSACTIONAL.delays_after(1, 0.0)

    first = next_try(NOON, held, delays, now=NOON, draw=0.9)
    refused_at_first = replace(held, refuses_until=62 * SECOND, refused_at=NOON)
    second = next_try(NOON, refused_at_first, delays, now=NOON + 62 * SECOND, draw=0.9)

    assert [at - NOON for at in (first, second)] == [seconds(61), seconds(301)]


@pytest.mark.parametrize(
    ("habit", "draw", "at"),
    [
        (UNSETTLED, 0.05, 225),
        (UNSETTLED, 0.5, 301),
        (SETTLED, 0.05, 301),
        (replace(SETTLED, refused_at=NOON - DAY), 0.05, 225),
    ],
)
def test_now_and_then_one_comes_sooner(habit: Habit, draw: float, at: float) -> None:
    found = next_try(NOON, habit, TRANSACTIONAL.delays_after(1, 0.0), now=NOON, draw=draw)

    assert found - NOON == seconds(at)


@pytest.mark.parametrize(
    ("seen", "passes_after", "refuses_until"),
    [
        (Sighting(seconds(302), True), 300, 61),  # it came later than need be
        (Sighting(seconds(225), True), 225, 61),
        (Sighting(seconds(50), True), 50, 0),  # what was refused before passes now
        (Sighting(seconds(225), False), 300, 225),
        (Sighting(seconds(20), False), 300, 61),
        (Sighting(seconds(301), False), 451.5, 300),
        (Sighting(seconds(9000), False), 600, 300),
        (Sighting(seconds(460), True, seconds(301)), 460, 300),
        (Sighting(seconds(40_000), True, seconds(301)), 600, 300),
        (Sighting(DAY, True, seconds(301)), 300, 61),
    ],
)
def test_a_site_is_learnt_from_who_passes_and_who_does_not(
    seen: Sighting, passes_after: float, refuses_until: float
) -> None:
    found = learn(UNSETTLED, seen, NOON)

    assert found is not None
    assert (found.passes_after, found.refuses_until) == (seconds(passes_after), seconds(refuses_until))


def test_nothing_is_known_before_the_first_one_passes() -> None:
    first = Sighting(seconds(361), True, seconds(60))

    assert learn(None, Sighting(seconds(60), False), NOON) is None
    assert learn(None, Sighting(2 * DAY, True), NOON) is None
    assert learn(None, first, NOON) == Habit(
        passes_after=seconds(361), refuses_until=seconds(60), refused_at=NOON
    )


_SPANS = st.floats(0.5, 3 * 86400).map(seconds)
_HABITS = st.builds(
    lambda passes, part, ago: Habit(
        passes_after=passes, refuses_until=passes * part, refused_at=None if ago is None else NOON - ago
    ),
    st.floats(1, 86400).map(seconds),
    st.floats(0, 1),
    st.none() | _SPANS,
)


@given(
    habit=st.none() | _HABITS,
    so_far=st.floats(0, 86399).map(seconds),
    delays=st.lists(st.floats(1, 20_000).map(seconds), min_size=1, max_size=5),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_the_next_try_lies_ahead_and_is_not_later_than_the_schedules_first_that_may_pass(
    habit: Habit | None, so_far: timedelta, delays: list[timedelta], draw: float
) -> None:
    first_at = NOON - so_far
    at = next_try(first_at, habit, delays, now=NOON, draw=draw)

    passes_at = NOON if habit is None or habit.passes_after <= so_far else first_at + habit.passes_after
    tries = itertools.accumulate(itertools.chain(delays, itertools.repeat(delays[-1])), initial=NOON)
    assert NOON < at <= next(t for t in tries if t > NOON and t >= passes_at)


@given(
    habit=st.none() | _HABITS, seen=st.lists(st.builds(Sighting, _SPANS, st.booleans(), _SPANS), max_size=30)
)
def test_what_is_learnt_stays_within_what_a_greylist_takes(habit: Habit | None, seen: list[Sighting]) -> None:
    for sighting in seen:
        habit = learn(habit, sighting, NOON)

    assert habit is None or timedelta(0) < habit.passes_after <= LONGEST


@given(asks=st.integers(1, 50_000).map(seconds), others=st.integers(1, 50_000).map(seconds))
def test_after_a_change_the_site_is_known_again(asks: timedelta, others: timedelta) -> None:
    """Each recipient comes as it is told until it passes, and some of them sooner."""
    habit: Habit | None = Habit(passes_after=others)
    tries = []
    for _ in range(40):
        habit, count = _deliver(habit, asks)
        tries.append(count)

    assert habit is not None
    assert asks <= habit.passes_after + SECOND  # by which it comes later than is remembered
    assert habit.passes_after <= asks / 0.75 + 2 * SECOND
    assert tries[-1] == 1


def _deliver(habit: Habit | None, asks: timedelta) -> tuple[Habit | None, int]:
    """What is known after one more recipient, and how often that was tried after its first refusal."""
    now, last = NOON, timedelta(0)
    for attempt in itertools.count(1):
        now = next_try(NOON, habit, DEFAULT_DELAYS[min(attempt, 7) - 1 :], now=now, draw=0.05)
        after = now - NOON
        habit = learn(habit, Sighting(after, after >= asks, last), now)
        if after >= asks:
            return habit, attempt
        last = after
    raise AssertionError
