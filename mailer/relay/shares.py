"""How often each site says that there is no such mailbox, counted here and written with what is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mailer.events import RecipientState
from mailer.policy.suppression import Share, says_unknown
from mailer.queue.settle import Settlement

_SECONDS = 5.0  # between writings; what a crash takes of them is missing in a statistic
_FINAL = frozenset({RecipientState.DELIVERED, RecipientState.BOUNCED})


class Shares:
    """Written at once when somebody is unknown, since it may decide about the recipient; else now and then.

    For one thread.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, Share] = {}
        self._due_at = monotonic() + _SECONDS

    def with_these(self, settlements: Sequence[Settlement]) -> Mapping[str, Share]:
        """What to write with them, by site; empty: nothing yet."""
        is_unknown = False
        for s in settlements:
            site = s.heard.site
            if site is None or s.move.state not in _FINAL:
                continue
            invalid = _is_unknown(s)
            is_unknown |= invalid
            self._counts[site] = self._counts.get(site, Share()) + Share(1, int(invalid))
        if not is_unknown and self._monotonic() < self._due_at:
            return {}
        self._due_at = self._monotonic() + _SECONDS
        counts, self._counts = self._counts, {}
        return counts


def _is_unknown(s: Settlement) -> bool:
    return s.judged is not None and says_unknown(s.judged.bounce_class)
