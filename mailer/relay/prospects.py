"""Where work is, when more lanes wait than one look takes in.

Most of the time all waiting lanes are read in one look, and this has nothing to do. A backlog for a site that
takes nothing may wait in a hundred thousand lanes, one for each recipient domain: to go through them for each
claim would starve all other mail. So lanes are read piece by piece, at a pace of their own, and remembered by
flow, as many of each as are soon used. What was accepted since the last look is looked for by itself: it is
found at once, wherever the reading stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice

from mailer import ids
from mailer.policy.fairness import Flow, ReadyLane
from mailer.queue import claim
from mailer.queue.claim import WaitingLane
from mailer.store import Store

PIECE = 1000  # lanes of one look
_OF_A_FLOW = 200  # lanes remembered: the others are read again before these are used up
_REMEMBERED = 100_000
_EAGER = 2000  # flows that are asked first
_PASSED_BY = 1000  # flows without room that are looked past in one choice
_PIECE_SECONDS = 0.05  # between pieces: a tenth of one processor at most
_NEWLY_SECONDS = 0.02
_OVERLAP_MS = 100  # a message is seen some time after its id was made
_LONG_OVERLAP_MS = 3000
_LONG_LOOK_SECONDS = 1.0

Place = Callable[[WaitingLane], ReadyLane | None]  # None: it is held, and not remembered


class Prospects:
    """`look` and then `choose` before a claim, `served` after it, all by the claimer's thread."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._now = now
        self._flows: dict[Flow, dict[int, WaitingLane]] = {}  # those to be looked at first in front
        self._flow_of: dict[int, Flow] = {}
        self._eager: dict[Flow, None] = {}  # in the order of their turns
        self._chosen: dict[Flow, None] = {}
        self._after = 0
        self._in_cycle = 0  # lanes read since the list began
        self._piece_at = 0.0
        self._newly_at = 0.0
        self._long_look_at = 0.0
        self._seen_ms = 0
        self.are_many = False

    # ---- reading -------------------------------------------------------------------------------------

    def look(self, place: Place) -> list[WaitingLane]:
        """All waiting lanes, unless they `are_many`: then `choose` has them. Raises StoreUnavailable."""
        if not self.are_many:
            lanes = claim.waiting_lanes(self._store, limit=PIECE)
            if len(lanes) < PIECE:
                return lanes
            self._begin(lanes, place)
        now = self._monotonic()
        if now >= self._newly_at:
            self._eager |= dict.fromkeys(self._remember(self._newly(now), place, displacing=True))
        if now >= self._piece_at:
            self._remember(self._piece(now), place)
        return []

    def next_look_in(self) -> float | None:
        """Seconds until more should be read; None: there is no more."""
        if not self.are_many:
            return None
        return max(min(self._piece_at, self._newly_at) - self._monotonic(), 0.0)

    def _wall_ms(self) -> int:
        return int(self._now().timestamp() * 1000)

    def _begin(self, first: list[WaitingLane], place: Place) -> None:
        self.are_many = True
        self._after, self._in_cycle = first[-1].lane_id, len(first)
        self._piece_at = self._monotonic() + _PIECE_SECONDS
        self._newly_at = self._long_look_at = 0.0
        self._seen_ms = self._wall_ms()
        self._remember(first, place)

    def _newly(self, now: float) -> list[WaitingLane]:
        """Lanes of what was accepted since the last look, or not long before it."""
        self._newly_at = now + _NEWLY_SECONDS
        at, overlap = self._wall_ms(), _OVERLAP_MS
        if now >= self._long_look_at:
            self._long_look_at, overlap = now + _LONG_LOOK_SECONDS, _LONG_OVERLAP_MS
        since, self._seen_ms = min(self._seen_ms, at) - overlap, at
        return claim.newly_waiting_lanes(self._store, since=ids.first_id_at(since), limit=PIECE)

    def _piece(self, now: float) -> list[WaitingLane]:
        lanes = claim.waiting_lanes(self._store, limit=PIECE, after=self._after)
        self._in_cycle += len(lanes)
        self._piece_at = now + _PIECE_SECONDS
        if len(lanes) == PIECE:
            self._after = lanes[-1].lane_id
        else:  # the end of the list: it begins anew, or is short enough to be read at once
            self.are_many = self._in_cycle > PIECE
            self._after = self._in_cycle = 0
            if not self.are_many:
                self._flows.clear()
                self._flow_of.clear()
                self._eager.clear()
        return lanes

    def _remember(
        self, lanes: Iterable[WaitingLane], place: Place, *, displacing: bool = False
    ) -> list[Flow]:
        """Their flows. displacing: where too much is remembered, others are forgotten for them."""
        flows = []
        for lane in lanes:
            at = place(lane)
            if at is None:
                continue
            flow = (at.tenant_id, at.site, at.kind)
            if self._flow_of.get(lane.lane_id, flow) != flow:  # its domain was looked up meanwhile
                self._forget(lane.lane_id)
            if displacing and len(self._flow_of) >= _REMEMBERED and lane.lane_id not in self._flow_of:
                self._forget(next(iter(next(iter(self._flows.values())))))
            known = self._flows.get(flow, {})
            if lane.lane_id in known or (len(known) < _OF_A_FLOW and len(self._flow_of) < _REMEMBERED):
                self._flows.setdefault(flow, {})[lane.lane_id] = lane
                self._flow_of[lane.lane_id] = flow
            flows.append(flow)
        return flows

    def _forget(self, lane_id: int) -> None:
        flow = self._flow_of.pop(lane_id, None)
        if flow is not None:
            known = self._flows[flow]
            del known[lane_id]
            if not known:
                del self._flows[flow]

    # ---- choosing ------------------------------------------------------------------------------------

    def choose(self, may_have_room: Callable[[Flow], bool]) -> list[WaitingLane]:
        """Up to a piece of lanes of flows that may have room: first of those with new mail and of those that
        were served last, then of the others in turns."""
        self._chosen = {}
        lanes: list[WaitingLane] = []
        eager = [flow for flow in self._eager if flow in self._flows]
        self._eager = {}
        for flow in eager:
            if len(lanes) < PIECE // 2 and may_have_room(flow):
                lanes += self._flows[flow].values()
                self._chosen[flow] = None
            elif len(self._eager) < _EAGER:  # the others have their turns as everybody has
                self._eager[flow] = None
        passed = 0
        for flow in list(islice(self._flows, PIECE + _PASSED_BY)):
            if len(lanes) >= PIECE or passed >= _PASSED_BY:
                break
            if flow in self._chosen:
                continue
            if may_have_room(flow):
                lanes += self._flows[flow].values()
                self._chosen[flow] = None
            else:
                passed += 1
                self._to_the_back(flow)
        return lanes

    def served(self, asked: Mapping[int, int], got: Mapping[int, int]) -> None:
        """What came of the lanes chosen last. asked, got: recipients by lane id.

        A lane that gave less than was asked for has no more. All that were chosen go to the back, those that
        nothing was asked of before the others.
        """
        served: dict[Flow, None] = {}
        for lane_id, quota in asked.items():
            flow = self._flow_of.get(lane_id)
            if flow is None:
                continue
            if got.get(lane_id, 0) < quota:
                self._forget(lane_id)
            served[flow] = None
        for flow in (*(f for f in self._chosen if f not in served), *served):
            if flow in self._flows:
                self._to_the_back(flow)
                if flow in served:
                    self._eager[flow] = None
        self._chosen = {}

    def leave_out(self, lanes: Iterable[int]) -> None:
        """They are held, and in the way of others; the next reading finds them again."""
        for lane_id in lanes:
            self._forget(lane_id)

    def _to_the_back(self, flow: Flow) -> None:
        self._flows[flow] = self._flows.pop(flow)
