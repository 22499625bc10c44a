"""When a callback that failed is tried again, and when we stop. Pure: `now` and the draw are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_JITTER = 0.1  # of a delay, added: callbacks that failed together come back apart
_ASKED_TO_WAIT = frozenset({429, 503})


def next_due(
    delays: Sequence[timedelta],
    *,
    attempts: int,
    now: datetime,
    draw: float,
    asked: timedelta | None = None,
) -> datetime | None:
    """When to try again after attempt number `attempts` (1 = the first); None: it is given up.

    asked  by the endpoint; it prolongs a delay and never shortens it, up to the longest of the schedule
    """
    if attempts > len(delays):
        return None
    delay = delays[attempts - 1] * (1 + _JITTER * draw)
    return now + max(delay, min(asked or timedelta(0), max(delays)))


def asked_to_wait(status: int, retry_after: str | None, now: datetime) -> timedelta | None:
    """What a 429 or 503 asks for (RFC 9110 §10.2.3: seconds, or a date); None where nothing is said."""
    if status not in _ASKED_TO_WAIT or retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), 10**8))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    # RFC 9110 §5.6.7: a date is in GMT, also where it does not say so.
    wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return max(wait, timedelta(0))
