"""How many authenticated sessions one API key may have at once, in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class KeySessions:
    """Lives on one event loop."""

    def __init__(self, most: int) -> None:
        """most: 0: any number."""
        self._most = most
        self._open: Counter[int] = Counter()

    def enter(self, key_id: int) -> Callable[[], None] | None:
        """What gives the place back, to be called once; None if all are taken."""
        if self._most and self._open[key_id] >= self._most:
            return None
        self._open[key_id] += 1
        return lambda: self._leave(key_id)

    def _leave(self, key_id: int) -> None:
        self._open[key_id] -= 1
        if not self._open[key_id]:
            del self._open[key_id]
