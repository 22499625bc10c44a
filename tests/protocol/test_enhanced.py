"""Enhanced status codes in the replies that peers really send (RFC 3463 §2, RFC 2034 §4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.protocol.enhanced import EnhancedStatus, MalformedStatus

_STATUSES = st.builds(EnhancedStatus, st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999))


@given(_STATUSES)
def test_a_status_reads_back_as_it_is_shown(status: EnhancedStatus) -> None:
    assert EnhancedStatus.parse(str(status)) == status


@given(_STATUSES)
def test_a_status_is_found_before_its_text(status: EnhancedStatus) -> None:
    assert EnhancedStatus.find(f"{status} some words", status.class_ * 100 + 50) == status


@pytest.mark.parametrize(
    "text", ["", "5.1", "3.1.1", "5.1.1.1", "5.01.1", "5.1.1000", " 5.1.1", "5.1.1 ", "٥.1.1", "5.1.٣"]
)
def test_what_is_no_status_is_refused(text: str) -> None:
    """RFC 3463 §2: class 2, 4 or 5, one to three digits, no leading zero, nothing around it."""
    with pytest.raises(MalformedStatus):
        EnhancedStatus.parse(text)


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (550, "5.1.1 The account does not exist", "5.1.1"),
        (550, "5.1.1", "5.1.1"),
        (250, "2.0.0 Ok: queued as 12345", "2.0.0"),
        (421, "4.7.28 [192.0.2.1 15] Our system has detected an unusual rate", "4.7.28"),
        (550, "5.7.606 Access denied, banned sending IP [192.0.2.1]", "5.7.606"),
        (550, " 5.1.1 leading space", "5.1.1"),
        (550, "[5.7.1] in brackets", "5.7.1"),
        (550, "#5.1.0 Address rejected.", "5.1.0"),
        (554, "(#5.3.0) refused", "5.3.0"),
        (550, "5.1.1: Recipient rejected", "5.1.1"),
        (550, "5.2.1. disabled", "5.2.1"),
        (550, "sorry, no mailbox here by that name. (#5.1.1)", "5.1.1"),
        (451, "Resources temporarily unavailable. Please try again later [#4.16.1].", "4.16.1"),
    ],
)
def test_a_status_is_found_where_peers_put_it(code: int, text: str, status: str) -> None:
    assert str(EnhancedStatus.find(text, code)) == status


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (550, "User unknown"),
        (550, ""),
        (550, "5.1.1.25 is on our block list"),
        (550, "refused, see version 5.7.1 of our policy"),
        (550, "5.1234.1 too many digits"),
        (550, "5.1.1234 too many digits"),
        (550, "5.01.1 leading zero"),
        (550, "3.1.1 no such class"),
        (450, "5.1.1 contradicts its reply code"),
        (550, "4.2.2 contradicts its reply code"),
        (354, "2.0.0 go ahead"),
    ],
)
def test_a_status_that_cannot_be_believed_is_none(code: int, text: str) -> None:
    """RFC 2034 §4: the class agrees with the reply code; the protocol runs on the reply code."""
    assert EnhancedStatus.find(text, code) is None


@given(st.text() | st.text("245.#( )1٣"), st.integers(200, 599))
def test_looking_for_a_status_never_raises(text: str, code: int) -> None:
    found = EnhancedStatus.find(text, code)

    assert found is None or (str(found) in text and found.class_ == code // 100)
