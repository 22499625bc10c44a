"""Pulling work: permits first, then a claim of what may be dialled now, then on to the signers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from mailer.policy.allowing import Ceiling, learnt
from mailer.policy.fairness import Flow, ReadyLane, Room, share_out
from mailer.policy.pacing import in_hand_limit, limit_of_broadcast, limit_of_party, room_for
from mailer.policy.places import parts_of, place_name, site_in
from mailer.policy.sites import SiteRules
from mailer.queue import claim, permits, sweep
from mailer.queue.claim import Claimed, Terms, WaitingLane
from mailer.queue.incarnations import Fenced
from mailer.queue.suppressing import Suppressing
from mailer.relay.departing import Departing, Gauges
from mailer.relay.dispatch import DispatchParts
from mailer.relay.holding import HoldBook
from mailer.relay.limitbook import LimitBook
from mailer.relay.means import Means
from mailer.relay.pacebook import PaceBook
from mailer.relay.prospects import Prospects
from mailer.store import CommitUnknown, Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_PLACES_ASKED_AT_ONCE = 64
_HELD_PIECES = 20  # of the list of lanes that are passed over in one pull
_GRANT_SECONDS = 5.0  # a share is asked for anew after this, since workers come and go
_EMPTY_GRANT_SECONDS = 1.0
_AUDIT_SECONDS = 10.0
_UNSITED = "domain:"  # the site of a domain that was not looked up yet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """messages and bytes a worker holds at most; a claim's size; connections a site takes from an IP of ours,
    where no provider's rule asks for fewer."""

    messages: int = 1000
    bytes: int = 256 * 1024 * 1024
    batch: int = 100
    connections_per_site: int = 20
    rules: SiteRules = field(default_factory=SiteRules)

    def connections(self, place: str) -> int:
        """At a place, over all workers."""
        return self.rules.connections(site_in(place), self.connections_per_site)


@dataclass(frozen=True, slots=True)
class _Grant:
    """Seconds by the monotonic clock: old at `until`, and from `soon` on it may be asked for anew."""

    connections: int
    soon: float
    until: float


class Permits:
    """This worker's connection permits, asked for by place and remembered for some seconds."""

    def __init__(
        self, store: Store, me: int, *, limit_of: Callable[[str], int], monotonic: Callable[[], float]
    ) -> None:
        """limit_of: connections that a place takes, over all workers."""
        self._store = store
        self._me = me
        self._limit_of = limit_of
        self._monotonic = monotonic
        self._grants: dict[str, _Grant] = {}

    def connections(self, place: str) -> int:
        """Connections this worker may hold open at a place now.

        One at a place it has not asked for: mail claimed for a domain finds out its site as it is sent.
        """
        grant = self._grants.get(place)
        return grant.connections if grant else 1

    def is_asked(self, place: str) -> bool:
        """Whether what was granted for a place is known, and not so old that it must be asked for again."""
        grant = self._grants.get(place)
        return grant is not None and grant.until > self._monotonic()

    def granted(self, place: str) -> int:
        """Connections the database granted; 0 before it was asked: nothing is claimed without a permit."""
        grant = self._grants.get(place)
        return grant.connections if grant else 0

    def lapsed(self, seconds: float) -> list[str]:
        """Places not asked for in so long: no mail waits for them."""
        before = self._monotonic() - seconds
        return [place for place, grant in list(self._grants.items()) if grant.until <= before]

    def refresh(self, places: Iterable[str], *, ahead: bool = False) -> None:
        """Asks for the places whose grant is missing or old, some at a time. Raises Fenced.

        ahead  also for those whose grant will soon be old
        """
        now = self._monotonic()
        stale = [p for p in places if self._is_old(p, now, ahead=ahead)]
        # The longest known come last, so that new places are not starved by many old ones.
        stale.sort(key=lambda p: self._grants[p].until if p in self._grants else 0.0)
        asked = stale[:_PLACES_ASKED_AT_ONCE]
        if not asked:
            return
        limits = {place: self._limit_of(place) for place in asked}
        for place, granted in permits.acquire(self._store, self._me, limits).items():
            lasts = _GRANT_SECONDS if granted else _EMPTY_GRANT_SECONDS
            self._grants[place] = _Grant(granted, now + lasts / 2, now + lasts)

    def _is_old(self, place: str, now: float, *, ahead: bool) -> bool:
        grant = self._grants.get(place)
        return grant is None or (grant.soon if ahead else grant.until) <= now

    def give_back(self, places: Sequence[str]) -> None:
        """Returns the permits of places where nothing is in hand and every session has closed."""
        mine = [place for place in places if self._grants.pop(place, None)]
        if mine:
            permits.give_back(self._store, self._me, mine)


class Claimer:
    """Takes turns of claim and hand-over until nothing more may be dialled now."""

    def __init__(
        self,
        means: Means,
        own_permits: Permits,
        *,
        limits: ClaimLimits,
        site_of: Callable[[str], str | None],
        book: PaceBook | None = None,
        pools: DispatchParts | None = None,
    ) -> None:
        """site_of: the site a domain is known to resolve to, None if this process does not know.

        book   how fast sites take mail; None: as fast as they are sent it
        pools  what the choice of IPs goes by; None: all mail leaves by the system's choice
        """
        self._holds = HoldBook(means.store, monotonic=means.monotonic, now=means.now)
        self._means = means
        self._suppressing = Suppressing(means.keys, means.process_number)
        self._permits = own_permits
        self._limits = limits
        self._site_of = site_of
        self._ceilings = LimitBook(means.store, limits.rules, monotonic=means.monotonic)
        self._book = book
        gauges = Gauges(
            ask_permits=own_permits.refresh,
            has_permits=lambda place: own_permits.granted(place) > 0,
            is_closed=self._is_closed,
            messages=lambda p, k: self._room(p).of(k),
        )
        self._departing = Departing(pools, gauges, monotonic=means.monotonic) if pools else None
        self._first: Flow | None = None
        self._prospects = Prospects(means.store, monotonic=means.monotonic, now=means.now)
        self._known_work: set[Flow] = set()  # as the last look at the lanes found, less what it served
        self._places: set[str] = set()
        self._is_look_owed = True  # there was news, and no room or no database to look for what it meant
        self._audit_at = 0.0  # earlier after a claim of which we do not know whether it stands

    def pull(self, *, news: bool = True) -> list[Claimed]:
        """One claim; empty when nothing is due, nothing may be dialled, or the database is away.

        news  work may have come since the last pull; False: only room did, and without room at a site
              that had work the database need not be asked
        """
        if not self._means.lease.is_fresh():
            return []
        try:
            if news or self._is_look_owed or self._has_room_for_known_work():
                return self._pull()
            self._look_ahead()
        except Fenced:
            self._means.lease.fenced = True
        except CommitUnknown as error:
            self._audit_at = 0.0
            _log.warning("claim.commit_unknown", error=str(error))
        except StoreUnavailable as error:
            _log.warning("claim.store_unavailable", error=str(error))
        return []

    def _pull(self) -> list[Claimed]:
        self._is_look_owed = True
        if self._means.monotonic() >= self._audit_at:
            adopted = self._adopt()
            self._audit_at = self._means.monotonic() + _AUDIT_SECONDS
            if adopted:
                return adopted
        spare = self._limits.bytes - self._means.in_hand.bytes
        if self._room_in_all().messages <= 0 or spare <= 0:
            return []
        self._holds.refresh()
        self._ceilings.refresh()
        ready = [lane for lane in self._ready_lanes() if not self._is_slow_lane(lane)]
        departing = self._departing if self._departing and self._departing.is_needed else None
        spread = departing.spread(ready) if departing else ready
        lanes, tolls = self._ceilings.sort(spread, self._learnt)
        places = {lane.place for lane in lanes}
        self._permits.refresh(places)
        self._places = places
        self._known_work = {(lane.tenant_id, lane.place, lane.kind) for lane in lanes}
        self._is_look_owed = False
        share = share_out(
            lanes,
            room={place: self._room(place) for place in places},
            total=self._room_in_all(),
            first=self._first,
            most={flow: self._most(flow) for flow in self._known_work},
        )
        if departing:
            # Also of lanes that find all IPs busy, but not of those that a ceiling of their sender holds up.
            held_up = {lane.lane_id for lane in spread} - {lane.lane_id for lane in lanes}
            self._known_work |= departing.flows_of(lane for lane in ready if lane.lane_id not in held_up)
        if not share.quotas:
            self._prospects.served({}, {})
            return []
        self._first = share.next_flow
        # Only what is asked for now is locked.
        tolls = tolls.only(share.quotas, share.by_ip) if tolls else None
        leaving = departing.leaving(share, tolls) if departing else {}
        terms = Terms(but=self._holds.but, tolls=tolls, leaving=leaving, suppressing=self._suppressing)
        claimed = self._claim(share.quotas, spare, terms)
        if tolls:
            self._ceilings.learn(tolls)
        if departing:
            departing.ended(leaving)
        unsited = {lane.lane_id for lane in lanes if lane.site.startswith(_UNSITED)}
        if unsited:
            claimed = [replace(c, is_unsited=True) if c.lane_id in unsited else c for c in claimed]
        got = terms.stopped + Counter(c.lane_id for c in claimed)
        # Of a pool's lane the quota of one IP may be left while much waits for another.
        self._prospects.served({i: 1 if i in leaving else quota for i, quota in share.quotas.items()}, got)
        if not departing and not self._prospects.are_many:
            self._leave_out_served(lanes, share.quotas, got)
        self._take_in_hand(claimed, {lane.lane_id: lane.site for lane in lanes})
        return claimed

    def _claim(self, quotas: Mapping[int, int], spare: int, terms: Terms) -> list[Claimed]:
        return claim.claim(
            self._means.store,
            self._means.lease.incarnation_id,
            quotas,
            max_bytes=spare,
            new_id=self._means.new_id,
            now=self._means.now(),
            terms=terms,
        )

    def _leave_out_served(
        self, lanes: Iterable[ReadyLane], quotas: Mapping[int, int], got: Mapping[int, int]
    ) -> None:
        """What gave less than was asked for has no more, until there is news."""
        # Unless the bytes that may be in hand ran out first.
        if self._means.in_hand.bytes > self._limits.bytes // 2:
            return
        self._known_work = {
            (lane.tenant_id, lane.place, lane.kind)
            for lane in lanes
            if got.get(lane.lane_id, 0) >= quotas.get(lane.lane_id, 0)
        }

    def _look_ahead(self) -> None:
        """Reads anew what the next pull would have to, while nothing waits for it. Raises Fenced."""
        self._holds.refresh(ahead=True)
        self._ceilings.refresh(ahead=True)
        self._permits.refresh(self._places, ahead=True)

    def _take_in_hand(self, claimed: Sequence[Claimed], site_of: Mapping[int, str]) -> None:
        held = [(c.egress.name if c.egress else "", site_of[c.lane_id], c) for c in claimed]
        self._means.in_hand.add(
            (c.attempt_id, place_name(egress, site), c.party, c.size_bytes) for egress, site, c in held
        )
        if self._book is not None:
            for egress, site in {(egress, site) for egress, site, c in held if not c.must_wait}:
                self._book.claimed(egress, site)

    def opens_in(self) -> float | None:
        """Seconds until a pull may find more: there is room again under a ceiling that held mail up, or more
        lanes are to be read. None: news or room will tell."""
        waits = (self._ceilings.opens_in(), self._prospects.next_look_in())
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def _has_room_for_known_work(self) -> bool:
        rooms = {place: self._room(place) for _, place, _ in self._known_work}
        return any(rooms[flow[1]].of(flow[2]) > 0 and self._most(flow) > 0 for flow in self._known_work)

    def _adopt(self) -> list[Claimed]:
        """What a claim whose COMMIT went unanswered leased to us after all; nobody else would free it.

        Looked for right after such a claim, and from time to time: a server that was cut off may commit
        later than we look.

        What is in hand is read before the store: an attempt that is settled in between is open in neither.
        """
        held = self._means.in_hand.attempts()
        store, me = self._means.store, self._means.lease.incarnation_id
        opened = sweep.open_attempts(store, me, most=2 * self._limits.messages)
        # Which IP their tokens are of is not known any more: what leaves from a pool is claimed anew.
        lost = [replace(c, must_wait=True) for c in opened if c.attempt_id not in held]
        sites = [self._site_of(c.domain) or f"{_UNSITED}{c.domain}" for c in lost]
        self._means.in_hand.add(
            (c.attempt_id, site, c.party, c.size_bytes) for c, site in zip(lost, sites, strict=True)
        )
        if lost:
            _log.info("claim.adopted", attempts=len(lost))
        return lost

    def _ready_lanes(self) -> list[ReadyLane]:
        """Those that nothing holds; where there are many, of the next ones that may have room."""
        for _ in range(_HELD_PIECES):
            self._holds.begin()
            waiting = self._prospects.look(self._place_unless_held)
            if self._prospects.are_many:
                waiting = self._prospects.choose(self._may_have_room)
            ready = [self._place(lane) for lane in waiting]
            if self._holds.is_empty or not waiting:
                return ready
            pairs = zip(waiting, ready, strict=True)
            free = [place for lane, place in pairs if not self._holds.holds(lane, place.site)]
            if free or not self._prospects.are_many:
                return free
            self._prospects.leave_out(lane.lane_id for lane in waiting)
        return []

    def _place_unless_held(self, lane: WaitingLane) -> ReadyLane | None:
        place = self._place(lane)
        return None if self._holds.holds(lane, place.site) else place

    def _may_have_room(self, flow: Flow) -> bool:
        flows = self._departing.known_flows(flow) if self._departing else None
        return any(
            not self._permits.is_asked(place)
            or (self._room(place).of(kind) > 0 and self._most((tenant_id, place, kind)) > 0)
            for tenant_id, place, kind in flows or (flow,)
        )

    def _place(self, lane: WaitingLane) -> ReadyLane:
        site = self._site_of(lane.domain) or lane.site or f"{_UNSITED}{lane.domain}"
        return ReadyLane(
            lane.lane_id, lane.tenant_id, lane.domain, site, lane.stream_id, lane.kind, pool_id=lane.pool_id
        )

    def _learnt(self, lane: ReadyLane) -> Sequence[Ceiling]:
        """The rates that its place was found to take, and that its stream is slowed to there."""
        if self._book is None:
            return ()
        found = self._learnt_at(lane.egress, lane.site)
        if rate := self._book.stream_rate_per_hour(lane.tenant_id, lane.stream_id, lane.site):
            found.append(learnt(f"pace:{lane.stream_id}|{lane.site}", rate))
        return found

    def _learnt_at(self, egress: str, site: str) -> list[Ceiling]:
        rate = None if self._book is None else self._book.rate_per_hour(egress, site)
        return [learnt(f"pace:{place_name(egress, site)}", rate)] if rate else []

    def _is_closed(self, egress: str, site: str) -> bool:
        return self._ceilings.is_closed(site, egress, self._learnt_at(egress, site))

    def _is_slow_lane(self, lane: ReadyLane) -> bool:
        """Its stream is held at its site."""
        book = self._book
        return book is not None and bool(book.held_until(lane.tenant_id, lane.stream_id, lane.site))

    def _limit(self, place: str) -> tuple[int, int]:
        """Messages in hand and connections that the place may have of this worker."""
        connections = self._permits.granted(place)
        if self._book is not None:
            connections = self._book.connections(*parts_of(place), connections)
        _, seconds = self._means.in_hand.at(place)
        return in_hand_limit(connections, seconds), connections

    def _most(self, flow: Flow) -> int:
        tenant_id, place, kind = flow
        limit, connections = self._limit(place)
        held = self._means.in_hand.of_party((tenant_id, kind), place)
        return room_for(connections, limit_of_party(limit, connections), held)

    def _room(self, place: str) -> Room:
        held, _ = self._means.in_hand.at(place)
        limit, connections = self._limit(place)
        free = room_for(connections, limit, held)
        if self._book is not None:
            free = self._book.claimable(*parts_of(place), free, held=held)
        return Room(free, min(free, room_for(connections, limit_of_broadcast(limit), held)))

    def _room_in_all(self) -> Room:
        most, held, batch = self._limits.messages, self._means.in_hand.messages, self._limits.batch
        return Room(min(most - held, batch), min(limit_of_broadcast(most) - held, batch))
