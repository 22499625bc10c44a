"""Rules and learner together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailer.policy.automation import Rule, parse_rule
from mailer.policy.governor import (
    Match,
    Observation,
    Record,
    StreamPace,
    govern,
    govern_stream,
    is_stream_forgotten,
)
from mailer.policy.pace import Slice, State

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def rule(action: str, **values: object) -> Rule:
    terms = {"code": [4], "source": "s", "action": [action], **values}
    made, faults = parse_rule("r", terms, "sites.toml:7")
    assert made is not None, faults
    return made


def heard(made: Rule, count: int = 1, **others: int) -> Observation:
    match = Match(rule=made, count=count, words="421 go away (to mail)")
    return Observation(heard=Slice(**others), matches=(match,))


def test_a_rule_acts_from_its_threshold_on() -> None:
    made = rule("slow", threshold=3, window="10m")
    two = govern(Record(), heard(made, 2), NOON, most=8)
    three = govern(two, heard(made), NOON + 9 * MINUTE, most=8)

    assert (two.pace.state, three.pace.state) == (State.FREE, State.SUSPENDED)


def test_what_lies_before_the_window_does_not_count() -> None:
    made = rule("slow", threshold=3, window="10m")
    two = govern(Record(), heard(made, 2), NOON, most=8)

    assert govern(two, heard(made), NOON + 12 * MINUTE, most=8).pace.state is State.FREE


def test_a_rule_below_its_threshold_is_still_a_sign_of_life() -> None:
    breaks = govern(Record(), Observation(heard=Slice(broken=9)), NOON, most=8)
    answered = govern(breaks, heard(rule("slow", threshold=5)), NOON, most=8)

    assert govern(answered, Observation(heard=Slice(broken=9)), NOON, most=8).pace.state is State.FREE


def test_a_rule_suspends_for_its_time_and_says_so() -> None:
    pace = govern(Record(), heard(rule("suspend", lasts="2h"), accepted=5), NOON, most=8).pace

    assert (pace.state, pace.suspended_until) == (State.SUSPENDED, NOON + 2 * HOUR)
    assert pace.why is not None
    assert (pace.why.rule, pace.why.place) == ("r", "sites.toml:7")
    assert pace.why.reason == "421 go away (to mail)"


def test_a_rule_takes_connections_and_no_rate() -> None:
    pace = govern(Record(), heard(rule("fewer-connections"), accepted=5), NOON, most=8).pace

    assert (pace.state, pace.connections, pace.rate) == (State.SLOWED, 4, None)


def test_breaks_are_explained_by_what_was_seen() -> None:
    seen = Observation(heard=Slice(broken=10), words="TimeoutError (at connect)")
    pace = govern(Record(), seen, NOON, most=8).pace

    assert pace.why is not None
    assert (pace.why.reason, pace.why.rule) == ("TimeoutError (at connect)", None)


def held(lasts: str = "1h") -> StreamPace:
    made = rule("hold-stream", threshold=2, lasts=lasts)
    once = govern_stream(StreamPace(), [Match(rule=made, count=1, words="554 spam")], NOON)
    assert once.held_until is None
    return govern_stream(once, [Match(rule=made, count=1, words="554 spam")], NOON + MINUTE)


def test_a_stream_is_held_and_comes_back_slowly() -> None:
    stream = held()

    assert stream.held_until == NOON + MINUTE + HOUR
    assert stream.rate_at(stream.held_until) == 60
    assert stream.rate_at(stream.held_until + 2 * HOUR) == 240
    assert stream.rate_at(stream.held_until + 24 * HOUR) is None


def test_what_was_under_way_does_not_hold_it_longer_and_the_next_hold_does() -> None:
    made = rule("hold-stream")
    under_way = govern_stream(held(), [Match(rule=made, count=9, words="554")], NOON + 2 * MINUTE)
    next_day = govern_stream(under_way, [Match(rule=made, count=9, words="554")], NOON + 2 * HOUR)

    assert under_way.held_until == held().held_until
    assert next_day.held_until == NOON + 4 * HOUR


def test_a_stream_is_slowed_by_halves() -> None:
    made = rule("slow-stream")
    once = govern_stream(StreamPace(), [Match(rule=made, count=1, words="w")], NOON)
    twice = govern_stream(once, [Match(rule=made, count=1, words="w")], NOON)

    assert (once.rate_at(NOON), twice.rate_at(NOON)) == (60, 30)
    assert (once.since, twice.since) == (NOON, NOON)


def test_a_stream_is_forgotten_when_nothing_limits_it_and_a_day_passed() -> None:
    assert not is_stream_forgotten(held(), NOON + 20 * HOUR)
    assert is_stream_forgotten(held(), NOON + 26 * HOUR)
