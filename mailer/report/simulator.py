"""Recipients that behave as their name says, so that a developer meets every outcome on a laptop.

    success         250
    bounce          550 5.1.1 to RCPT
    full            552 5.2.2 to the final dot
    defer           451 4.3.0 to RCPT, always: it expires in the end
    greylist        451 4.7.1 to RCPT until sender and recipient were seen some seconds before (RFC 6647 §2.4)
    slow            250, after a long silence; `slow+7` is silent for seven seconds
    drop-after-dot  takes the content and hangs up; the next time it answers 250
    complaint, unsubscribe, oof   250, and something comes back (replies.py)

All at simulator.mailer.test, in any case, with any "+tag". The relay knows nothing of them. What is
remembered of senders is lost at a restart, as a greylist's memory may be.

A full mailbox is said after the content, since there it is final: 552 to RCPT stands for "too many
recipients", which is temporary (RFC 5321 §4.5.3.1.10). Receivers differ: Dovecot bounces with 552 5.2.2,
Gmail defers with 452 4.2.2, which ends as `defer` does. One that bounces at once tells the developer more.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from mailer.listener import Path, ServerReply, reply
from mailer.policy.suppression import SIMULATED

DOMAIN = SIMULATED  # .test is nobody's (RFC 6761 §6.2)
_V = TypeVar("_V")

_REMEMBERED = 100_000
_LONGEST_SILENCE = 300  # seconds; a relay waits ten minutes (RFC 5321 §4.5.3.2.6)

_TAKEN = reply(250, "2.1.5", "OK")
_UNKNOWN = reply(550, "5.1.1", "No such recipient at the simulator")
_BOUNCED = reply(550, "5.1.1", "The simulator has no such mailbox")
_FULL = reply(552, "5.2.2", "The mailbox of this simulated recipient is full")
_DEFERRED = reply(451, "4.3.0", "This simulated recipient is never available")


class Manner(enum.StrEnum):
    """How a simulated recipient behaves: its local part."""

    SUCCESS = "success"
    BOUNCE = "bounce"
    FULL = "full"
    DEFER = "defer"
    GREYLIST = "greylist"
    SLOW = "slow"
    DROP_AFTER_DOT = "drop-after-dot"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    OOF = "oof"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. greylist: for which a new pair is put off. silence: of `slow` before its reply."""

    greylist: float = 5.0
    silence: float = 20.0


def is_simulated(path: Path) -> bool:
    return path.domain.lower() == DOMAIN


def manner_of(path: Path) -> Manner | None:
    """None: nobody here has that local part, or the domain is another."""
    name = path.local.partition("+")[0].lower()
    return Manner(name) if is_simulated(path) and name in _NAMES else None


_NAMES = frozenset(Manner)


class Simulator:
    """What the recipients at DOMAIN answer. Lives on one event loop.

    monotonic  seconds
    """

    def __init__(self, monotonic: Callable[[], float], patience: Patience) -> None:
        self._monotonic = monotonic
        self._patience = patience
        self._first_seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._dropped: OrderedDict[tuple[str, str], None] = OrderedDict()

    def at_rcpt(self, sender: Path, path: Path) -> ServerReply:
        """The answer to RCPT for a path that `is_simulated`."""
        match manner_of(path):
            case None:
                return _UNKNOWN
            case Manner.BOUNCE:
                return _BOUNCED
            case Manner.DEFER:
                return _DEFERRED
            case Manner.GREYLIST:
                return self._greylist(_pair(sender, path))
            case _:
                return _TAKEN

    def at_dot(self, paths: Iterable[Path]) -> ServerReply | None:
        """Why the content is refused for all recipients of its transaction; None if it is not.

        There is one answer to a dot. A sender that wants one for each recipient sends a message to each, as
        our relay does.
        """
        return _FULL if any(manner_of(path) is Manner.FULL for path in paths) else None

    def silence_before_reply(self, paths: Iterable[Path]) -> float:
        """Seconds, 0 for most."""
        return max((self._silence(path) for path in paths if manner_of(path) is Manner.SLOW), default=0.0)

    def hangs_up(self, sender: Path, paths: Iterable[Path]) -> bool:
        """Whether a content that was taken is left unanswered: the first of each sender and recipient."""
        dropping = [_pair(sender, path) for path in paths if manner_of(path) is Manner.DROP_AFTER_DOT]
        new = [pair for pair in dropping if pair not in self._dropped]
        for pair in new:
            _remember(self._dropped, pair, None)
        return bool(new)

    def _greylist(self, pair: tuple[str, str]) -> ServerReply:
        now = self._monotonic()
        if pair not in self._first_seen:
            _remember(self._first_seen, pair, now)
        left = self._first_seen[pair] + self._patience.greylist - now
        if left <= 0:
            return _TAKEN
        # As postgrey and milter-greylist do; our relay reads it (policy/classify.py).
        return reply(451, "4.7.1", f"Greylisted; try again in {math.ceil(left)} seconds")

    def _silence(self, path: Path) -> float:
        tag = path.local.partition("+")[2]
        if tag.isascii() and tag.isdigit():
            return float(min(int(tag[:9]), _LONGEST_SILENCE))
        return self._patience.silence


def _pair(sender: Path, path: Path) -> tuple[str, str]:
    return sender.text, path.text.lower()


def _remember(memory: OrderedDict[tuple[str, str], _V], pair: tuple[str, str], value: _V) -> None:
    memory[pair] = value
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
