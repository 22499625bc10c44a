"""Turns: round robin over parties, first come first served within one, whatever the backlogs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.egress import BROADCAST, TRANSACTIONAL
from mailer.policy.turns import TRANSACTIONAL_TURNS, Party, Turns

A, B = (1, BROADCAST), (2, BROADCAST)
URGENT = (3, TRANSACTIONAL)


def served(turns: Turns[str], count: int) -> str:
    return "".join(turns.pop() for _ in range(count))


def filled(*items: tuple[Party, str]) -> Turns[str]:
    turns: Turns[str] = Turns()
    for party, letters in items:
        for letter in letters:
            turns.push(party, letter)
    return turns


def test_a_party_is_served_in_its_own_order() -> None:
    assert served(filled((A, "abc")), 3) == "abc"


def test_a_backlog_does_not_keep_another_waiting() -> None:
    turns = filled((A, "a" * 100), (B, "b"))

    assert "b" in served(turns, 2)


def test_who_comes_while_a_backlog_is_served_is_next() -> None:
    turns = filled((A, "a" * 100))
    served(turns, 10)

    turns.push(B, "b")

    assert "b" in served(turns, 2)


def test_transactional_mail_has_more_of_a_round() -> None:
    turns = filled((A, "a" * 100), (URGENT, "u" * 100))

    first = served(turns, 50)

    assert first.count("u") == 50 * TRANSACTIONAL_TURNS // (TRANSACTIONAL_TURNS + 1)


def test_with_nothing_left_there_is_nothing_to_serve() -> None:
    turns = filled((A, "a"))
    served(turns, 1)

    assert not turns
    with pytest.raises(IndexError):
        turns.pop()


PARTIES = st.sampled_from([A, B, URGENT, (1, TRANSACTIONAL)])


@given(st.lists(st.one_of(PARTIES, st.none()), max_size=200))
def test_nothing_is_lost_doubled_or_passed_by_its_own_party(steps: list[Party | None]) -> None:
    """A step pushes for a party, or pops."""
    turns: Turns[tuple[Party, int]] = Turns()
    pushed: list[tuple[Party, int]] = []
    popped: list[tuple[Party, int]] = []
    for number, step in enumerate(steps):
        if step is not None:
            turns.push(step, (step, number))
            pushed.append((step, number))
        elif turns:
            popped.append(turns.pop())
        assert len(turns) == len(pushed) - len(popped) == len(list(turns))

    while turns:
        popped.append(turns.pop())
    assert sorted(popped) == sorted(pushed)
    for party in {p for p, _ in pushed}:
        assert [i for p, i in popped if p == party] == [i for p, i in pushed if p == party]


@given(backlog=st.integers(1, 500), others=st.integers(1, 6))
def test_nobody_waits_longer_than_a_round(backlog: int, others: int) -> None:
    turns: Turns[int] = Turns()
    for _ in range(backlog):
        turns.push(URGENT, 0)
    for tenant in range(10, 10 + others):
        turns.push((tenant, BROADCAST), tenant)

    first = [turns.pop() for _ in range(min(TRANSACTIONAL_TURNS, backlog) + others)]

    assert {*range(10, 10 + others)} <= set(first)
