"""When a stream is warned of, when it is paused, and that a pause ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.config.load import brake_rules
from mailer.policy import brake, brakeplan
from mailer.policy.brake import Counts, Mark
from mailer.policy.brakeplan import BrakePlanError
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused, Unroutable
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

RULES = brake_rules(None)
DAY, WEEK = RULES.windows
NOW = 500_000  # hours since 1970
SHIPPED = """
[pause]
kinds = ["broadcast"]
[complaints]
warn = 0.001
pause = 0.003
least = 3
[hard_bounces]
warn = 0.05
pause = 0.10
least = 10
[window.day]
hours = 24
answers = 200
delivered = 1000
[newcomer]
growth = 2.0
used = 0.5
free_at = 64
"""

counts = st.builds(Counts, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
hours = st.dictionaries(st.integers(NOW - WEEK.hours - 5, NOW), counts, max_size=12)


def mark(kind: str = "broadcast", **day: int) -> Mark:
    """Of a stream that began today."""
    return brake.judge(RULES, kind, [Counts(**day)] * 2).mark


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ({"delivered": 951, "bounced": 49}, Mark.CLEAR),
        ({"delivered": 950, "bounced": 50}, Mark.WARN),
        ({"delivered": 901, "bounced": 99}, Mark.WARN),
        ({"delivered": 900, "bounced": 100}, Mark.PAUSE),
        ({"bounced": 1000}, Mark.PAUSE),
        ({"delivered": 10_000, "complained": 9}, Mark.CLEAR),
        ({"delivered": 10_000, "complained": 10}, Mark.WARN),
        ({"delivered": 10_000, "complained": 29}, Mark.WARN),
        ({"delivered": 10_000, "complained": 30}, Mark.PAUSE),
        ({"delivered": 9_000, "bounced": 600, "complained": 40}, Mark.PAUSE),  # the worse of both
    ],
)
def test_the_rates_at_which_a_broadcast_stream_is_warned_of_and_paused(
    day: dict[str, int], expected: Mark
) -> None:
    assert mark(**day) is expected


@pytest.mark.parametrize(
    "day",
    [
        {"bounced": DAY.answers - 1},
        {"delivered": DAY.delivered - 1, "complained": 500},
        {"delivered": DAY.delivered, "complained": RULES.complaints.least - 1},
        {"bounced": 9, "delivered": 0},
        {},
    ],
)
def test_below_the_minimum_nothing_is_judged(day: dict[str, int]) -> None:
    assert mark(**day) is Mark.CLEAR


def test_a_transactional_stream_is_warned_of_and_never_paused() -> None:
    assert mark("transactional", bounced=1000) is Mark.WARN


def test_the_reason_gives_the_rate_its_figures_and_the_limit() -> None:
    verdict = brake.judge(RULES, "broadcast", [Counts(880, 120), Counts(880, 120)])

    assert verdict.reason == "12.00% hard bounces, 120 of 1000 in 24 h: from 10.00% on it is paused"


def test_a_week_tells_what_a_day_does_not() -> None:
    verdict = brake.judge(RULES, "broadcast", [Counts(), Counts(900, 100)])

    assert (verdict.mark, "168 h" in verdict.reason) == (Mark.PAUSE, True)


@given(found=st.lists(counts, min_size=2, max_size=2), more=st.integers(0, 1000))
def test_more_bad_answers_never_make_it_better(found: list[Counts], more: int) -> None:
    worse = [c + Counts(bounced=more, complained=more) for c in found]
    order = list(Mark)

    before, after = (brake.judge(RULES, "broadcast", sums).mark for sums in (found, worse))

    assert order.index(after) >= order.index(before)


@given(hours=hours)
def test_a_pause_ends_at_the_first_hour_that_is_good_and_within_the_longest_window(
    hours: dict[int, Counts],
) -> None:
    end = brake.ends_at(RULES, "broadcast", hours, NOW)
    marks = [
        brake.judge(RULES, "broadcast", brake.sums_at(RULES, hours, hour)).mark
        for hour in range(NOW + 1, end + 1)
    ]

    assert NOW < end <= NOW + WEEK.hours
    assert marks[-1] is not Mark.PAUSE
    assert set(marks[:-1]) <= {Mark.PAUSE}


def test_the_windows_roll_hour_by_hour() -> None:
    heard = {NOW - 23: Counts(bounced=1), NOW - 24: Counts(bounced=10), NOW - 168: Counts(bounced=100)}

    assert [c.bounced for c in brake.sums_at(RULES, heard, NOW)] == [1, 11]
    assert [c.bounced for c in brake.sums_at(RULES, heard, NOW + 1)] == [0, 11]


def test_hours_are_those_of_utc() -> None:
    at = datetime(2026, 11, 24, 12, 59, tzinfo=UTC)

    assert brake.start_of(brake.hour_of(at)) == datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outcome", "hard"),
    [
        (Refused(Reply(550, ("5.1.1 no such user",)), Phase.RCPT), True),
        (Refused(Reply(550, ("no",)), Phase.RCPT), True),
        (Refused(Reply(450, ("4.1.1 no such user yet",)), Phase.RCPT), False),
        (Refused(Reply(550, ("5.7.1 your IP address is on a block list",)), Phase.RCPT), False),
        (Refused(Reply(554, ("5.7.1 identified as spam",)), Phase.END_OF_DATA), False),
        (Refused(Reply(553, ("5.1.8 bad sender",)), Phase.MAIL), False),
        (Unroutable("5.1.2", "no such domain"), True),
        (Unroutable("5.4.4", "only addresses that must not be dialled"), False),
        (Broken(Phase.END_OF_DATA, "lost"), False),
        (Accepted(Reply(250, ("ok",))), False),
    ],
)
def test_a_bounce_is_hard_where_it_blames_the_address(outcome: Outcome, hard: bool) -> None:
    """RFC 3463 §3.2: x.1.y is about the address."""
    assert brake.is_hard(outcome, SiteRules().judge(outcome, None)) is hard


def test_a_file_of_the_operators_says_only_what_it_wants_otherwise() -> None:
    own = "[pause]\nkinds = []\n[hard_bounces]\npause = 0.2\n"
    own += "[window.hour]\nhours = 1\nanswers = 5\ndelivered = 9"

    rules = brakeplan.parse(SHIPPED, own)

    assert (rules.hard_bounces.warn, rules.hard_bounces.pause) == (0.05, 0.2)
    assert [w.hours for w in rules.windows] == [1, 24]
    assert rules.pauses == frozenset()


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ("[hard_bounces]\nwran = 0.1", "hard_bounces.wran is no key"),
        ("[bounces]\nwarn = 0.1", "bounces is no key"),
        ("hard_bounces = 3", "hard_bounces must be a table"),
        ("[hard_bounces]\nwarn = 0.2", "warn <= pause"),
        ("[hard_bounces]\npause = 1.5", "warn <= pause"),
        ("[hard_bounces]\nleast = 0", "least must be at least 1"),
        ("[window.day]\nhours = 0", "window.day.hours must lie in"),
        ("[window.day]\nanswers = 0", "must be at least 1"),
        ("[window.day]\nhuors = 3", "window.day.huors is no key"),
        ("[window.new]\nhours = 3", "cannot be read"),
        ('[pause]\nkinds = ["all"]', "pause.kinds are among"),
        ("[newcomer]\ngrowth = 1", "growth > 1"),
        ("[hard_bounces", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(own: str, fault: str) -> None:
    with pytest.raises(BrakePlanError, match=fault.replace("[", r"\[")):
        brakeplan.parse(SHIPPED, own)


def test_a_new_tenants_cap_grows_with_clean_days_until_there_is_none() -> None:
    caps, cap = [], 100
    for _ in range(9):
        grown = brake.grown(RULES.newcomer, 100, cap, cap, is_clean=True)
        caps.append(grown)
        cap = grown or 10**9

    assert caps[:6] == [200, 400, 800, 1600, 3200, None]


@pytest.mark.parametrize(("delivered", "is_clean"), [(100, False), (49, True), (0, True)])
def test_a_day_that_is_not_clean_or_not_used_leaves_the_cap(delivered: int, is_clean: bool) -> None:
    assert brake.grown(RULES.newcomer, 100, 100, delivered, is_clean=is_clean) == 100
