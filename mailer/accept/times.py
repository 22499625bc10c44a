"""When a message may be sent: a send time ahead, and a deadline after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailer.accept.submission import Fault, SubmissionError

_FURTHEST = timedelta(days=30)
# The calendar's last day: behind it an instant with an offset need not have a date in UTC, and a message that
# cannot be read back would stand in the way of all others.
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def due_at(send_at: datetime | None, now: datetime) -> datetime | None:
    """None: at once, which is also what a send time in the past means. Raises SubmissionError."""
    if send_at is None or send_at <= now:
        return None
    if send_at - now > _FURTHEST:
        raise SubmissionError(
            Fault.INVALID_FIELD,
            f"a message may be sent {_FURTHEST.days} days ahead at most",
            pointer="/send_at",
        )
    return send_at


def expires_at(given: datetime | None, send_at: datetime | None, now: datetime) -> datetime | None:
    """The deadline. Raises SubmissionError if it is over, or would be before the message is sent."""
    if given is not None and given >= _LAST:
        raise SubmissionError(
            Fault.INVALID_FIELD,
            "a message must expire before the last day of the year 9999",
            pointer="/expires_at",
        )
    if given is not None and given <= max(now, send_at or now):
        raise SubmissionError(
            Fault.INVALID_FIELD,
            "a message must expire after it is sent, and later than now",
            pointer="/expires_at",
        )
    return given
