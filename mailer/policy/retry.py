"""When a deferred recipient is tried again, and when we stop (RFC 5321 §4.5.4.1).

Pure: the caller passes `now` and the jitter draw, so a schedule can be printed,
tested and replayed from the attempt log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Delays after attempt 1, 2, ...; the last one repeats until `give_up_after`.

    give_up_after  age since the message first fell due (its send time, else acceptance) at which it expires
    jitter         fraction of a delay that may be added to it, 0.0 to 1.0
    """

    delays: tuple[timedelta, ...]
    give_up_after: timedelta
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) <= timedelta(0):
            raise ValueError("delays must be one or more positive durations")
        if self.give_up_after <= timedelta(0):
            raise ValueError("give_up_after must be a positive duration")
        if not 0.0 <= self.jitter <= 1.0:
            raise ValueError(f"jitter must lie in 0.0..1.0, got {self.jitter}")

    def delay_after(self, attempts: int) -> timedelta:
        """The delay that follows attempt number `attempts` (1 = the first), without jitter."""
        return self.delays[min(max(attempts, 1), len(self.delays)) - 1]

    def delays_after(self, attempts: int, draw: float) -> tuple[timedelta, ...]:
        """All that follow attempt number `attempts`, with jitter; the last one repeats."""
        left = self.delays[min(max(attempts, 1), len(self.delays)) - 1 :]
        return tuple(delay * (1 + self.jitter * draw) for delay in left)


# Sooner than the 30 minutes of RFC 5321 §4.5.4.1 at first, since most deferrals of a single message are
# greylisting or a passing fault; as slow as it asks for from the fourth try on.
DEFAULT_DELAYS = tuple(timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240))

STANDARD = RetrySchedule(delays=DEFAULT_DELAYS, give_up_after=timedelta(days=4))
# A password reset is worth nothing after a day; its sender wants to know. RFC 5321 §4.5.4.1 says 4 to 5
# days for mail in general: a tenant that wants them names them.
TRANSACTIONAL = RetrySchedule(delays=DEFAULT_DELAYS, give_up_after=timedelta(hours=24))


@dataclass(frozen=True, slots=True)
class RetryAt:
    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    expired_at: datetime


def next_attempt(
    schedule: RetrySchedule,
    *,
    attempts: int,
    first_due_at: datetime,
    now: datetime,
    draw: float,
) -> RetryAt | GiveUp:
    """Decide what follows the deferral of attempt number `attempts` (1 = the first).

    now, first_due_at  aware UTC instants
    draw              uniform in [0, 1), spreads retries that fell due together
    """
    deadline = first_due_at + schedule.give_up_after
    if now >= deadline:
        return GiveUp(deadline)
    due = now + schedule.delay_after(attempts) * (1 + schedule.jitter * draw)
    # The last delay is cut short rather than dropped: without this an 8 h step makes
    # a 24 h schedule expire at hour 17, and the sender hears "expired" too early.
    return RetryAt(min(due, deadline))
