"""Who is served next: deficit round robin over (tenant, place, kind of stream), so that none starves.

A place is a site, and where mail leaves from a pool one of its IPs and a site (places.py). Every flow with
work gets a quantum a round, transactional mail more than broadcast; what a flow may not dial (its room
is used up) goes to the others. A flow left out of one round stands first in the next. A part of all room is
kept for transactional mail: it finds a connection at once, however much broadcast mail waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from mailer.policy.egress import BROADCAST, TRANSACTIONAL
from mailer.policy.places import place_name
from mailer.policy.turns import turns_of

NOWHERE = -1  # for mail that no IP may carry: it is claimed to be told why


class ReadyLane(msgspec.Struct, frozen=True):
    """A lane with work that is due now, and the site its domain resolves to.

    A lane of a pool stands here once for each IP that it may leave from now.

    pool_id            that an operator chose for its mail; 0: none
    egress_id, egress  that IP, and its name; 0: the system's choice
    share              of the turn that the lane has by all its IPs together
    """

    lane_id: int
    tenant_id: int
    domain: str
    site: str
    stream_id: int = 0
    kind: str = TRANSACTIONAL
    egress_id: int = 0
    egress: str = ""
    share: float = 1.0
    pool_id: int = 0

    @property
    def place(self) -> str:
        return place_name(self.egress, self.site) if self.egress else self.site


Flow = tuple[int, str, str]  # tenant id, place, kind of stream


@dataclass(frozen=True, slots=True)
class Room:
    """Messages that may be taken now: of any kind, and of them of broadcast mail."""

    messages: int
    broadcast: int

    def of(self, kind: str) -> int:
        return self.broadcast if kind == BROADCAST else self.messages


@dataclass(frozen=True, slots=True)
class Share:
    """How many recipients to claim of each lane, and the flow to begin with next time.

    by_ip  of lanes of pools: by egress id
    """

    quotas: Mapping[int, int]
    next_flow: Flow | None
    by_ip: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


def share_out(
    lanes: Sequence[ReadyLane],
    *,
    room: Mapping[str, Room],
    total: Room,
    first: Flow | None,
    most: Mapping[Flow, int] | None = None,
) -> Share:
    """Deal `total` claims to `lanes`, no more to a place than its `room`; transactional mail comes first.

    first  the flow to begin with: `next_flow` of the round before, None at the start
    most   what a flow may take, where that is less than the room of its place
    """
    flows: dict[Flow, list[ReadyLane]] = defaultdict(list)
    shares: dict[Flow, float] = {}
    for lane in lanes:
        flow = (lane.tenant_id, lane.place, lane.kind)
        flows[flow].append(lane)
        if lane.egress_id:
            shares[flow] = max(lane.share, shares.get(flow, 0.0))
    table = _Table(room, total, most or {}, shares)
    order = _rotated(sorted(flow for flow in flows if table.room_for(flow) > 0), first)
    grants = table.deal(order)
    quotas: dict[int, int] = {}
    by_ip: dict[int, dict[int, int]] = defaultdict(dict)
    for flow in sorted(grants, key=lambda flow: flow[2] == BROADCAST):
        for lane, n in _split(flows[flow], grants[flow]):
            quotas[lane.lane_id] = quotas.get(lane.lane_id, 0) + n
            if lane.egress_id:
                by_ip[lane.lane_id][lane.egress_id] = n
    return Share(quotas, _after_last_served(order, grants), by_ip)


def _rotated(order: list[Flow], first: Flow | None) -> list[Flow]:
    if first is None:
        return order
    start = next((i for i, flow in enumerate(order) if flow >= first), 0)
    return order[start:] + order[:start]


class _Table:
    """What is left while claims are dealt out."""

    def __init__(
        self, room: Mapping[str, Room], total: Room, most: Mapping[Flow, int], shares: Mapping[Flow, float]
    ) -> None:
        self._most = dict(most)
        self._shares = shares
        self._kept = {place: r.messages - r.broadcast for place, r in room.items()}
        self._free = {place: r.messages for place, r in room.items()}
        self._total = total.messages
        self._total_kept = total.messages - total.broadcast

    def room_for(self, flow: Flow) -> int:
        _, place, kind = flow
        free, total = self._free.get(place, 0), self._total
        if kind == BROADCAST:
            free, total = free - self._kept.get(place, 0), total - self._total_kept
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
                grant = min(max(int(quanta[flow[1]] * self._turns(flow)), 1), self.room_for(flow))
                grants[flow] += grant
                self._take(flow, grant)
            open_flows = [flow for flow in open_flows if self.room_for(flow) > 0]
        return grants

    def _turns(self, flow: Flow) -> float:
        return turns_of(flow[2]) * self._shares.get(flow, 1)

    def _quanta(self, open_flows: Sequence[Flow]) -> dict[str, int]:
        """For one turn at a place; 0: there is not one for each, so every flow gets one as far as it goes."""
        turns: dict[str, float] = defaultdict(int)
        for flow in open_flows:
            turns[flow[1]] += self._turns(flow)
        each = int(self._total / sum(turns.values()))
        return {place: min(each, int(self._free[place] / n)) for place, n in turns.items()}


def _split(lanes: Sequence[ReadyLane], grant: int) -> Iterator[tuple[ReadyLane, int]]:
    """A flow's grant over its lanes, evenly; the first ones take the remainder."""
    each, rest = divmod(grant, len(lanes))
    shares = ((lane, each + (i < rest)) for i, lane in enumerate(lanes))
    return ((lane, n) for lane, n in shares if n)


def _after_last_served(order: Sequence[Flow], grants: Mapping[Flow, int]) -> Flow | None:
    """The first flow that got nothing; without one, the second, so that the lead rotates."""
    for flow in order:
        if not grants.get(flow):
            return flow
    return order[1] if len(order) > 1 else None
