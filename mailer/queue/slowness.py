"""Why a site, or a tenant's stream there, is sent less than waits: since when, until when, by which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from mailer.policy.governor import StreamPace
from mailer.policy.pace import State
from mailer.queue.obstacles import Obstacle
from mailer.queue.pace import Standing, load_stream, standing_of
from mailer.store import Store
from mailer.store.tables import pace, stream, stream_pace, tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """One thing that slows or stops mail.

    kind    a stable word: suspended, probing, paced, fewer_connections, stream_held, stream_paced
    what    for people, with the peer's words
    until   when it ends or is tried by itself; None: gradually
    remedy  what it would take to end it earlier
    rule    file and line of the rule; None: no rule, the learner's own finding
    facts   egress_ip, rate_per_hour, connections, since, rule_name; those that hold
    """

    kind: str
    what: str
    until: datetime | None
    remedy: str
    rule: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)


def of_site(connection: Connection, site: str, *, for_operator: bool) -> list[Hindrance]:
    """From each of our egress IPs, "" being the one that the system chooses.

    for_operator  the peer's words may be told, which may be about another tenant's mail
    """
    rows = connection.execute(select(pace).where(pace.c.site == site).order_by(pace.c.egress_ip))
    return [
        h
        for row in rows
        for h in of_standing(row.egress_ip, site, standing_of(row), for_operator=for_operator)
    ]


def as_obstacle(h: Hindrance) -> Obstacle:
    return Obstacle(kind=h.kind, what=h.what, until=h.until, remedy=h.remedy, rule=h.rule, facts=h.facts)


def of_stream(
    connection: Connection, tenant_id: int, stream_id: int, site: str, *, now: datetime
) -> list[Hindrance]:
    """What keeps a tenant's stream from a site, beside what keeps all mail from it."""
    mine = select(stream_pace).where(
        stream_pace.c.tenant_id == tenant_id, stream_pace.c.stream_id == stream_id, stream_pace.c.site == site
    )
    row = connection.execute(mine).first()
    return [] if row is None else _of_stream(load_stream(row), site, now)


def everywhere(store: Store) -> list[tuple[str, str, Hindrance]]:
    """All that is slowed or suspended: egress IP, site, why."""
    limited = select(pace).where(pace.c.state != State.FREE).order_by(pace.c.site, pace.c.egress_ip)
    with store.read() as connection:
        rows = connection.execute(limited).all()
    return [
        (row.egress_ip, row.site, h)
        for row in rows
        for h in of_standing(row.egress_ip, row.site, standing_of(row), for_operator=True)
    ]


def of_streams(store: Store, *, now: datetime) -> list[tuple[str, str, str, Hindrance]]:
    """All streams that are slowed or held at a site: tenant, stream, site, why."""
    limited = (
        select(stream_pace, tenant.c.name.label("tenant"), stream.c.name.label("stream"))
        .join(tenant, tenant.c.id == stream_pace.c.tenant_id)
        .join(stream, stream.c.id == stream_pace.c.stream_id)
        .where(or_(stream_pace.c.held_until.is_not(None), stream_pace.c.rate.is_not(None)))
        .order_by(stream_pace.c.site, tenant.c.name, stream.c.name)
    )
    with store.read() as connection:
        rows = connection.execute(limited).all()
    return [
        (row.tenant, row.stream, row.site, replace(h, remedy=_release(row.tenant, row.stream, row.site)))
        for row in rows
        for h in _of_stream(load_stream(row), row.site, now)
    ]


def _release(tenant_name: str, stream_name: str, site: str) -> str:
    mine = f"`mailer sites lift {site} --tenant {tenant_name} --stream {stream_name}`"
    return f"have this stream send something else there, then {mine}"


def of_standing(egress_ip: str, site: str, at: Standing, *, for_operator: bool) -> Sequence[Hindrance]:
    """From one of our egress IPs."""
    name = egress_ip or "the address that the system chooses"
    facts = {"egress_ip": egress_ip, "since": at.since}
    remedy = "nothing: it is tried again by itself; the operator can end it sooner"
    said = "its answers to mail from there say so"
    if for_operator:
        remedy = f"mend what it complains of, then `mailer sites lift {site}`"
        said = at.why.reason if at.why else "it did not say why"
    rule = at.why.place if at.why else None
    if at.why and at.why.rule:
        facts["rule_name"] = at.why.rule
    found: list[tuple[str, str, datetime | None, dict[str, Any]]] = []
    match at.state:
        case State.SUSPENDED:
            what = f"{site} is suspended from {name}: {said}; one message will ask it, then others follow"
            found = [("suspended", what, at.suspended_until, {})]
        case State.PROBING:
            what = f"one message from {name} is asking whether {site} takes mail again; it said: {said}"
            found = [("probing", what, at.probe_until, {})]
        case State.SLOWED:
            if at.rate is not None:
                what = f"{site} was found to take {at.rate:.0f} messages an hour from {name}: {said}"
                found.append(("paced", what, None, {"rate_per_hour": round(at.rate, 1)}))
            if at.connections is not None:
                what = (
                    f"{site} gets {at.connections} connections at a time from {name}, soon more again: {said}"
                )
                found.append(("fewer_connections", what, None, {"connections": at.connections}))
        case State.FREE:
            pass
    return [
        Hindrance(kind=kind, what=what, until=until, remedy=remedy, rule=rule, facts={**facts, **more})
        for kind, what, until, more in found
    ]


def _of_stream(stream: StreamPace, site: str, now: datetime) -> list[Hindrance]:
    said = stream.why.reason if stream.why else ""
    rule = stream.why.place if stream.why else None
    facts: dict[str, Any] = {"since": stream.since}
    if stream.why and stream.why.rule:
        facts["rule_name"] = stream.why.rule
    remedy = "change what this stream sends there; the operator can release it sooner"
    if stream.held_until is not None and now < stream.held_until:
        what = f"mail of this stream to {site} is held: {said}"
        return [
            Hindrance(
                kind="stream_held", what=what, until=stream.held_until, remedy=remedy, rule=rule, facts=facts
            )
        ]
    rate = stream.rate_at(now)
    if rate is None:
        return []
    what = (
        f"mail of this stream to {site} goes at {rate:.0f} messages an hour, twice as many each hour: {said}"
    )
    facts["rate_per_hour"] = round(rate, 1)
    return [Hindrance(kind="stream_paced", what=what, until=None, remedy=remedy, rule=rule, facts=facts)]
