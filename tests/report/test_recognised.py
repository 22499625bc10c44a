"""What came back is recognised, or has no consequence; no octets make it raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.events import EventType
from mailer.report.recognised import Finding, recognise


def report(kind: str = "abuse", *, part: str = "message/feedback-report", boundary: str = '"b"') -> bytes:
    return (
        "From: fbl@isp.example\r\nSubject: FW: hello\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type=feedback-report;\r\n\tboundary={boundary}\r\n\r\n"
        "preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
        f"--b\r\nContent-Type: {part}\r\n\r\n"
        f"Feedback-Type: {kind}\r\nUser-Agent: Isp/1\r\nVersion: 1\r\n\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: hello\r\n\r\nhi\r\n--b--\r\n"
    ).encode()


@pytest.mark.parametrize("boundary", ['"b"', "b", "b; x=y"])
@pytest.mark.parametrize("kind", ["abuse", "Fraud", "virus", "other"])
def test_a_feedback_report_is_a_complaint(kind: str, boundary: str) -> None:
    """RFC 5965 §2, §7.3."""
    found = recognise(report(kind, boundary=boundary))

    facts = {"reason": "feedback_report", "feedback_type": kind.lower(), "user_agent": "Isp/1"}
    assert found == Finding(EventType.COMPLAINED, facts)


@pytest.mark.parametrize(
    "content",
    [
        report("not-spam"),  # RFC 6430 §3
        report(""),
        report(part="text/plain"),
        report(boundary="other"),
        report().replace(b"boundary=", b"bounds="),
        report().replace(b"report-type=feedback-report", b"report-type=delivery-status"),
        report()[:200],
    ],
)
def test_other_reports_are_no_complaints(content: bytes) -> None:
    assert recognise(content) is None


@pytest.mark.parametrize("value", ["auto-replied", "Auto-Replied; owner=me", " auto-replied "])
def test_an_automatic_reply_says_so_itself(value: str) -> None:
    """RFC 3834 §5."""
    found = recognise(f"Subject: Auto: hello\r\nAuto-Submitted: {value}\r\n\r\naway\r\n".encode())

    assert found == Finding(EventType.AUTO_REPLIED, {"reason": "auto_submitted", "subject": "Auto: hello"})


@pytest.mark.parametrize(
    "header", ["Subject: unsubscribe", "subject:  UNSUBSCRIBE ", "Auto-Submitted: no\r\nSubject: Unsubscribe"]
)
def test_a_mail_that_says_unsubscribe_is_one(header: str) -> None:
    """RFC 2369 §3.2."""
    found = recognise(f"{header}\r\n\r\n".encode())

    assert found == Finding(EventType.UNSUBSCRIBED, {"reason": "unsubscribe_mail"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\nSubject: unsubscribe\r\n",
        b"Subject: Re: unsubscribe\r\n\r\n",
        b"Subject: please unsubscribe me\r\n\r\n",
        b"Subject: unsubscribe\r\nAuto-Submitted: auto-generated\r\n\r\n",
        b"Subject: Out of office\r\n\r\nI am away\r\n",
        b"Auto-Submitted: auto-generated\r\n\r\n",
        b"Content-Type: multipart/report; report-type=x\r\nAuto-Submitted: auto-replied\r\n\r\n",
    ],
)
def test_everything_else_has_no_consequence(content: bytes) -> None:
    assert recognise(content) is None


def test_words_of_a_stranger_are_short_and_printable() -> None:
    found = recognise(b"Auto-Submitted: auto-replied\r\nSubject: \x1b[2J\xff" + b"x" * 5000 + b"\r\n\r\n")

    assert found is not None
    assert found.facts["subject"].startswith("[2J")
    assert len(found.facts["subject"]) == 200


PIECES = st.sampled_from(
    [report(), report()[:150], b"\r\n", b"--b", b"\r\n--b\r\n", b":", b"\xff", b"\r\n\r\n", b"\t"]
)


@given(st.lists(PIECES | st.binary(max_size=40), max_size=30).map(b"".join))
def test_nothing_makes_it_raise(content: bytes) -> None:
    recognise(content)


def test_a_hostile_report_costs_no_more_than_its_first_parts() -> None:
    huge = report()[:-6] + b"\r\n--b\r\n" * 3_000_000

    assert recognise(huge) is not None
