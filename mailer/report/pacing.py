"""What one peer may do in a minute: mails that are taken, and addresses that are not here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_SECONDS = 60.0
_REMEMBERED = 10_000  # peers; those that did least lately are forgotten first


@dataclass(slots=True)
class _Minute:
    began: float
    mails: int = 0
    misses: int = 0


class PeerPace:
    """Counts by network (mailer/listener/peer.py). For one event loop.

    mails, misses  most in a minute from one network
    """

    def __init__(self, *, mails: int, misses: int, monotonic: Callable[[], float]) -> None:
        self._mails = mails
        self._misses = misses
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Minute] = OrderedDict()

    def is_too_fast(self, network: str) -> bool:
        return self._minute(network).mails >= self._mails

    def took(self, network: str) -> None:
        self._minute(network).mails += 1

    def missed(self, network: str) -> bool:
        """Whether it were too many by now: whoever asks so often is guessing."""
        minute = self._minute(network)
        minute.misses += 1
        return minute.misses > self._misses

    def _minute(self, network: str) -> _Minute:
        now = self._monotonic()
        minute = self._known.get(network)
        if minute is None or now - minute.began >= _WINDOW_SECONDS:
            minute = self._known[network] = _Minute(now)
        self._known.move_to_end(network)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return minute
