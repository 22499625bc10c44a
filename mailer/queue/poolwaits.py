"""Why mail that leaves from a pool waits: what closes each of the IPs that it may leave from.

A site counts each of our IPs for itself, so mail waits only while all of them are closed, until the first
opens. While one is open nothing is told here: it leaves from that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from mailer.events import RecipientState
from mailer.policy.allowing import Ceiling, Ceilings, learnt
from mailer.policy.pace import State
from mailer.policy.places import place_name
from mailer.queue import metering, slowness
from mailer.queue.metering import Standing
from mailer.queue.obstacles import Look, Obstacle, Outlets, Waiting, taken
from mailer.queue.pace import Standing as Pace
from mailer.queue.pace import standing_of
from mailer.store.tables import pace

_SHUT = frozenset({"suspended", "probing", "ceiling", "connections"})  # the others only slow it


def closed(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Of each IP what closes or slows it, if there is something of the kind of every one."""
    outlets = look.outlets(w)
    if w.state not in (RecipientState.QUEUED, RecipientState.DEFERRED) or outlets is None or not outlets.ips:
        return ()
    paces = _paces(look, w.site)
    found = {ip: _of_ip(look, w, ip, paces.get(ip)) for ip in outlets.ips}
    if not all(found.values()):
        return ()
    each = [obstacle for of_ip in found.values() for obstacle in of_ip]
    shut = {ip: [o for o in of_ip if o.kind in _SHUT] for ip, of_ip in found.items()}
    return [_pool_closed(w, outlets, shut), *each] if all(shut.values()) else each


def _paces(look: Look, site: str) -> Mapping[str, Pace]:
    rows = look.connection.execute(select(pace).where(pace.c.site == site))
    return {row.egress_ip: standing_of(row) for row in rows}


def _of_ip(look: Look, w: Waiting, ip: str, at: Pace | None) -> list[Obstacle]:
    found = []
    if at is not None:
        hindrances = slowness.of_standing(ip, w.site, at, for_operator=w.knowledge.for_operator)
        found += [slowness.as_obstacle(h) for h in hindrances]
    if w.state == RecipientState.QUEUED:
        found += _ceilings(look, w, ip, at)
        found += [_from(o, w, ip) for o in taken(look, w, place_name(ip, w.site))]
    return found


def _ceilings(look: Look, w: Waiting, ip: str, at: Pace | None) -> list[Obstacle]:
    """Its site's own, and the rate that was learnt; what is limited over all IPs is told by others."""
    over = [c for c in Ceilings(rules=w.knowledge.rules).over_site(w.site, ip) if c.name.startswith("site:")]
    if at is not None and at.state is State.SLOWED and at.rate:
        over.append(learnt(f"pace:{place_name(ip, w.site)}", at.rate))
    by_name = {ceiling.name: ceiling for ceiling in over}
    rates = {name: ceiling.rates for name, ceiling in by_name.items()}
    standings = metering.standings(look.connection, rates, now=w.now) if rates else []
    return [_used_up(w, ip, by_name[s.name], s) for s in standings if s.opens_at is not None]


def _used_up(w: Waiting, ip: str, ceiling: Ceiling, at: Standing) -> Obstacle:
    is_learnt = ceiling.name.startswith("pace:")
    whose = "was found to take" if is_learnt else "is sent"
    remedy = "wait for its turn, " + ("the rate grows by itself" if is_learnt else "or raise the limit")
    return _from(
        Obstacle(
            kind="ceiling",
            what=f"its site {whose} {at.rate} at most from {_named(w, ip)}, and so much was sent",
            until=at.opens_at,
            remedy=remedy,
            rule=None if is_learnt else ceiling.place,
            facts={"limit": str(at.rate), "over": "pace" if is_learnt else "site"},
        ),
        w,
        ip,
    )


def _named(w: Waiting, ip: str) -> str:
    return ip if w.knowledge.for_operator else "an address of ours"


def _from(obstacle: Obstacle, w: Waiting, ip: str) -> Obstacle:
    """Which address it is of is for the operator."""
    if not w.knowledge.for_operator:
        return obstacle
    return replace(obstacle, facts={**obstacle.facts, "egress_ip": ip})


def _pool_closed(w: Waiting, outlets: Outlets, shut: Mapping[str, Sequence[Obstacle]]) -> Obstacle:
    opens = {ip: _opens_at(of_ip) for ip, of_ip in shut.items()}
    facts: dict[str, Any] = {"ips": len(opens)}
    if w.knowledge.for_operator:
        facts |= {"pool": outlets.pool, "egress_ips": opens}
    if outlets.is_pinned:
        [ip] = opens
        what = f"its last try left from {_named(w, ip)}, and so must the next; that is closed at the moment"
    elif w.knowledge.for_operator:
        what = f"every IP of the pool {outlets.pool} is closed for its site at the moment: {', '.join(opens)}"
    else:
        what = "every address of ours that it may leave from is closed for its site at the moment"
    return Obstacle(
        kind="pool_closed",
        what=what,
        until=min((at for at in opens.values() if at is not None), default=None),
        remedy="wait for the first of them to open, or give the pool another IP",
        facts=facts,
    )


def _opens_at(of_ip: Sequence[Obstacle]) -> datetime | None:
    """None: nobody knows."""
    ends = [o.until for o in of_ip]
    known = [at for at in ends if at is not None]
    return max(known) if len(known) == len(ends) else None
