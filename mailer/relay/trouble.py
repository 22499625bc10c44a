"""Streams whose own mail is ill received: bad addresses, content, authentication.

Their mail does not overflow into other pools, nor spread over its own, which it would only spoil, too. Known
to this process alone and for a day, but at once and for faults of content too; what all processes counted
together is the brake's (brakebook.py). It keeps trouble from spreading, it does not punish.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mailer.policy import warmup
from mailer.policy.bounceclass import Blame
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Accepted, Outcome, Refused
from mailer.policy.warmplan import Health
from mailer.policy.warmup import Counts
from mailer.queue.claim import Claimed

_SLOT_SECONDS = 3600.0
_SLOTS = 24
_LATELY = 2  # slots

Stream = tuple[int, int]  # tenant id, stream id


class OfStream(Protocol):
    """Anything that a stream sends."""

    @property
    def tenant_id(self) -> int: ...

    @property
    def stream_id(self) -> int: ...


@dataclass(slots=True)
class _Slot:
    """What was heard within one hour."""

    number: int
    delivered: int = 0
    bad: int = 0


class StreamTrouble:
    """`note` by the settler's thread, `in_trouble` by the claimer's."""

    def __init__(self, health: Health, monotonic: Callable[[], float]) -> None:
        self._health = health
        self._monotonic = monotonic
        self._slots: dict[Stream, list[_Slot]] = defaultdict(list)
        self._lock = threading.Lock()

    def note(self, claimed: Claimed, outcome: Outcome, judged: Judgement | None) -> None:
        is_bad = _is_bad(outcome, judged)
        if not is_bad and not isinstance(outcome, Accepted):
            return
        number = int(self._monotonic() // _SLOT_SECONDS)
        with self._lock:
            slots = self._slots[claimed.tenant_id, claimed.stream_id]
            if not slots or slots[-1].number != number:
                slots[:] = [s for s in slots if s.number > number - _SLOTS]
                slots.append(_Slot(number))
            slots[-1].bad += is_bad
            slots[-1].delivered += not is_bad

    def in_trouble(self, mail: OfStream) -> bool:
        """Over the rate of bad answers at which a new IP would stop growing, in the day or lately."""
        number = int(self._monotonic() // _SLOT_SECONDS)
        with self._lock:
            slots = self._slots.get((mail.tenant_id, mail.stream_id), ())
            young = [s for s in slots if s.number > number - _SLOTS]
            late = [s for s in young if s.number > number - _LATELY]
            day, lately = _sum(young), _sum(late)
        return warmup.is_trouble(self._health, day, lately)


def _sum(slots: Sequence[_Slot]) -> Counts:
    return Counts(delivered=sum(s.delivered for s in slots), bounced=sum(s.bad for s in slots))


def _is_bad(outcome: Outcome, judged: Judgement | None) -> bool:
    """Refused for what the stream sent, or to whom."""
    if judged is None or not isinstance(outcome, Refused):
        return False
    return judged.blame is Blame.SENDER_CONTENT or (
        judged.blame is Blame.RECIPIENT and outcome.reply.code >= 500
    )
