"""A cursor leads back to its place, for its own question only; nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.accept.http.cursors import BadCursor, cursor, position

PLACES = st.integers(0, 2**63 - 1)


@given(place=PLACES, question=st.text())
def test_a_cursor_leads_back_to_its_place(place: int, question: str) -> None:
    assert position(cursor(place, question), question) == place


@given(place=PLACES, at=st.integers(0, 19), instead=st.sampled_from("AZaz09-_=+/ \né"))
def test_a_cursor_changed_anywhere_is_none(place: int, at: int, instead: str) -> None:
    text = cursor(place, "all")
    changed = text[:at] + instead + text[at + 1 :]

    assert changed == text or _is_bad(changed, "all")


@given(text=st.text())
def test_nothing_else_is_a_cursor_and_nothing_else_is_raised(text: str) -> None:
    assert _is_bad(text, "all")


def test_a_cursor_is_for_its_own_question() -> None:
    with pytest.raises(BadCursor, match="these filters"):
        position(cursor(5, "tag=a"), "tag=b")


def _is_bad(text: str, question: str) -> bool:
    try:
        position(text, question)
    except BadCursor:
        return True
    return False
