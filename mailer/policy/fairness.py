"""Who is served next: deficit round robin over (tenant, site, kind of stream), so that none starves.

Every flow with work gets a quantum a round, transactional mail more than broadcast; what a flow may not dial
(its site's room is used up) goes to the others. A flow left out of one round stands first in the next. A part
of all room is kept for transactional mail: it finds a connection at once, however much broadcast mail waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailer.policy.egress import BROADCAST, TRANSACTIONAL
from mailer.policy.turns import turns_of


@dataclass(frozen=True, slots=True)
class ReadyLane:
    """A lane with work that is due now, and the site its domain resolves to."""

    lane_id: int
    tenant_id: int
    domain: str
    site: str
    stream_id: int = 0
    kind: str = TRANSACTIONAL


Flow = tuple[int, str, str]  # tenant id, site, kind of stream


@dataclass(frozen=True, slots=True)
class Room:
    """Messages that may be taken now: of any kind, and of them of broadcast mail."""

    messages: int
    broadcast: int

    def of(self, kind: str) -> int:
        return self.broadcast if kind == BROADCAST else self.messages


@dataclass(frozen=True, slots=True)
class Share:
    """How many recipients to claim of each lane, and the flow to begin with next time."""

    quotas: Mapping[int, int]
    next_flow: Flow | None


def share_out(
    lanes: Sequence[ReadyLane],
    *,
    room: Mapping[str, Room],
    total: Room,
    first: Flow | None,
    most: Mapping[Flow, int] | None = None,
) -> Share:
    """Deal `total` claims to `lanes`, no more to a site than its `room`; transactional mail comes first.

    first  the flow to begin with: `next_flow` of the round before, None at the start
    most   what a flow may take, where that is less than the room of its site
    """
    flows: dict[Flow, list[ReadyLane]] = defaultdict(list)
    for lane in lanes:
        flows[lane.tenant_id, lane.site, lane.kind].append(lane)
    table = _Table(room, total, most or {})
    order = _rotated(sorted(flow for flow in flows if table.room_for(flow) > 0), first)
    grants = table.deal(order)
    quotas: dict[int, int] = {}
    for flow in sorted(grants, key=lambda flow: flow[2] == BROADCAST):
        quotas |= _split(flows[flow], grants[flow])
    return Share(quotas, _after_last_served(order, grants))


def _rotated(order: list[Flow], first: Flow | None) -> list[Flow]:
    if first is None:
        return order
    start = next((i for i, flow in enumerate(order) if flow >= first), 0)
    return order[start:] + order[:start]


class _Table:
    """What is left while claims are dealt out."""

    def __init__(self, room: Mapping[str, Room], total: Room, most: Mapping[Flow, int]) -> None:
        self._most = dict(most)
        self._kept = {site: r.messages - r.broadcast for site, r in room.items()}
        self._free = {site: r.messages for site, r in room.items()}
        self._total = total.messages
        self._total_kept = total.messages - total.broadcast

    def room_for(self, flow: Flow) -> int:
        _, site, kind = flow
        free, total = self._free.get(site, 0), self._total
        if kind == BROADCAST:
            free, total = free - self._kept.get(site, 0), total - self._total_kept
        return max(min(free, total, self._most.get(flow, free)), 0)

    def _take(self, flow: Flow, grant: int) -> None:
        self._free[flow[1]] -= grant
        self._total -= grant
        if flow in self._most:
            self._most[flow] -= grant

    def deal(self, order: Sequence[Flow]) -> dict[Flow, int]:
        """Quanta in turn, until the total or every room is used up."""
        grants: dict[Flow, int] = defaultdict(int)
        open_flows = list(order)
        while open_flows:
            quanta = self._quanta(open_flows)
            for flow in open_flows:
                grant = min(max(quanta[flow[1]] * turns_of(flow[2]), 1), self.room_for(flow))
                grants[flow] += grant
                self._take(flow, grant)
            open_flows = [flow for flow in open_flows if self.room_for(flow) > 0]
        return grants

    def _quanta(self, open_flows: Sequence[Flow]) -> dict[str, int]:
        """For one turn at a site; 0: there is not one for each, so every flow gets one as far as it goes."""
        turns: Counter[str] = Counter()
        for _, site, kind in open_flows:
            turns[site] += turns_of(kind)
        each = self._total // turns.total()
        return {site: min(each, self._free[site] // n) for site, n in turns.items()}


def _split(lanes: Sequence[ReadyLane], grant: int) -> dict[int, int]:
    """A flow's grant over its lanes, evenly; the first ones take the remainder."""
    each, rest = divmod(grant, len(lanes))
    shares = ((lane.lane_id, each + (i < rest)) for i, lane in enumerate(lanes))
    return {lane_id: n for lane_id, n in shares if n}


def _after_last_served(order: Sequence[Flow], grants: Mapping[Flow, int]) -> Flow | None:
    """The first flow that got nothing; without one, the second, so that the lead rotates."""
    for flow in order:
        if not grants.get(flow):
            return flow
    return order[1] if len(order) > 1 else None
