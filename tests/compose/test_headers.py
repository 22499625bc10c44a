"""Which header fields a submitter may set, and that none of them becomes two."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.compose.headers import (
    HeaderError,
    check_custom_header,
    check_custom_headers,
    check_field_text,
    custom_field,
    per_recipient_prefix,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Campaign", "spring"),
        ("X-Grüße".replace("ü", "u").replace("ß", "ss"), "Grüße mit\tTab"),
        ("List-Unsubscribe", "<https://example.com/u/1>, <mailto:u@example.com>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("List-Id", "News <news.example.com>"),
        ("Feedback-ID", "a:b:c:d"),
        ("In-Reply-To", "<1@example.com>"),
        ("References", "<1@example.com> <2@example.com>"),
        ("Auto-Submitted", "auto-generated"),
        ("Organization", "Société Générale"),
    ],
)
def test_a_field_of_the_submitters_own_is_taken(name: str, value: str) -> None:
    check_custom_header(name, value)

    message = message_from_bytes(custom_field(name, value).encode("ascii") + b"\r\n", policy=policy.default)
    assert message.items() == [(name, value)]


@pytest.mark.parametrize(
    "name",
    [
        "From", "FROM", "To", "Cc", "Bcc", "Sender", "Reply-To", "Subject", "Date", "Message-ID",
        "Message-Id", "MIME-Version", "Content-Type", "content-transfer-encoding", "Content-Anything",
        "DKIM-Signature",
        "Received", "Received-SPF", "Return-Path", "X-Mailer-Ref", "ARC-Seal", "ARC-Message-Signature",
        "Authentication-Results", "Resent-From", "Delivered-To", "BIMI-Indicator",
    ],
)  # fmt: skip
def test_a_field_that_is_ours_or_of_the_hosts_on_the_way_is_refused(name: str) -> None:
    with pytest.raises(HeaderError, match="cannot be set"):
        check_custom_header(name, "x")


@pytest.mark.parametrize(
    "name", ["", "X Y", "X:", "X\r\nBcc", "X\n", "Grüße", "X\x00", "X\x7f", " X", "X" * 51]
)
def test_what_is_no_field_name_is_refused(name: str) -> None:
    """RFC 5322 §3.6.8: printable US-ASCII without colon and space."""
    with pytest.raises(HeaderError, match="field name"):
        check_custom_header(name, "x")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("X-A", "a\r\nBcc: b@c.example", "line break"),
        ("X-A", "a\nb", "line break"),
        ("X-A", "a\rb", "line break"),
        ("X-A", "a\x00b", "control character"),
        ("X-A", "a\x0bb", "control character"),
        ("X-A", "a\x7fb", "control character"),
        ("X-A", "a\x85b", "line break"),
        ("X-A", "a\u2028b", "line break"),
        ("X-A", "a\ud800b", "control character"),
        ("X-A", "", "no value"),
        ("X-A", "   ", "no value"),
        ("X-A", "x" * 8193, "longer than 8192"),
        ("References", "<é@example.com>", "printable ASCII"),
        ("List-Unsubscribe", "<https://example.com/ü>", "printable ASCII"),
        ("List-Unsubscribe", "<https://example.com/" + "x" * 1000 + ">", "too long for a line"),
    ],
)
def test_a_value_that_cannot_be_one_field_is_refused(name: str, value: str, sentence: str) -> None:
    with pytest.raises(HeaderError, match=sentence):
        check_custom_header(name, value)


def test_a_field_that_must_stand_alone_is_refused_twice() -> None:
    """RFC 8058 §3.1: one List-Unsubscribe; two would leave it to the reader which counts."""
    with pytest.raises(HeaderError, match="more than once"):
        check_custom_headers(
            [("List-Unsubscribe", "<https://a.example>"), ("list-unsubscribe", "<https://b.example>")]
        )


def test_a_field_of_free_meaning_may_come_twice() -> None:
    check_custom_headers([("X-Tag", "a"), ("X-Tag", "b")])


def test_a_refusal_names_the_field_and_never_its_value() -> None:
    with pytest.raises(HeaderError) as refused:
        check_custom_header("X-Secret", "hidden\r\nvalue")

    assert "X-Secret" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_subject_with_a_line_break_is_refused_by_its_name() -> None:
    with pytest.raises(HeaderError, match=r"^the subject holds a line break"):
        check_field_text("Hello\r\nBcc: b@c.example", "the subject")


@given(st.text(max_size=60), st.text(max_size=200))
def test_whatever_is_taken_is_one_field_and_nothing_else(name: str, value: str) -> None:
    try:
        check_custom_header(name, value)
    except HeaderError:
        return

    message = message_from_bytes(custom_field(name, value).encode() + b"\r\nbody", policy=policy.default)
    assert message.keys() == [name]
    assert message.get_payload() == "body"


@given(
    st.sampled_from(["References", "List-Unsubscribe", "Feedback-ID"]),
    st.text("ab <>@.\r\n\té", max_size=1100),
)
def test_a_structured_field_that_is_taken_is_lines_of_ascii(name: str, value: str) -> None:
    try:
        check_custom_header(name, value)
    except HeaderError:
        return

    lines = custom_field(name, value).encode("ascii").split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b" ".join(b"".join(lines).split()[1:]) == b" ".join(value.encode("ascii").split())


def test_the_recipients_own_field_is_one_line() -> None:
    assert per_recipient_prefix("abc234") == b"X-Mailer-Ref: abc234\r\n"
