"""Return-path tokens: ours, whole, and in any case of letters, or nobody's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.address import parse_addr_spec
from mailer.compose.verp import make_token, read_token, reverse_path

SECRET = bytes(range(32))
OTHER = bytes(32)
_IDS = st.integers(0, (1 << 63) - 1)


@given(_IDS)
def test_a_token_reads_back_as_its_recipient(recipient_id: int) -> None:
    assert read_token(make_token(recipient_id, SECRET), [SECRET]) == recipient_id


@given(_IDS)
def test_a_token_fits_a_local_part_and_survives_case_folding(recipient_id: int) -> None:
    """RFC 5321 §2.4: local parts keep their case, and hosts fold them all the same."""
    token = make_token(recipient_id, SECRET)

    assert re.fullmatch(r"[a-z0-9]{26}", token)
    assert read_token(token.upper(), [SECRET]) == recipient_id


@given(_IDS, st.integers(0, 25), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_token_is_nobodys(recipient_id: int, at: int, letter: str) -> None:
    token = make_token(recipient_id, SECRET)
    changed = token[:at] + letter + token[at + 1 :]

    assert (read_token(changed, [SECRET]) is None) is (changed != token)


def test_a_token_of_an_older_secret_is_still_read() -> None:
    token = make_token(7, OTHER)

    assert read_token(token, [SECRET, OTHER]) == 7
    assert read_token(token, [SECRET]) is None
    assert read_token(token, []) is None


@given(st.text(max_size=40) | st.text("abcdefgh234567=ıſ\u212a", min_size=26, max_size=26))
def test_reading_anything_else_gives_none_and_never_raises(text: str) -> None:
    assert read_token(text, [SECRET]) is None


def test_a_token_depends_on_the_id_and_the_secret_alone() -> None:
    """Greylists key on the reverse-path: every attempt must show the same (RFC 6647 §2.4)."""
    assert make_token(7, SECRET) == make_token(7, SECRET)
    assert len({make_token(7, SECRET), make_token(8, SECRET), make_token(7, OTHER)}) == 3


@pytest.mark.parametrize("recipient_id", [-1, 1 << 64])
def test_what_is_no_id_is_our_bug(recipient_id: int) -> None:
    with pytest.raises(OverflowError):
        make_token(recipient_id, SECRET)


def test_a_reverse_path_is_an_address() -> None:
    token = make_token(7, SECRET)

    mailbox = parse_addr_spec(reverse_path(token, "bounce.b.example"))

    assert (mailbox.local, mailbox.domain) == (token, "bounce.b.example")
