"""Pulling work: permits first, then a claim of what may be dialled now, then on to the signers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from mailer.policy.fairness import Flow, ReadyLane, share_out
from mailer.policy.pacing import in_hand_limit, room_for
from mailer.queue import claim, permits, sweep
from mailer.queue.claim import Claimed, WaitingLane
from mailer.queue.incarnations import Fenced
from mailer.relay.means import Means
from mailer.store import CommitUnknown, Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_LANES_LOOKED_AT = 1000
_SITES_ASKED_AT_ONCE = 64
_GRANT_SECONDS = 5.0  # a share is asked for anew after this, since workers come and go
_EMPTY_GRANT_SECONDS = 1.0
_AUDIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """messages and bytes a worker holds at most; a claim's size; connections a site takes in all."""

    messages: int = 1000
    bytes: int = 256 * 1024 * 1024
    batch: int = 100
    connections_per_site: int = 20


@dataclass(frozen=True, slots=True)
class _Grant:
    connections: int
    until: float


class Permits:
    """This worker's connection permits, asked for by site and remembered for some seconds."""

    def __init__(self, store: Store, me: int, *, limit: int, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._me = me
        self._limit = limit
        self._monotonic = monotonic
        self._grants: dict[str, _Grant] = {}

    def connections(self, site: str) -> int:
        """Connections this worker may hold open to a site now.

        One to a site it has not asked for: mail claimed for a domain finds out its site as it is sent.
        """
        grant = self._grants.get(site)
        return grant.connections if grant else 1

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
        for site, granted in permits.acquire(self._store, self._me, asked, limit=self._limit).items():
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
    ) -> None:
        """site_of: the site a domain is known to resolve to, None if this process does not know."""
        self._means = means
        self._permits = own_permits
        self._limits = limits
        self._site_of = site_of
        self._first: Flow | None = None
        self._lanes_after = 0
        self._sites_with_work: set[str] = set()  # as the last look at the lanes found
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
        free = min(self._limits.messages - self._means.in_hand.messages, self._limits.batch)
        spare = self._limits.bytes - self._means.in_hand.bytes
        if free <= 0 or spare <= 0:
            return []
        lanes = [self._place(lane) for lane in self._next_lanes()]
        sites = {lane.site for lane in lanes}
        self._permits.refresh(sites)
        self._sites_with_work = sites
        room = {site: self._room(site) for site in sites}
        share = share_out(lanes, room=room, total=free, first=self._first)
        if not share.quotas:
            return []
        self._first = share.next_flow
        claimed = claim.claim(
            self._means.store,
            self._means.lease.incarnation_id,
            share.quotas,
            max_bytes=spare,
            new_id=self._means.new_id,
            now=self._means.now(),
        )
        site_of = {lane.lane_id: lane.site for lane in lanes}
        self._means.in_hand.add((c.attempt_id, site_of[c.lane_id], c.size_bytes) for c in claimed)
        return claimed

    def _has_room_for_known_work(self) -> bool:
        return any(self._room(site) > 0 for site in self._sites_with_work)

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
        sites = [self._site_of(c.domain) or f"domain:{c.domain}" for c in lost]
        self._means.in_hand.add(
            (c.attempt_id, site, c.size_bytes) for c, site in zip(lost, sites, strict=True)
        )
        if lost:
            _log.info("claim.adopted", attempts=len(lost))
        return lost

    def _next_lanes(self) -> list[WaitingLane]:
        """Where more lanes wait than are looked at in one pull, each pull goes on behind the one before."""
        lanes = claim.waiting_lanes(self._means.store, limit=_LANES_LOOKED_AT, after=self._lanes_after)
        if not lanes and self._lanes_after:
            lanes = claim.waiting_lanes(self._means.store, limit=_LANES_LOOKED_AT)
        self._lanes_after = lanes[-1].lane_id if len(lanes) == _LANES_LOOKED_AT else 0
        return lanes

    def _place(self, lane: WaitingLane) -> ReadyLane:
        site = self._site_of(lane.domain) or lane.site or f"domain:{lane.domain}"
        return ReadyLane(lane.lane_id, lane.tenant_id, lane.domain, site)

    def _room(self, site: str) -> int:
        held, seconds = self._means.in_hand.at(site)
        connections = self._permits.granted(site)
        return room_for(connections, in_hand_limit(connections, seconds), held)
