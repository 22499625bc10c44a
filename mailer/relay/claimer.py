"""Pulling work: permits first, then a claim of what may be dialled now, then on to the signers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from mailer.policy.allowing import Ceiling, learnt
from mailer.policy.fairness import Flow, ReadyLane, Room, share_out
from mailer.policy.pacing import in_hand_limit, limit_of_broadcast, limit_of_party, room_for
from mailer.policy.sites import SiteRules
from mailer.queue import claim, permits, sweep
from mailer.queue.claim import Claimed, Terms, WaitingLane
from mailer.queue.incarnations import Fenced
from mailer.relay.holding import HoldBook
from mailer.relay.limitbook import LimitBook
from mailer.relay.means import Means
from mailer.relay.pacebook import PaceBook
from mailer.relay.prospects import Prospects
from mailer.store import CommitUnknown, Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_SITES_ASKED_AT_ONCE = 64
_HELD_PIECES = 20  # of the list of lanes that are passed over in one pull
_GRANT_SECONDS = 5.0  # a share is asked for anew after this, since workers come and go
_EMPTY_GRANT_SECONDS = 1.0
_AUDIT_SECONDS = 10.0
_UNSITED = "domain:"  # the site of a domain that was not looked up yet
EGRESS = ""  # the IP that the system chooses


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """messages and bytes a worker holds at most; a claim's size; connections a site takes in all, where
    no provider's rule asks for fewer."""

    messages: int = 1000
    bytes: int = 256 * 1024 * 1024
    batch: int = 100
    connections_per_site: int = 20
    rules: SiteRules = field(default_factory=SiteRules)

    def connections(self, site: str) -> int:
        """To a site, over all workers."""
        return self.rules.connections(site, self.connections_per_site)


@dataclass(frozen=True, slots=True)
class _Grant:
    connections: int
    until: float


class Permits:
    """This worker's connection permits, asked for by site and remembered for some seconds."""

    def __init__(
        self, store: Store, me: int, *, limit_of: Callable[[str], int], monotonic: Callable[[], float]
    ) -> None:
        """limit_of: connections that a site takes, over all workers."""
        self._store = store
        self._me = me
        self._limit_of = limit_of
        self._monotonic = monotonic
        self._grants: dict[str, _Grant] = {}

    def connections(self, site: str) -> int:
        """Connections this worker may hold open to a site now.

        One to a site it has not asked for: mail claimed for a domain finds out its site as it is sent.
        """
        grant = self._grants.get(site)
        return grant.connections if grant else 1

    def is_asked(self, site: str) -> bool:
        """Whether what was granted for a site is known, and not so old that it must be asked for again."""
        grant = self._grants.get(site)
        return grant is not None and grant.until > self._monotonic()

    def granted(self, site: str) -> int:
        """Connections the database granted; 0 before it was asked: nothing is claimed without a permit."""
        grant = self._grants.get(site)
        return grant.connections if grant else 0

    def lapsed(self, seconds: float) -> list[str]:
        """Sites not asked for in so long: no mail waits for them."""
        before = self._monotonic() - seconds
        return [site for site, grant in list(self._grants.items()) if grant.until <= before]

    def refresh(self, sites: Iterable[str]) -> None:
        """Asks for the sites whose grant is missing or old, some at a time. Raises Fenced."""
        now = self._monotonic()
        stale = [s for s in sites if s not in self._grants or self._grants[s].until <= now]
        # The longest known come last, so that new sites are not starved by many old ones.
        stale.sort(key=lambda s: self._grants[s].until if s in self._grants else 0.0)
        asked = stale[:_SITES_ASKED_AT_ONCE]
        if not asked:
            return
        limits = {site: self._limit_of(site) for site in asked}
        for site, granted in permits.acquire(self._store, self._me, limits).items():
            lasts = _GRANT_SECONDS if granted else _EMPTY_GRANT_SECONDS
            self._grants[site] = _Grant(granted, now + lasts)

    def give_back(self, sites: Sequence[str]) -> None:
        """Returns the permits of sites where nothing is in hand and every session has closed."""
        mine = [site for site in sites if self._grants.pop(site, None)]
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
    ) -> None:
        """site_of: the site a domain is known to resolve to, None if this process does not know.

        book  how fast sites take mail; None: as fast as they are sent it
        """
        self._holds = HoldBook(means.store, monotonic=means.monotonic, now=means.now)
        self._means = means
        self._permits = own_permits
        self._limits = limits
        self._site_of = site_of
        self._ceilings = LimitBook(means.store, limits.rules, monotonic=means.monotonic)
        self._book = book
        self._first: Flow | None = None
        self._prospects = Prospects(means.store, monotonic=means.monotonic, now=means.now)
        self._known_work: set[Flow] = set()  # as the last look at the lanes found
        self._audit_at = 0.0  # earlier after a claim of which we do not know whether it stands

    def pull(self, *, news: bool = True) -> list[Claimed]:
        """One claim; empty when nothing is due, nothing may be dialled, or the database is away.

        news  work may have come since the last pull; False: only room did, and without room at a site
              that had work the database need not be asked
        """
        if not self._means.lease.is_fresh() or not (news or self._has_room_for_known_work()):
            return []
        try:
            return self._pull()
        except Fenced:
            self._means.lease.fenced = True
        except CommitUnknown as error:
            self._audit_at = 0.0
            _log.warning("claim.commit_unknown", error=str(error))
        except StoreUnavailable as error:
            _log.warning("claim.store_unavailable", error=str(error))
        return []

    def _pull(self) -> list[Claimed]:
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
        waiting = [lane for lane in self._ready_lanes() if not self._is_slow_lane(lane)]
        lanes, tolls = self._ceilings.sort(waiting, self._learnt)
        sites = {lane.site for lane in lanes}
        self._permits.refresh(sites)
        self._known_work = {(lane.tenant_id, lane.site, lane.kind) for lane in lanes}
        share = share_out(
            lanes,
            room={site: self._room(site) for site in sites},
            total=self._room_in_all(),
            first=self._first,
            most={flow: self._most(flow) for flow in self._known_work},
        )
        if not share.quotas:
            self._prospects.served({}, {})
            return []
        self._first = share.next_flow
        # Only what is asked for now is locked.
        tolls = tolls.only(share.quotas) if tolls else None
        claimed = claim.claim(
            self._means.store,
            self._means.lease.incarnation_id,
            share.quotas,
            max_bytes=spare,
            new_id=self._means.new_id,
            now=self._means.now(),
            terms=Terms(but=self._holds.but, tolls=tolls),
        )
        if tolls:
            self._ceilings.learn(tolls)
        unsited = {lane.lane_id for lane in lanes if lane.site.startswith(_UNSITED)}
        if unsited:
            claimed = [replace(c, is_unsited=True) if c.lane_id in unsited else c for c in claimed]
        self._prospects.served(share.quotas, Counter(c.lane_id for c in claimed))
        site_of = {lane.lane_id: lane.site for lane in lanes}
        self._means.in_hand.add((c.attempt_id, site_of[c.lane_id], c.party, c.size_bytes) for c in claimed)
        if self._book is not None:
            for site in {site_of[c.lane_id] for c in claimed}:
                self._book.claimed(EGRESS, site)
        return claimed

    def opens_in(self) -> float | None:
        """Seconds until a pull may find more: there is room again under a ceiling that held mail up, or more
        lanes are to be read. None: news or room will tell."""
        waits = (self._ceilings.opens_in(), self._prospects.next_look_in())
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def _has_room_for_known_work(self) -> bool:
        rooms = {site: self._room(site) for _, site, _ in self._known_work}
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
        lost = [c for c in opened if c.attempt_id not in held]
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
        _, site, kind = flow
        return not self._permits.is_asked(site) or (self._room(site).of(kind) > 0 and self._most(flow) > 0)

    def _place(self, lane: WaitingLane) -> ReadyLane:
        site = self._site_of(lane.domain) or lane.site or f"{_UNSITED}{lane.domain}"
        return ReadyLane(lane.lane_id, lane.tenant_id, lane.domain, site, lane.stream_id, lane.kind)

    def _learnt(self, lane: ReadyLane) -> Sequence[Ceiling]:
        """The rates that its site was found to take, and that its stream is slowed to there."""
        if self._book is None:
            return ()
        found = []
        if rate := self._book.slowest_per_hour(lane.site):
            found.append(learnt(f"pace:{lane.site}", rate))
        if rate := self._book.stream_rate_per_hour(lane.tenant_id, lane.stream_id, lane.site):
            found.append(learnt(f"pace:{lane.stream_id}|{lane.site}", rate))
        return found

    def _is_slow_lane(self, lane: ReadyLane) -> bool:
        """Its stream is held at its site."""
        book = self._book
        return book is not None and bool(book.held_until(lane.tenant_id, lane.stream_id, lane.site))

    def _limit(self, site: str) -> tuple[int, int]:
        """Messages in hand and connections that the site may have of this worker."""
        connections = self._permits.granted(site)
        if self._book is not None:
            connections = self._book.connections(EGRESS, site, connections)
        _, seconds = self._means.in_hand.at(site)
        return in_hand_limit(connections, seconds), connections

    def _most(self, flow: Flow) -> int:
        tenant_id, site, kind = flow
        limit, connections = self._limit(site)
        held = self._means.in_hand.of_party((tenant_id, kind), site)
        return room_for(connections, limit_of_party(limit, connections), held)

    def _room(self, site: str) -> Room:
        held, _ = self._means.in_hand.at(site)
        limit, connections = self._limit(site)
        free = room_for(connections, limit, held)
        if self._book is not None:
            free = self._book.claimable(EGRESS, site, free, held=held)
        return Room(free, min(free, room_for(connections, limit_of_broadcast(limit), held)))

    def _room_in_all(self) -> Room:
        most, held, batch = self._limits.messages, self._means.in_hand.messages, self._limits.batch
        return Room(min(most - held, batch), min(limit_of_broadcast(most) - held, batch))
