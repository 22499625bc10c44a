"""What a simulated recipient sends back is what the standards describe: read by the standard library."""

from __future__ import annotations

from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest

from mailer.events import EventType
from mailer.policy.classifier import shipped
from mailer.queue.returned import Known
from mailer.report import reading
from mailer.report.consequences import consequence_of
from mailer.report.destinations import Kind
from mailer.report.replies import Original, reply_of
from mailer.report.simulator import Manner

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTENT = (
    b"X-Mailer-Ref: token\r\nFrom: Shop <shop@acme.example>\r\nSubject: Your\r\n order\r\n"
    b"Message-ID: <1@acme.example>\r\n\r\nhi\r\n"
)


def original(content: bytes = CONTENT, *, reverse_path: str = "token@bounce.acme.example") -> Original:
    return Original(
        key="1795348800.M000000P1Q0000000.mailer", reverse_path=reverse_path,
        recipient="complaint+1@simulator.mailer.test", peer_address="127.0.0.1", arrived_at=NOON,
        content=content,
    )  # fmt: skip


def read(content: bytes) -> EmailMessage:
    parsed = BytesParser(policy=policy.default).parsebytes(content)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def test_a_complaint_is_a_feedback_report() -> None:
    """RFC 5965 §2, §3.1."""
    sent = reply_of(Manner.COMPLAINT, original(), NOON)
    assert sent is not None
    parsed = read(sent.content)
    people, machines, header = parsed.iter_parts()
    report = BytesParser(policy=policy.default).parsebytes(machines.get_payload(0).as_bytes())

    assert (sent.sender, sent.recipient) == ("", "token@bounce.acme.example")
    assert (parsed.get_content_type(), parsed.get_param("report-type")) == (
        "multipart/report",
        "feedback-report",
    )
    assert (people.get_content_type(), machines.get_content_type()) == (
        "text/plain",
        "message/feedback-report",
    )
    assert (report["Feedback-Type"], report["Version"]) == ("abuse", "1")
    assert report["Original-Rcpt-To"] == "<complaint+1@simulator.mailer.test>"
    assert "X-Mailer-Ref: token" in header.get_content()
    assert parsed["Message-ID"] and parsed["Date"]


def test_an_absence_is_an_automatic_reply() -> None:
    """RFC 3834 §3.1, §4."""
    sent = reply_of(Manner.OOF, original(), NOON)
    assert sent is not None
    parsed = read(sent.content)

    assert (sent.sender, sent.recipient) == ("", "token@bounce.acme.example")
    assert (parsed["Auto-Submitted"], parsed["Subject"]) == ("auto-replied", "Auto: Your order")
    assert (parsed["In-Reply-To"], parsed["References"]) == ("<1@acme.example>", "<1@acme.example>")
    assert parsed["To"] == "token@bounce.acme.example"


def test_a_wish_to_leave_is_a_mail_of_a_person() -> None:
    """RFC 2369 §3.2."""
    sent = reply_of(Manner.UNSUBSCRIBE, original(), NOON)
    assert sent is not None
    parsed = read(sent.content)

    assert sent.sender == "unsubscribe@simulator.mailer.test"
    assert (parsed["Subject"], parsed["Auto-Submitted"]) == ("unsubscribe", None)


KNOWN = Known(
    id=1, message_id=2, tenant_id=3, stream_id=4, address="a@b.example", return_path_domain="c.example",
    version=2, settled_at=NOON,
)  # fmt: skip


@pytest.mark.parametrize(
    ("manner", "event"),
    [
        (Manner.COMPLAINT, EventType.COMPLAINED),
        (Manner.UNSUBSCRIBE, EventType.UNSUBSCRIBED),
        (Manner.OOF, EventType.AUTO_REPLIED),
    ],
)
@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        b"",
        b"no header at all",
        b"\r\n\r\n--=_x--\r\n",
        "Subject: Grüße\r\nMessage-ID: <ü@x>\r\n\r\n".encode(),
        b"Subject: " + b"x" * 900 + b"\r\n\r\n",
        b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(200)) + b"\r\n\r\nhi\r\n",
    ],
)
def test_it_is_recognised_whatever_it_answers(manner: Manner, event: EventType, content: bytes) -> None:
    sent = reply_of(manner, original(content), NOON)

    assert sent is not None
    found = consequence_of(
        reading.read(sent.content, classifier=shipped()), Kind.RETURN_PATH, KNOWN, now=NOON
    )
    assert found is not None
    assert found.type == event
    assert len(sent.content) < 70_000
    assert max(map(len, sent.content.split(b"\r\n"))) <= 998


def test_most_send_nothing_back() -> None:
    silent = set(Manner) - {Manner.COMPLAINT, Manner.OOF, Manner.UNSUBSCRIBE}

    assert {reply_of(manner, original(), NOON) for manner in silent} == {None}


def test_a_path_that_is_none_of_ours_is_not_answered() -> None:
    assert reply_of(Manner.OOF, original(reverse_path="jürgen@b.example"), NOON) is None
