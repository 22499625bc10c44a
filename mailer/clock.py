"""The only place that reads a clock or throws dice.

Decisions take `now` and the draw as arguments (see mailer/policy); the edges call these.
Wall-clock time is for people and for due times. Leases and timeouts use the monotonic clock,
which a stepped wall clock does not move.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, aware UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that nobody sets; runs on while the process is stopped."""
    return time.monotonic()


def wall_ms() -> int:
    """Milliseconds since 1970, for ids."""
    return time.time_ns() // 1_000_000


def draw() -> float:
    """Uniform in [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries, guards nothing
