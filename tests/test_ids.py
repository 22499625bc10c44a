"""Ids sort by time, are unique among processes, and read back from their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import ids
from mailer.ids import EPOCH_MS, IdMaker, MalformedId


def test_ids_grow_also_when_the_clock_goes_back() -> None:
    ticks = iter([EPOCH_MS + 5, EPOCH_MS + 9, EPOCH_MS + 2, EPOCH_MS + 9, EPOCH_MS + 10])
    make = IdMaker(1, lambda: next(ticks))

    made = [make() for _ in range(5)]

    assert made == sorted(set(made))


def test_a_burst_in_one_millisecond_borrows_from_the_next() -> None:
    make = IdMaker(1, lambda: EPOCH_MS + 5)

    made = [make() for _ in range(10_000)]

    assert made == sorted(set(made))


def test_two_processes_never_make_the_same_id() -> None:
    one, two = IdMaker(1, lambda: EPOCH_MS + 5), IdMaker(2, lambda: EPOCH_MS + 5)

    assert not {one() for _ in range(5000)} & {two() for _ in range(5000)}


@given(st.integers(0, (1 << 63) - 1))
def test_an_id_reads_back_from_its_text_in_any_case(value: int) -> None:
    text = ids.show("msg", value)

    assert ids.parse("msg", text) == value
    assert ids.parse("msg", "msg_" + text[4:].upper()) == value


@pytest.mark.parametrize(
    "text", ["", "msg_", "rcpt_0000000000005", "msg_000000000000u", "msg_zzzzzzzzzzzzz", "5"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(MalformedId):
        ids.parse("msg", text)


@given(st.integers(EPOCH_MS, EPOCH_MS + (1 << 41) - 1), st.integers(0, 1023))
def test_the_first_id_of_an_instant_is_the_smallest_then(ms: int, process: int) -> None:
    made = IdMaker(process, lambda: ms)()

    assert ids.first_id_at(ms) <= made < ids.first_id_at(ms + 1)
