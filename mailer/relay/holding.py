"""What a worker knows of the holds: read once a second, so that nothing held costs nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import chain

from mailer.queue import holds
from mailer.queue.claim import WaitingLane
from mailer.queue.due import But
from mailer.queue.holds import Hold, InForce
from mailer.queue.selection import Place
from mailer.store import Store

_FRESH_SECONDS = 1.0


class HoldBook:
    """For one thread: refresh, begin, ask lane by lane, and then see what else is left out."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._now = now
        self._found = InForce((), {}, {})
        self._filed = _Filed(self._found)
        self._read_at: float | None = None
        self._but: dict[int, list[Hold]] = defaultdict(list)

    def refresh(self, *, ahead: bool = False) -> None:
        """Raises StoreUnavailable: then what was read before is not known to hold still.

        ahead  also what will soon be old
        """
        now = self._monotonic()
        lasts = _FRESH_SECONDS / 2 if ahead else _FRESH_SECONDS
        if self._read_at is None or now - self._read_at >= lasts:
            self._found = holds.look(self._store, now=self._now())
            self._filed = _Filed(self._found)
            self._read_at = now

    def begin(self) -> None:
        """A new look at the lanes."""
        self._but.clear()

    @property
    def is_empty(self) -> bool:
        return not self._found.holds

    def holds(self, lane: WaitingLane, site: str) -> bool:
        """Whether nothing of a lane may be claimed. What is held of one that may be is kept for `but`."""
        stream = self._found.streams.get(lane.stream_id, "")
        place = Place(lane.lane_id, lane.tenant_id, stream, lane.domain, site)
        for hold in self._filed.near(place):
            if not hold.wanted.takes(place):
                continue
            if not hold.wanted.names_rows:
                return True
            self._but[lane.lane_id].append(hold)
        return False

    @property
    def but(self) -> Mapping[int, But]:
        """By lane, what of it is held."""
        return {lane_id: _but(named) for lane_id, named in self._but.items()}


class _Filed:
    """Holds by what they name, so that a lane is compared with few of them, however many there are."""

    def __init__(self, found: InForce) -> None:
        self._by_lane: dict[int, list[Hold]] = defaultdict(list)
        self._by_domain: dict[str, list[Hold]] = defaultdict(list)
        self._by_tenant: dict[int, list[Hold]] = defaultdict(list)
        self._wide: list[Hold] = []
        for hold in found.holds:
            wanted = hold.wanted
            if wanted.names_rows:
                for lane_id in found.lanes_of[hold.id]:
                    self._by_lane[lane_id].append(hold)
            elif wanted.domain is not None:
                self._by_domain[wanted.domain].append(hold)
            elif wanted.tenant_id is not None:
                self._by_tenant[wanted.tenant_id].append(hold)
            else:
                self._wide.append(hold)

    def near(self, place: Place) -> Iterator[Hold]:
        """Those that may take it, what holds all of a lane first."""
        return chain(
            self._wide,
            self._by_tenant.get(place.tenant_id, ()),
            self._by_domain.get(place.domain, ()),
            self._by_lane.get(place.lane_id, ()),
        )


def _but(named: list[Hold]) -> But:
    wanted = [hold.wanted for hold in named]
    rows = [w.recipient_id for w in wanted if w.recipient_id is not None]
    messages = [w.message_id for w in wanted if w.recipient_id is None and w.message_id is not None]
    return But(messages, rows)
