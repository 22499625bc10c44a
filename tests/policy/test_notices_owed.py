"""Which DSN is owed, which of those is sent, and which status it gives: as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailer.events import EventType, NoticeKind
from mailer.policy import notices
from mailer.policy.notices import Circumstances, Dropped, Tried

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("notify", "event", "kind"),
    [
        (None, EventType.BOUNCED, None),
        ("", EventType.BOUNCED, NoticeKind.FAILED),
        ("", EventType.EXPIRED, NoticeKind.FAILED),
        ("", EventType.CANCELLED, None),
        ("", EventType.SUPPRESSED, NoticeKind.FAILED),
        ("NEVER", EventType.SUPPRESSED, None),
        ("", EventType.DELAYED, None),
        ("", EventType.DELIVERED, None),
        ("", None, None),
        ("NEVER", EventType.BOUNCED, None),
        ("NEVER", EventType.DELAYED, None),
        ("NEVER", EventType.DELIVERED, None),
        ("FAILURE", EventType.BOUNCED, NoticeKind.FAILED),
        ("FAILURE", EventType.DELAYED, None),
        ("DELAY", EventType.DELAYED, NoticeKind.DELAYED),
        ("DELAY", EventType.EXPIRED, None),
        ("SUCCESS", EventType.DELIVERED, NoticeKind.RELAYED),
        ("SUCCESS", EventType.BOUNCED, None),
        ("SUCCESS,FAILURE,DELAY", EventType.BOUNCED, NoticeKind.FAILED),
        ("SUCCESS,FAILURE,DELAY", EventType.CANCELLED, None),
        ("SUCCESS,FAILURE,DELAY", EventType.ACCEPTED, None),
    ],
)
def test_what_is_owed_is_what_was_asked(
    notify: str | None, event: EventType | None, kind: NoticeKind | None
) -> None:
    """RFC 3461 §4.1."""
    assert notices.owed(notify, event, is_late=True) == kind


def test_a_short_delay_is_not_told() -> None:
    assert notices.owed("DELAY", EventType.DELAYED, is_late=False) is None


def test_a_next_hop_that_was_told_answers_for_success() -> None:
    """RFC 3461 §5.2.1; for a failure there is none: it did not take the message."""
    assert notices.owed("SUCCESS", EventType.DELIVERED, passed_on=True) is None
    assert notices.owed("SUCCESS,FAILURE", EventType.BOUNCED, passed_on=True) is NoticeKind.FAILED


@pytest.mark.parametrize(
    ("next_try", "late"),
    [(None, False), (NOON + HOUR, False), (NOON + 4 * HOUR, True), (NOON + 9 * HOUR, True)],
)
def test_a_delay_is_late_once_its_next_try_is(next_try: datetime | None, late: bool) -> None:
    assert notices.is_late(NOON, next_try, 4 * HOUR) is late


GOOD = Circumstances(
    kind=NoticeKind.FAILED, is_final=True, door="smtp", reverse_path="app@acme.example", is_own=True,
    wants_mail=True, has_operator=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (GOOD, None),
        (replace(GOOD, kind=NoticeKind.DELAYED, is_final=False), None),
        (replace(GOOD, kind=NoticeKind.DELAYED), Dropped.OVERTAKEN),
        (replace(GOOD, reverse_path=""), Dropped.NULL_REVERSE_PATH),
        (replace(GOOD, reverse_path=None), Dropped.NULL_REVERSE_PATH),
        (replace(GOOD, door="dsn"), Dropped.ABOUT_A_DSN),
        (replace(GOOD, is_own=False), Dropped.FOREIGN_REVERSE_PATH),
        (replace(GOOD, wants_mail=False), Dropped.EVENTS_ONLY),
        (replace(GOOD, has_operator=False), Dropped.NO_OPERATOR_DOMAIN),
    ],
)
def test_what_is_owed_is_sent_unless_something_forbids_it(facts: Circumstances, why: Dropped | None) -> None:
    """RFC 5321 §4.5.5, §6.1."""
    assert notices.why_not(facts) is why


REFUSED = Tried(state="settled", outcome="refused", phase="rcpt", code=550, status="5.1.1")
BARE = replace(REFUSED, status=None)
BROKEN = Tried(state="settled", outcome="broken", phase="connect", code=None, status=None)
DOUBT = Tried(state="in_doubt", outcome="broken", phase="end-of-data", code=None, status=None)
UNROUTABLE = Tried(state="settled", outcome="unroutable", phase=None, code=None, status="5.1.10")
TAKEN = Tried(state="settled", outcome="accepted", phase=None, code=250, status=None)


@pytest.mark.parametrize(
    ("kind", "has_expired", "tried", "status"),
    [
        (NoticeKind.FAILED, False, REFUSED, "5.1.1"),
        (NoticeKind.FAILED, False, BARE, "5.1.1"),
        (NoticeKind.FAILED, False, UNROUTABLE, "5.1.10"),
        (NoticeKind.FAILED, False, BROKEN, "5.0.0"),
        (NoticeKind.FAILED, False, None, "5.0.0"),
        (NoticeKind.FAILED, True, replace(REFUSED, code=451, status="4.7.1"), "4.4.7"),
        (NoticeKind.FAILED, True, None, "4.4.7"),
        (NoticeKind.FAILED, True, DOUBT, "4.4.2"),
        (NoticeKind.DELAYED, False, replace(REFUSED, code=451, status="4.7.1"), "4.7.1"),
        (NoticeKind.DELAYED, False, replace(BARE, code=552), "4.0.0"),
        (NoticeKind.DELAYED, False, BROKEN, "4.4.2"),
        (NoticeKind.RELAYED, False, TAKEN, "2.0.0"),
        (NoticeKind.RELAYED, False, replace(TAKEN, status="2.6.0"), "2.6.0"),
    ],
)
def test_the_status_says_in_its_class_what_the_report_says(
    kind: NoticeKind, has_expired: bool, tried: Tried | None, status: str
) -> None:
    """RFC 3464 §2.3.4."""
    assert str(notices.status_for(kind, has_expired=has_expired, tried=tried)) == status
