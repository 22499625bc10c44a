"""What keeps mail waiting for its turn: ceilings over time that are used up, of messages and of new
connections, and what sites refuse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from mailer.events import RecipientState
from mailer.policy.allowing import Ceiling, Ceilings
from mailer.policy.limits import read_rates
from mailer.queue import metering, poolwaits, sitemeters, slowness
from mailer.queue.metering import Standing
from mailer.queue.obstacles import Finder, Look, Obstacle, Waiting
from mailer.queue.slowness import Hindrance
from mailer.store.tables import sending_limit


def limited(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Ceilings over time that leave no room now: of its site, its provider, its tenant, its stream."""
    if w.state != RecipientState.QUEUED:
        return ()
    over = {c.name: c for c in _over(look, w)}
    if look.outlets(w) is not None:  # of its IPs poolwaits.py tells
        over = {name: c for name, c in over.items() if not name.startswith("site:")}
    if not over:
        return ()
    rates = {name: ceiling.rates for name, ceiling in over.items()}
    shut = [s for s in metering.standings(look.connection, rates, now=w.now) if s.opens_at is not None]
    return [_closed(over[s.name], s, s.opens_at) for s in shut]


def _over(look: Look, w: Waiting) -> Sequence[Ceiling]:
    stream_id, _ = look.stream_of(w.place.lane_id)
    allowed = select(sending_limit.c.subject, sending_limit.c.subject_id, sending_limit.c.rates).where(
        (
            sending_limit.c.subject.in_(["tenant", "newcomer"])
            & (sending_limit.c.subject_id == w.place.tenant_id)
        )
        | ((sending_limit.c.subject == "stream") & (sending_limit.c.subject_id == stream_id))
    )
    found = {(r.subject, r.subject_id): read_rates(r.rates) for r in look.connection.execute(allowed)}
    ceilings = Ceilings(
        rules=w.knowledge.rules,
        by_tenant={i: rates for (subject, i), rates in found.items() if subject == "tenant"},
        by_stream={i: rates for (subject, i), rates in found.items() if subject == "stream"},
        by_newcomer={i: rates for (subject, i), rates in found.items() if subject == "newcomer"},
    )
    return ceilings.over(tenant_id=w.place.tenant_id, stream_id=stream_id, site=w.site)


def _closed(ceiling: Ceiling, at: Standing, opens_at: datetime | None) -> Obstacle:
    kind, _, _ = ceiling.name.partition(":")
    whose = {
        "site": "its site is sent",
        "provider": "all sites of its provider together are sent",
        "tenant": "its tenant sends",
        "stream": "its stream sends",
        "newcomer": "its tenant is new, and sends",
    }[kind]
    is_ruled = kind in ("site", "provider")
    return Obstacle(
        kind="ceiling",
        what=f"{whose} {at.rate} at most, and so much was sent",
        until=opens_at,
        remedy="wait for its turn, or raise the limit" + (" if the site takes more" if is_ruled else ""),
        rule=ceiling.place if is_ruled else None,
        facts={"limit": str(at.rate), "over": kind},
    )


def connecting(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """Its site takes no new connection now from the addresses of ours that opened some."""
    if w.state not in (RecipientState.QUEUED, RecipientState.LEASED):
        return ()
    meters = sitemeters.connecting(look.connection, w.knowledge.rules, w.site, now=w.now)
    outlets = look.outlets(w)
    if outlets is not None:
        meters = [meter for meter in meters if meter.egress_ip in outlets.ips]
    times = [meter.at.opens_at for meter in meters if meter.at.opens_at is not None]
    if not times or len(times) < (len(meters) if outlets is None else len(outlets.ips)):
        return ()  # another address may
    limit = meters[0].at.rate
    facts: dict[str, Any] = {"limit": str(limit), "over": "connections"}
    if w.knowledge.for_operator:
        facts["egress_ips"] = sorted(meter.egress_ip or "" for meter in meters)
    return [
        Obstacle(
            kind="new_connections",
            what=f"its site takes {limit} new connections from an address of ours, and so many were opened",
            until=min(times),
            remedy="wait for its turn, or for an open connection; raise the limit if the site takes more",
            rule=meters[0].place,
            facts=facts,
        )
    ]


def slowed(look: Look, w: Waiting) -> Sequence[Obstacle]:
    """What its site, or its stream there, was found to take, or refuses."""
    if w.state not in (RecipientState.QUEUED, RecipientState.DEFERRED):
        return ()
    stream_id, _ = look.stream_of(w.place.lane_id)
    found = [*_slowed_there(look, w)]
    found += slowness.of_stream(look.connection, w.place.tenant_id, stream_id, w.site, now=w.now)
    return [slowness.as_obstacle(h) for h in found]


def _slowed_there(look: Look, w: Waiting) -> Sequence[Hindrance]:
    """From where it may leave; of a pool's IPs poolwaits.py tells."""
    if look.outlets(w) is not None:
        return ()
    found = slowness.of_site(look.connection, w.site, for_operator=w.knowledge.for_operator)
    return [h for h in found if not (look.has_pools and h.facts["egress_ip"])]


FINDERS: tuple[Finder, ...] = (slowed, limited, connecting, poolwaits.closed)
