"""What keeps a recipient from being sent at this moment, found in the rows and rules that decide it.

Each kind of obstacle is one function from a recipient that waits to what it found, and `FINDERS` is their
order: what only a person can end stands first. A function that belongs to another part of the queue is
handed over with `Knowledge.also`. Nothing here is kept: an obstacle that is gone is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select

from mailer import ids
from mailer.events import RecipientState, WaitReason
from mailer.policy.egress import ACTIVE, OFF, Stay
from mailer.policy.places import parts_of
from mailer.policy.sites import SiteRules
from mailer.queue import egress, greylists, holds
from mailer.queue.actions import BRAKE
from mailer.queue.egress import EgressTables, PoolRow
from mailer.queue.holds import Hold
from mailer.queue.selection import Place, SiteOf, unrouted
from mailer.store.tables import attempt, incarnation, lane, permit, recipient, stream

MOST_COUNTED = 10_000  # of what stands ahead
_WAITS_FOR_CLAIM = frozenset({RecipientState.QUEUED})
_WAITS = frozenset({RecipientState.QUEUED, RecipientState.DEFERRED})
_IS_QUEUED = recipient.c.state == literal_column("'queued'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One thing that keeps a recipient waiting.

    kind    a stable word: held, fault, scheduled, retry, not_woken, in_hand, no_worker, unresolved,
            connections, backlog; of other parts: suspended, probing, paced, fewer_connections, stream_held,
            stream_paced (slowness.py), ceiling, new_connections (paced.py), pool_closed (poolwaits.py)
    until   when it ends by itself; None: nobody knows, or never
    remedy  what it would take to end it earlier
    rule    file and line of the rule behind it; None: there is none
    facts   figures and names, by name
    """

    kind: str
    what: str
    until: datetime | None = None
    remedy: str
    rule: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is not in rows.

    rules, connections_per_site  what a site takes
    site_of       sites by routes
    for_operator  who asks may see other tenants' figures, and hosts and processes of this installation
    also          further finders, after those of this module
    """

    rules: SiteRules = field(default_factory=SiteRules)
    connections_per_site: int = 20
    site_of: SiteOf = unrouted
    for_operator: bool = False
    also: Sequence[Finder] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recipient without a final state. place.site: by its route, else as a worker last found it."""

    recipient_id: int
    message_id: int
    state: str
    wait_reason: str | None
    due_at: datetime
    expires_at: datetime | None
    last_reply: str | None
    holder: int | None
    attempt_id: int | None
    place: Place
    knowledge: Knowledge
    now: datetime

    @property
    def site(self) -> str:
        """As permits name it: a domain that was not resolved is a site of its own."""
        return self.place.site or f"domain:{self.place.domain}"


@dataclass(frozen=True, slots=True)
class Outlets:
    """The IPs that a recipient may leave from, by name. is_pinned: its last try left from there."""

    pool: str
    ips: Sequence[str]
    is_pinned: bool = False


class Look:
    """One snapshot, and what was read of it already: a message may have a thousand recipients.

    most_counted  of what stands ahead of each
    """

    def __init__(self, connection: Connection, *, now: datetime, most_counted: int = MOST_COUNTED) -> None:
        self.connection = connection
        self.most_counted = most_counted
        self._now = now
        self._holds: Sequence[Hold] | None = None
        self._live: dict[str, int] = {}
        self._permits: dict[str, Sequence[Any]] = {}
        self._egress: EgressTables | None = None
        self._here: frozenset[int] = frozenset()
        self._streams: dict[int, tuple[int, str]] = {}
        self._outlets: dict[int, Outlets | None] = {}

    def holds(self) -> Sequence[Hold]:
        """In force."""
        if self._holds is None:
            self._holds = holds.in_force(self.connection, self._now)
        return self._holds

    def live(self, role: str) -> int:
        """Processes of a role."""
        if role not in self._live:
            count = select(func.count()).select_from(incarnation)
            alive = count.where(incarnation.c.state == "live", incarnation.c.role == role)
            self._live[role] = self.connection.execute(alive).scalar_one()
        return self._live[role]

    def permits(self, place: str) -> Sequence[Any]:
        """connections, host, pid of those that live and have some."""
        if place not in self._permits:
            self._permits[place] = self.connection.execute(_PERMITS, {"site": place}).all()
        return self._permits[place]

    def stream_of(self, lane_id: int) -> tuple[int, str]:
        """Id and kind."""
        if lane_id not in self._streams:
            wanted = select(stream.c.id, stream.c.kind).join(lane, lane.c.stream_id == stream.c.id)
            row = self.connection.execute(wanted.where(lane.c.id == lane_id)).one()
            self._streams[lane_id] = (row.id, row.kind)
        return self._streams[lane_id]

    def pool(self, pool_id: int) -> PoolRow | None:
        return self._tables().pools.get(pool_id)

    @property
    def has_pools(self) -> bool:
        return bool(self._tables().pools)

    def outlets(self, w: Waiting) -> Outlets | None:
        """None: no pool is meant for it, so that the system chooses; of a site not yet known nobody knows."""
        if w.recipient_id not in self._outlets:
            self._outlets[w.recipient_id] = self._outlets_of(w)
        return self._outlets[w.recipient_id]

    def _outlets_of(self, w: Waiting) -> Outlets | None:
        tables = self._tables()
        if not tables.pools or w.place.site is None:
            return None
        stream_id, kind = self.stream_of(w.place.lane_id)
        of, chosen = w.place.tenant_id, w.place.pool_id
        pool = egress.pool_for(tables, w.knowledge.rules, of, stream_id, w.site, kind=kind, chosen=chosen)
        if pool is None:
            return None
        stay = egress.stays_in(self.connection, [w.recipient_id]).get(w.recipient_id)
        return _outlets(tables, pool, self._here, stay)

    def _tables(self) -> EgressTables:
        if self._egress is None:
            self._egress = egress.tables_in(self.connection)
            self._here = egress.on_hosts(self.connection) if self._egress.pools else frozenset()
        return self._egress

    def up_to(self, *meant: ColumnElement[bool]) -> int:
        """How many queued recipients are meant, as far as it counts."""
        some = select(recipient.c.id).where(_IS_QUEUED, *meant).limit(self.most_counted).subquery()
        return self.connection.execute(select(func.count()).select_from(some)).scalar_one()


def _outlets(tables: EgressTables, pool: PoolRow, here: frozenset[int], stay: Stay | None) -> Outlets:
    """As policy/egress.py ranks them, as far as rows tell it."""
    if stay is not None and stay.is_pinned and stay.egress_id in here:
        whole, state = tables.ips[stay.egress_id]
        if state != OFF:
            return Outlets(pool.name, [whole.name], is_pinned=True)
    active = {i: n for i, n in pool.members.items() if i in here and tables.ips[i][1] == ACTIVE}
    if stay is not None and not stay.is_pinned and len(active) > 1:
        active.pop(stay.egress_id, None)
    first = [i for i, weight in active.items() if weight] or list(active)
    return Outlets(pool.name, [tables.ips[i][0].name for i in first])


_PERMITS = (
    select(permit.c.connections, incarnation.c.host, incarnation.c.pid)
    .join(incarnation, incarnation.c.id == permit.c.incarnation_id)
    .where(permit.c.site == bindparam("site"), permit.c.connections > 0, incarnation.c.state == "live")
    .order_by(incarnation.c.id)
)
Finder = Callable[[Look, Waiting], Sequence[Obstacle]]


def find(look: Look, w: Waiting) -> list[Obstacle]:
    """All of them, in the order of the finders."""
    return [obstacle for finder in (*FINDERS, *w.knowledge.also) for obstacle in finder(look, w)]


def held(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """By whom, why and until when; not what a worker has in hand, which is not called back."""
    if w.state not in _WAITS:
        return ()
    return [_hold(h, w) for h in look.holds() if _is_meant(h, w)]


def _is_meant(h: Hold, w: Waiting) -> bool:
    wanted = h.wanted
    place = w.place._replace(site=w.site)
    return (
        wanted.takes(place)
        and wanted.message_id in (None, w.message_id)
        and wanted.recipient_id in (None, w.recipient_id)
    )


def _hold(h: Hold, w: Waiting) -> Obstacle:
    by = _who_holds(h)
    name = ids.show("hold", h.id)
    meant = ", ".join(f"{key.removesuffix('_id')} {value}" for key, value in h.wanted.shown().items())
    facts = {"hold": name, "by": by, "placed_at": h.placed_at}
    return Obstacle(
        kind="held",
        what=f"{by} holds {meant or 'all mail'}: {h.reason}",
        until=h.until,
        remedy=_BRAKED if by == "the brake" else f"release {name}",
        facts={**facts, "placed_by": h.placed_by} if w.knowledge.for_operator else facts,
    )


_BRAKED = "nothing: it ends by itself; the operator can end it sooner with `mailer brake override`"


def _who_holds(h: Hold) -> str:
    if h.owner_id is not None:
        return "its tenant"
    return "the brake" if h.placed_by == BRAKE.name else "the operator"


def fault(_look: Look, w: Waiting) -> Sequence[Obstacle]:
    """What this installation could not send through a fault of its own."""
    if w.state != RecipientState.HELD:
        return ()
    what = w.last_reply or "a fault of this installation"
    remedy = "the operator mends it and requeues with `mailer requeue --faulty`"
    return [Obstacle(kind="fault", what=f"it could not be made ready: {what}", remedy=remedy)]


def not_due(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Its send time, or the time of the next try."""
    if w.state != RecipientState.DEFERRED or w.due_at <= w.now:
        return ()
    if w.wait_reason == WaitReason.SCHEDULED:
        what, remedy = "its sender chose a later time", "cancel it and send it anew"
        return [Obstacle(kind="scheduled", what=what, until=w.due_at, remedy=remedy)]
    said = f": {w.last_reply}" if w.last_reply else ""
    what = f"the last try did not deliver it{said}"
    facts: dict[str, Any] = {"reason": w.wait_reason}
    found = greylists.greylisting_of(look.connection, w.recipient_id, w.last_reply)
    if found is not None:
        what += f"; {found.what}"
        facts |= found.facts
    remedy = "ask for a try now: retry the message, or requeue what waits there"
    return [Obstacle(kind="retry", what=what, until=w.due_at, remedy=remedy, facts=facts)]


def not_woken(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Its time has come and no sweeper has queued it yet."""
    if w.state != RecipientState.DEFERRED or w.due_at > w.now:
        return ()
    sweepers = look.live("sweeper")
    what = "its time has come, and the sweeper has not queued it yet"
    remedy = "a sweeper does so every second" if sweepers else "start a sweeper: none lives"
    return [Obstacle(kind="not_woken", what=what, remedy=remedy, facts={"sweepers": sweepers})]


def in_hand(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """A worker has it: an attempt is open."""
    if w.state != RecipientState.LEASED:
        return ()
    row = look.connection.execute(
        select(attempt.c.opened_at, incarnation.c.host, incarnation.c.pid, incarnation.c.state)
        .outerjoin(incarnation, incarnation.c.id == attempt.c.incarnation_id)
        .where(attempt.c.id == w.attempt_id)
    ).first()
    if row is None:
        return ()
    who = f"the worker with pid {row.pid} on {row.host}" if w.knowledge.for_operator else "a worker"
    lives = row.state == "live"
    return [
        Obstacle(
            kind="in_hand",
            what=f"{who} has it in hand" + ("" if lives else " and is dead"),
            remedy="wait for the end of this try" if lives else "the sweeper recovers it from its journal",
            facts={"since": row.opened_at},
        )
    ]


def no_worker(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Nobody who could send it lives."""
    if w.state not in _WAITS or look.live("worker"):
        return ()
    return [Obstacle(kind="no_worker", what="no worker lives", remedy="start one: `mailer worker`")]


def unresolved(_look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Where its domain's mail goes was never found out."""
    if w.state not in _WAITS_FOR_CLAIM or w.place.site is not None:
        return ()
    what = f"{w.place.domain} was not resolved yet; until then it counts as a site of its own"
    return [Obstacle(kind="unresolved", what=what, remedy="the first try looks it up")]


def connections(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """All connections that its site takes are granted to workers; of a pool's IPs poolwaits.py tells."""
    if w.state not in _WAITS_FOR_CLAIM or look.outlets(w) is not None:
        return ()
    return taken(look, w, w.site)


def taken(look: Look, w: Waiting, place: str) -> Sequence[Obstacle]:
    """All connections of an IP to its site."""
    limit = w.knowledge.rules.connections(w.site, w.knowledge.connections_per_site)
    rows = look.permits(place)
    granted = sum(row.connections for row in rows)
    if not granted or granted < limit:
        return ()
    rule = w.knowledge.rules.rule_of(w.site)
    is_ruled = rule is not None and rule.connections is not None and rule.connections <= limit
    by = f"the rule of {rule.name}" if rule is not None and is_ruled else "MAILER_CONNECTIONS_PER_SITE"
    facts: dict[str, Any] = {"site": w.site, "limit": limit, "granted": granted}
    if w.knowledge.for_operator:
        facts["workers"] = [{"host": r.host, "pid": r.pid, "connections": r.connections} for r in rows]
    ip, _ = parts_of(place)
    source = "" if not ip else f" from {ip if w.knowledge.for_operator else 'an address of ours'}"
    return [
        Obstacle(
            kind="connections",
            what=f"{w.site} takes {limit} connections at a time{source} by {by}, and all are granted",
            remedy="wait for its turn on one of them, or allow more if the site does",
            rule=rule.place if rule is not None and is_ruled else None,
            facts=facts,
        )
    ]


def backlog(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """What stands before it: in its lane, and for the operator in all lanes of its site."""
    if w.state not in _WAITS_FOR_CLAIM:
        return ()
    ahead = look.up_to(recipient.c.lane_id == w.place.lane_id, recipient.c.id < w.recipient_id)
    if not ahead:
        return ()
    facts: dict[str, Any] = {"ahead_in_lane": ahead}
    if w.knowledge.for_operator:
        of_site = select(lane.c.id).where(lane.c.site == w.place.site)
        facts["waiting_at_site"] = look.up_to(recipient.c.lane_id.in_(of_site))
    at_least = " or more" if ahead == look.most_counted else ""
    return [
        Obstacle(
            kind="backlog",
            what=f"{ahead}{at_least} recipients of its tenant stand before it for {w.place.domain}",
            remedy="wait for its turn",
            facts=facts,
        )
    ]


FINDERS: tuple[Finder, ...] = (
    held, fault, not_due, not_woken, in_hand, no_worker, unresolved, connections, backlog,
)  # fmt: skip
