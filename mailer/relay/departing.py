"""Which of a pool's IPs a lane's mail may leave from at this moment, for the claimer's thread.

A claim has the IP first: what a provider takes is counted for each of our IPs, and so are permits, tokens
and what is in hand. So a lane of a pool is dealt with once for each IP that is open to it, in shares by
weight, and the rows find theirs among these as they are claimed (queue/leaving.py).

Where many sites wait each is looked at with few IPs, drawn by weight, those first that have permits there: to
know the room of every IP at every site costs permits, which are asked for some at a time. IPs that a lane
leaves from only with what must stay there (they are draining, in reserve, or another pool's) are looked at
rarely where nothing of the kind was found, since to find it a backlog is gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from mailer.events import WaitReason
from mailer.policy import egress as policy
from mailer.policy.egress import OFF, Candidate, Egress, NoRoom, Room, Stay, Wish
from mailer.policy.fairness import NOWHERE, Flow, ReadyLane, Share
from mailer.policy.places import place_name
from mailer.queue.leaving import Cap, Leaving, Way
from mailer.queue.metering import Tolls
from mailer.relay.dispatch import DispatchParts
from mailer.relay.egress import Meant

_WAYS_AT_ONCE = 400  # over all lanes of a pull
_ROOMS_AT_ONCE = 300  # beyond those
_REST_SECONDS = 5.0
_LITTLE = 0.05  # the share of an IP that takes only what must stay on it
_FLOWS = 10_000  # remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What the claimer knows of places.

    ask_permits  for these places, as far as what was granted is old
    has_permits  was granted some for a place
    is_closed    a ceiling of an IP at a site has no room (egress, site)
    messages     that may be claimed for a place, by kind of stream
    """

    ask_permits: Callable[[Iterable[str]], None]
    has_permits: Callable[[str], bool]
    is_closed: Callable[[str, str], bool]
    messages: Callable[[str, str], int]


@dataclass(slots=True)
class _Berth:
    """What all lanes of a stream at a site, with the same pool chosen, have in common in one pull.

    usable  IPs here that it may leave from at all; rooms: theirs at the site by id, as far as measured
    fresh   those that new mail is dealt to; staying: that only what must stay is; both by weight
    told    no IP will take its new mail before long
    """

    meant: Meant
    wish: Wish
    site: str
    provider: str | None
    usable: Sequence[Candidate]
    rooms: dict[int, Room] = field(default_factory=dict)
    fresh: Sequence[Candidate] = ()
    staying: Sequence[Candidate] = ()
    told: bool = False


class Departing:
    """`spread` before lanes are dealt with, `leaving` once they were, `ended` after the claim."""

    def __init__(self, parts: DispatchParts, gauges: Gauges, *, monotonic: Callable[[], float]) -> None:
        self._p = parts
        self._gauges = gauges
        self._monotonic = monotonic
        self._berths: dict[tuple[int, int, str, int], _Berth | None] = {}
        self._berth_of: dict[int, _Berth] = {}
        self._caps: dict[tuple[int, str], Cap] = {}
        self._closed: set[str] = set()  # places
        self._flows_of: dict[Flow, set[Flow]] = {}
        self._rests: dict[int, float] = {}  # lanes that had nothing that must stay somewhere, until when

    @property
    def is_needed(self) -> bool:
        """There are pools."""
        return not self._p.book.is_empty

    # ---- before the deal -----------------------------------------------------------------------------

    def spread(self, lanes: Sequence[ReadyLane]) -> list[ReadyLane]:
        """The lanes, those of pools once for each IP that is open to them now; not at all where none is."""
        self._berths, self._berth_of, self._caps = {}, {}, {}
        self._closed = set()
        for lane in lanes:
            self._meet(lane)
        berths = [berth for berth in self._berths.values() if berth is not None]
        self._measure(berths, _each(berths))
        most = _each(lanes)
        return [way for lane in lanes for way in self._ways_of(lane, most)]

    def flows_of(self, lanes: Iterable[ReadyLane]) -> set[Flow]:
        """All that a pull might serve if there were room; what a ceiling closes opens by itself."""
        found: set[Flow] = set()
        for lane in lanes:
            flow = (lane.tenant_id, lane.site, lane.kind)
            found |= self._flows_of.get(flow, {flow})
        return {flow for flow in found if flow[1] not in self._closed}

    def known_flows(self, flow: Flow) -> set[Flow] | None:
        """By IP, of a flow to a site as it was last looked at; None: it was not, or leaves from no pool."""
        return self._flows_of.get(flow)

    def _meet(self, lane: ReadyLane) -> None:
        key = (lane.tenant_id, lane.stream_id, lane.site, lane.pool_id)
        if key not in self._berths:
            self._berths[key] = self._find(lane)
        berth = self._berths[key]
        if berth is not None:
            self._berth_of[lane.lane_id] = berth

    def _find(self, lane: ReadyLane) -> _Berth | None:
        """None: it leaves by the system's choice, or its site must be found out first."""
        book, site = self._p.book, lane.site
        if site.startswith("domain:"):
            return None
        meant = book.candidates(lane.tenant_id, lane.stream_id, site, kind=lane.kind, chosen=lane.pool_id)
        if meant is None:
            return None
        wish = Wish(
            tenant_id=lane.tenant_id,
            stream_id=lane.stream_id,
            stream_kind=lane.kind,
            may_overflow=self._p.may_overflow(lane, site),
        )
        usable = [c for c in meant.candidates if c.is_here and c.state != OFF and policy.may_use(wish, c)]
        return _Berth(meant, wish, site, book.provider_of(site), usable)

    def _measure(self, berths: Sequence[_Berth], most: int) -> None:
        """The rooms of some IPs of each, and where none of them takes new mail of the others as well."""
        self._remember(berths)
        self._look_at([(berth, self._some_of(berth, most)) for berth in berths])
        closed = [berth for berth in berths if not berth.fresh and len(berth.rooms) < len(berth.usable)]
        # Not the same ones first each time: sites that take nothing at all must not hide the others.
        start = int(self._p.draw() * len(closed)) if len(berths) > 1 else 0
        rest, rooms = [], 0
        for berth in closed[start:] + closed[:start]:
            left = [c for c in berth.usable if c.egress.id not in berth.rooms]
            rest.append((berth, left))
            rooms += len(left)
            if rooms >= _ROOMS_AT_ONCE:
                break
        self._look_at(rest)

    def _some_of(self, berth: _Berth, most: int) -> Sequence[Candidate]:
        if len(berth.usable) <= most:
            return berth.usable
        first = [c for c in berth.usable if policy.is_first(c)]
        others = [c for c in berth.usable if not policy.is_first(c)]
        known = [c for c in first if self._gauges.has_permits(place_name(c.egress.name, berth.site))]
        return [*self._drawn(known or first, most), *self._drawn(others, 1)]

    def _look_at(self, wanted: Sequence[tuple[_Berth, Sequence[Candidate]]]) -> None:
        places = {(c.egress.name, berth.site) for berth, some in wanted for c in some}
        closed = {place for place in places if self._gauges.is_closed(*place)}
        self._closed |= {place_name(*place) for place in closed}
        self._gauges.ask_permits(place_name(*place) for place in places - closed)
        for berth, some in wanted:
            berth.rooms |= {c.egress.id: self._room(berth, c.egress, closed) for c in some}
            self._rank(berth)

    def _remember(self, berths: Sequence[_Berth]) -> None:
        if len(self._flows_of) >= _FLOWS:
            self._flows_of = {}
        for berth in berths:
            whose, kind = berth.wish.tenant_id, berth.wish.stream_kind
            names = {(whose, place_name(c.egress.name, berth.site), kind) for c in berth.usable}
            # Another stream's mail for the site, or what was moved, may leave from another pool.
            self._flows_of.setdefault((whose, berth.site, kind), set()).update(names)

    def _room(self, berth: _Berth, egress: Egress, closed: set[tuple[str, str]]) -> Room:
        place = (egress.name, berth.site)
        warm = self._warm_room(berth, egress)
        suspended_until = self._p.suspended_until(egress, berth.site)
        is_busy = place in closed or self._gauges.messages(place_name(*place), berth.wish.stream_kind) <= 0
        return replace(warm, suspended_until=suspended_until, is_busy=is_busy)

    def _known_room(self, berth: _Berth, egress: Egress) -> Room:
        """One that was not measured may take more in a moment."""
        room = berth.rooms.get(egress.id)
        return room if room is not None else replace(self._warm_room(berth, egress), is_busy=True)

    def _warm_room(self, berth: _Berth, egress: Egress) -> Room:
        if berth.provider is None:
            return Room()
        return self._p.book.room(egress.id, berth.provider, self._p.now())

    def _rank(self, berth: _Berth) -> None:
        rooms = {c.egress.id: self._known_room(berth, c.egress) for c in berth.usable}
        found = policy.open_to(berth.wish, berth.meant.candidates, rooms, pool=berth.meant.pool)
        if isinstance(found, NoRoom):
            berth.told = found.reason in (WaitReason.WARMUP, WaitReason.NO_EGRESS)
        else:
            berth.fresh = found
        taking = {c.egress.id for c in berth.fresh}
        berth.staying = [
            c
            for c in berth.usable
            if c.egress.id not in taking
            and policy.has_room(rooms[c.egress.id])
            and not rooms[c.egress.id].is_busy
        ]

    def _ways_of(self, lane: ReadyLane, most: int) -> list[ReadyLane]:
        berth = self._berth_of.get(lane.lane_id)
        if berth is None:
            return [lane]
        ways = []
        if berth.told:
            ways.append(structs.replace(lane, egress_id=NOWHERE))
        fresh = self._drawn(berth.fresh, most)
        weights = sum(policy.weight_of(c) for c in fresh)
        ways += [_by(lane, c, policy.weight_of(c) / weights) for c in fresh]
        if berth.staying and self._rests.get(lane.lane_id, 0.0) <= self._monotonic():
            ways += [_by(lane, c, _LITTLE) for c in self._drawn(berth.staying, most)]
        return ways

    def _drawn(self, among: Sequence[Candidate], most: int) -> Sequence[Candidate]:
        """`most` of them, by weight."""
        left = list(among)
        drawn: list[Candidate] = []
        if len(left) <= most:
            return left
        while len(drawn) < most:
            one = policy.by_weight(left, self._p.draw())
            drawn.append(one)
            left.remove(one)
        return drawn

    # ---- after the deal ------------------------------------------------------------------------------

    def leaving(self, share: Share, tolls: Tolls | None) -> dict[int, Leaving]:
        """By lane, the IPs that it was dealt."""
        return {lane_id: self._leaving(lane_id, dealt, tolls) for lane_id, dealt in share.by_ip.items()}

    def _leaving(self, lane_id: int, dealt: Mapping[int, int], tolls: Tolls | None) -> Leaving:
        berth = self._berth_of[lane_id]
        names = tolls.of_way if tolls else {}
        ways = {
            c.egress.id: Way(
                egress=c.egress,
                left=dealt[c.egress.id],
                names=tuple(names.get((lane_id, c.egress.id), ())),
                cap=self._cap(berth, c.egress),
            )
            for c in berth.usable
            if c.egress.id in dealt
        }
        known = {c.egress.id: self._known_room(berth, c.egress) for c in berth.usable}
        rooms = {
            egress_id: room if egress_id in ways or not policy.has_room(room) else replace(room, is_busy=True)
            for egress_id, room in known.items()
        }
        shut = {i for i, room in rooms.items() if i not in ways and room.is_busy and policy.has_room(room)}
        if not berth.told and not any(c.egress.id in ways for c in berth.fresh):
            shut.add(0)

        def choose(stay: Stay | None, rooms: Mapping[int, Room]) -> Egress | NoRoom:
            wish = berth.wish if stay is None else replace(berth.wish, stay=stay)
            return policy.choose(wish, berth.meant.candidates, rooms, self._p.draw(), pool=berth.meant.pool)

        return Leaving(site=berth.site, ways=ways, rooms=rooms, choose=choose, shut=frozenset(shut))

    def _cap(self, berth: _Berth, egress: Egress) -> Cap | None:
        free = berth.rooms[egress.id].free
        if free is None or berth.provider is None:
            return None
        return self._caps.setdefault((egress.id, berth.provider), Cap(free))

    def ended(self, leaving: Mapping[int, Leaving]) -> None:
        """Lanes in which nothing had to stay on its IP are left alone with that for a while."""
        now = self._monotonic()
        if len(self._rests) > _FLOWS:
            self._rests = {lane_id: until for lane_id, until in self._rests.items() if until > now}
        for lane_id, one in leaving.items():
            berth = self._berth_of[lane_id]
            staying = {c.egress.id for c in berth.staying} & one.ways.keys()
            if staying and not any(one.ways[i].taken for i in staying):
                self._rests[lane_id] = now + _REST_SECONDS


def _each(among: Sequence[object]) -> int:
    """How many IPs of each are looked at."""
    return max(1, _WAYS_AT_ONCE // max(1, len(among)))


def _by(lane: ReadyLane, candidate: Candidate, share: float) -> ReadyLane:
    egress = candidate.egress
    return structs.replace(lane, egress_id=egress.id, egress=egress.name, share=share)
