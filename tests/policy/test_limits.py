"""No window, wherever it is laid, sees more than its ceiling; little less is used than it allows."""

from __future__ import annotations

import bisect
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.limits import (
    SECOND,
    LimitError,
    Rate,
    Spell,
    as_values,
    both,
    meter,
    read_rates,
    tally,
)

_START = 1_790_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "seconds", "count"),
    [("100/h", 3600, 100), ("5/s", 1, 5), (" 20 / min ", 60, 20), ("10000/day", 86400, 10000),
     ("7/D", 86400, 7)],
)  # fmt: skip
def test_a_rate_is_read(text: str, seconds: int, count: int) -> None:
    assert Rate.parse(text) == Rate(seconds, count)


@pytest.mark.parametrize(
    "text", ["", "5", "5/", "/h", "0/h", "-1/h", "5/week", "1.5/s", "5 per h", "9999999999/s"]
)
def test_what_is_no_rate_is_named(text: str) -> None:
    with pytest.raises(LimitError):
        Rate.parse(text)


def test_rates_are_read_by_their_windows_names() -> None:
    values = {"messages_per_second": 5, "messages_per_day": 1000, "mx": ["x.example"]}

    rates = read_rates(values)

    assert [str(r) for r in rates] == ["5/second", "1000/day"]
    assert as_values(rates) == {"messages_per_second": 5, "messages_per_day": 1000}


@pytest.mark.parametrize("value", [0, -1, True, "5", 1.5])
def test_a_rate_that_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(LimitError, match="messages_per_hour"):
        read_rates({"messages_per_hour": value})


class Sender:
    """Takes tokens whenever it can, through the state as it is kept, and spends each within its spell."""

    def __init__(self, rate: Rate, seed: int) -> None:
        self.rate = rate
        self.draw = random.Random(seed)
        self.state: Any = None
        self.now = _START
        self.spent: list[int] = []
        self.granted = 0

    def step(self, *, most: int | None = None) -> None:
        kept = meter(self.rate, self.state)
        take = min(kept.room(self.now), most or self.rate.count)
        if take:
            assert take <= self.rate.at_once
            for spell in kept.take(take, self.now):
                first = max(spell.begins, self.now)
                # As late or as early as it may be: what harms most is not known.
                at = self.draw.choice([first, spell.ends, self.draw.randint(first, spell.ends)])
                self.spent.append(at)
                self.granted += 1
            self.state = msgspec.json.decode(msgspec.json.encode(kept.state()))
            self.now += self.draw.choice([0, 1, 1000, SECOND // 100])
        else:
            opens = kept.opens_at(self.now)
            assert opens > self.now
            assert kept.room(opens) > 0, "there is room when it said so"
            assert kept.room(opens - 1) == 0, "and not before"
            self.now = self.draw.choice([opens, opens + SECOND])

    def worst_window(self) -> int:
        """The most that were spent in any half-open window of the rate's length."""
        spent = sorted(self.spent)
        length = self.rate.seconds * SECOND
        return max(bisect.bisect_left(spent, at + length) - i for i, at in enumerate(spent))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "text",
    ["1/s", "2/s", "7/s", "100/s", "1/min", "10/min", "600/min", "1/h", "50/h", "5000/h", "1/d", "300/d"],
)
def test_no_window_sees_more_than_its_ceiling(text: str, seed: int) -> None:
    sender = Sender(Rate.parse(text), seed)
    for _ in range(min(2500, 12 * sender.rate.count + 20)):
        sender.step(most=sender.draw.choice([1, 3, None]))

    assert 0 < sender.worst_window() <= sender.rate.count


@pytest.mark.parametrize(
    ("text", "share"),
    [("50/s", 0.90), ("3/s", 0.90), ("600/min", 0.93), ("10/min", 0.93), ("500/h", 0.96), ("500/d", 0.97)],
)  # fmt: skip
def test_a_steady_sender_uses_nearly_all_of_it(text: str, share: float) -> None:
    rate = Rate.parse(text)
    kept = meter(rate)
    now, granted = _START, 0
    windows = 40
    end = now + windows * rate.seconds * SECOND
    while now < end:
        if room := kept.room(now):
            kept.take(room, now)
            granted += room
        else:
            now = kept.opens_at(now)

    assert share * rate.count <= granted / windows <= rate.count * (1 + 2 / windows)


@given(st.lists(st.integers(-5 * SECOND, 5 * SECOND), max_size=60), st.sampled_from(["4/s", "5/min", "3/h"]))
def test_a_clock_that_is_set_back_grants_nothing_twice(steps: list[int], text: str) -> None:
    rate = Rate.parse(text)
    kept = meter(rate)
    granted, now, first, last = 0, _START, _START, _START
    for step in steps:
        now += step
        first, last = min(first, now), max(last, now)
        if kept.room(now):
            kept.take(1, now)
            granted += 1
    windows = (last - first) // (rate.seconds * SECOND) + 2

    assert granted <= rate.count * windows


def test_two_limits_share_the_time_that_both_leave() -> None:
    assert both(Spell(5, 20), Spell(10, 15)) == Spell(10, 15)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", ["1/s", "7/s", "100/min", "50/h", "300/d"])
def test_what_is_spent_at_once_never_passes_its_ceiling_and_uses_it_in_a_burst(text: str, seed: int) -> None:
    rate, draw = Rate.parse(text), random.Random(seed)
    state: Any = None
    now, spent = _START + draw.randrange(rate.seconds * SECOND), list[int]()
    for _ in range(6 * rate.count):
        kept = tally(rate, state)
        room = kept.room(now)
        if room:
            number = draw.randint(1, room)
            kept.take(number, now)
            spent += [now] * number
            state = msgspec.json.decode(msgspec.json.encode(kept.state()))
            now += draw.choice([0, 1, rate.seconds * SECOND // 70])
        else:
            wanted = draw.randint(1, rate.count)
            opens = kept.opens_at(now, wanted)
            assert kept.room(opens) >= wanted > kept.room(opens - 1)
            now = opens
    length = rate.seconds * SECOND
    worst = max(bisect.bisect_left(spent, at + length) - i for i, at in enumerate(spent))

    assert tally(rate).room(_START) == rate.count, "a whole ceiling at once"
    assert 0 < worst <= rate.count


def test_what_is_given_back_can_be_taken_again() -> None:
    kept = tally(Rate.parse("5/h"))

    kept.take(5, _START)
    kept.give_back(2, _START)

    assert (kept.used(_START), kept.room(_START)) == (3, 2)


@pytest.mark.parametrize("text", ["5/min", "3/d"])
def test_a_clock_that_was_years_ahead_forbids_no_more_than_one_window(text: str) -> None:
    rate = Rate.parse(text)
    ahead = meter(rate)
    while room := ahead.room(_START + 10**15):
        ahead.take(room, _START + 10**15)

    kept = meter(rate, ahead.state())
    before = kept.room(_START)
    again = meter(rate, kept.state())

    assert (before, kept.moved, again.moved) == (0, True, False)
    assert again.room(_START + int(1.05 * rate.seconds * SECOND) + 4 * SECOND) == 1
