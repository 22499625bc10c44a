"""Who is served next: deficit round robin over (tenant, site), so that no backlog starves another.

Every flow with work gets the same quantum a round; what a flow may not dial (its site's room is used
up) goes to the others. A flow left out of one round stands first in the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadyLane:
    """A lane with work that is due now, and the site its domain resolves to."""

    lane_id: int
    tenant_id: int
    domain: str
    site: str


Flow = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Share:
    """How many recipients to claim of each lane, and the flow to begin with next time."""

    quotas: Mapping[int, int]
    next_flow: Flow | None


def share_out(
    lanes: Sequence[ReadyLane], *, room: Mapping[str, int], total: int, first: Flow | None
) -> Share:
    """Deal `total` claims to `lanes`, no more to a site than its `room` (messages it may take now).

    first  the flow to begin with: `next_flow` of the round before, None at the start
    """
    flows: dict[Flow, list[ReadyLane]] = defaultdict(list)
    for lane in lanes:
        if room.get(lane.site, 0) > 0:
            flows[lane.tenant_id, lane.site].append(lane)
    order = _rotated(sorted(flows), first)
    grants = _deal(order, dict(room), total)
    quotas: dict[int, int] = {}
    for flow, grant in grants.items():
        quotas |= _split(flows[flow], grant)
    return Share(quotas, _after_last_served(order, grants))


def _rotated(order: list[Flow], first: Flow | None) -> list[Flow]:
    if first is None:
        return order
    start = next((i for i, flow in enumerate(order) if flow >= first), 0)
    return order[start:] + order[:start]


def _deal(order: Sequence[Flow], room: dict[str, int], total: int) -> dict[Flow, int]:
    """Equal quanta in turn, until the total or every room is used up."""
    grants: dict[Flow, int] = defaultdict(int)
    open_flows = list(order)
    while total > 0 and open_flows:
        at_site = Counter(site for _, site in open_flows)
        quanta = {site: max(1, min(total // len(open_flows), room[site] // n)) for site, n in at_site.items()}
        for flow in open_flows:
            grant = min(quanta[flow[1]], total, room[flow[1]])
            grants[flow] += grant
            total -= grant
            room[flow[1]] -= grant
        open_flows = [flow for flow in open_flows if room[flow[1]] > 0]
    return grants


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
