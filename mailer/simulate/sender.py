"""What a simulated sender is: its streams, how it works, by which rules, and who is told what happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailer.policy.brakeplan import BrakeRules
from mailer.policy.outcome import Outcome
from mailer.policy.sites import SiteRules
from mailer.policy.warmplan import WarmupRules
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.simulate.public import Audience

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)  # any midnight will do
HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What one tenant sends: each a tenant's only one.

    volume    messages a day, at a time in seconds
    audience  whom they go to, at a time in seconds
    """

    name: str
    volume: Callable[[float], float]
    audience: Callable[[float], Audience] = lambda _now: Audience()
    kind: str = "broadcast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How the sender works. turn_seconds: of all workers in turn. skew_seconds: by which each one's clock
    is ahead of the one before it."""

    workers: int = 1
    turn_seconds: float = 900.0
    skew_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Laws:
    """The rules in force."""

    sites: SiteRules
    warmup: WarmupRules
    brake: BrakeRules


class Watcher:
    """Is told what happens; does nothing with it."""

    def offered(self, at: datetime, ip: str, provider: str, outcomes: Sequence[Outcome]) -> None:
        """Messages were offered from an IP to a provider, and heard this."""

    def waits(self, at: datetime, provider: str, claimed: Claimed, settlement: Settlement) -> None:
        """A message found no IP: it waits, or its time was over."""

    def ended(self, at: datetime, claimed: Claimed, settlement: Settlement) -> None:
        """A message was given up after an answer."""

    def complained(self, at: datetime, ip: str, provider: str, who: int) -> None:
        """Somebody complained."""

    def turned(self, at: datetime) -> None:
        """All workers had their turn."""
