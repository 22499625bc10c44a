"""What providers do to senders, each kind for itself. Time is seconds since the script began."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """When a behaviour holds: from `begin` until `end`, and within that by turns `on` and `off` seconds long.

    end 0: for ever. on 0: all the time.
    """

    begin: float = 0.0
    end: float = 0.0
    on: float = 0.0
    off: float = 0.0

    def hold(self, now: float) -> bool:
        if now < self.begin or (self.end and now >= self.end):
            return False
        return not self.on or (now - self.begin) % (self.on + self.off) < self.on


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One message at one phase.

    first_seen   when this sender and recipient were first seen, in seconds; None: now
    connections  that the sender has open, this one included
    draw         uniform in [0, 1)
    """

    now: float
    ip: str
    phase: Phase
    first_seen: float | None = None
    connections: int = 1
    draw: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer: the connection fails or ends."""

    cause: str = "ConnectionRefusedError: nobody listens"


Answer = Reply | Silence


class Behaviour(Protocol):
    """is_limit: what it refuses is refused for rate. pause: seconds of silence before the answer."""

    is_limit: bool

    def answer(self, at: Moment) -> Answer | None:
        """None: it does not mind."""
        ...

    def accepted(self, ip: str, now: float, count: int) -> None:
        """So many messages were taken."""
        ...


@dataclass(slots=True, kw_only=True)
class Rate:
    """At most `limit` messages from one IP in any window (sliding), or in each by the clock (fixed)."""

    limit: int
    seconds: float
    phase: Phase
    reply: Reply
    hours: Hours
    is_fixed: bool = False
    counts_refused: bool = False
    is_limit: bool = True
    _taken: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _sums: dict[str, int] = field(default_factory=dict)

    def room(self, ip: str, now: float) -> int:
        """Messages that would be taken now."""
        return max(0, self.limit - self._sum(ip, now))

    def answer(self, at: Moment) -> Answer | None:
        if at.phase is not self.phase or not self.hours.hold(at.now) or self.room(at.ip, at.now) > 0:
            return None
        if self.counts_refused:
            self.accepted(at.ip, at.now, 1)
        return self.reply

    def accepted(self, ip: str, now: float, count: int) -> None:
        taken = self._taken.setdefault(ip, deque())
        taken.append((now, count))
        self._sums[ip] = self._sums.get(ip, 0) + count

    def _sum(self, ip: str, now: float) -> int:
        taken = self._taken.get(ip)
        if not taken:
            return 0
        oldest = now - now % self.seconds if self.is_fixed else now - self.seconds
        while taken and (taken[0][0] < oldest or (not self.is_fixed and taken[0][0] == oldest)):
            self._sums[ip] -= taken.popleft()[1]
        return self._sums[ip]


@dataclass(slots=True, kw_only=True)
class Refusal:
    """A share of all messages is refused, or all: unknown recipients, storms of 421, blocks, outages."""

    phase: Phase
    answer_: Answer
    hours: Hours
    share: float = 1.0
    is_limit: bool = False

    def answer(self, at: Moment) -> Answer | None:
        if at.phase is not self.phase or not self.hours.hold(at.now):
            return None
        return self.answer_ if self.share >= 1 or at.draw() < self.share else None

    def accepted(self, ip: str, now: float, count: int) -> None:
        """Of no account."""


@dataclass(slots=True, kw_only=True)
class Greylist:
    """A sender and recipient that were not seen `seconds` before are put off (RFC 6647 §2.4)."""

    seconds: float
    reply: Reply
    hours: Hours
    is_limit: bool = False

    def answer(self, at: Moment) -> Answer | None:
        if at.phase is not Phase.RCPT or not self.hours.hold(at.now):
            return None
        is_known = at.first_seen is not None and at.now - at.first_seen >= self.seconds
        return None if is_known else self.reply

    def accepted(self, ip: str, now: float, count: int) -> None:
        """Of no account."""


@dataclass(slots=True, kw_only=True)
class Reputation:
    """An IP that sent more than `messages` within `seconds` is refused for `lasts` seconds."""

    messages: int
    seconds: float
    lasts: float
    phase: Phase
    reply: Reply
    hours: Hours
    is_limit: bool = True
    _taken: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def answer(self, at: Moment) -> Answer | None:
        if at.phase is not self.phase or not self.hours.hold(at.now):
            return None
        return self.reply if at.now < self._until.get(at.ip, 0.0) else None

    def accepted(self, ip: str, now: float, count: int) -> None:
        taken = self._taken.setdefault(ip, deque())
        taken.append((now, count))
        while taken and taken[0][0] <= now - self.seconds:
            taken.popleft()
        if self.hours.hold(now) and sum(n for _, n in taken) > self.messages:
            self._until[ip] = now + self.lasts
            taken.clear()


@dataclass(slots=True, kw_only=True)
class Connections:
    """At most `limit` connections from one IP at a time."""

    limit: int
    reply: Reply
    hours: Hours
    is_limit: bool = False

    def answer(self, at: Moment) -> Answer | None:
        is_over = at.phase is Phase.GREETING and at.connections > self.limit
        return self.reply if is_over and self.hours.hold(at.now) else None

    def accepted(self, ip: str, now: float, count: int) -> None:
        """Of no account."""


@dataclass(slots=True, kw_only=True)
class Tarpit:
    """Each answer at its phase comes after so many seconds; `Provider.pause` asks for them."""

    seconds: float
    phase: Phase
    hours: Hours
    is_limit: bool = False

    def answer(self, at: Moment) -> Answer | None:
        return None

    def accepted(self, ip: str, now: float, count: int) -> None:
        """Of no account."""
