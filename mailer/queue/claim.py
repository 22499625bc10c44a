"""Claiming: a worker takes due recipients and opens their attempts, before any network is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal_column, or_, select, update

from mailer.events import AttemptState, RecipientState
from mailer.ids import IdMaker
from mailer.policy.egress import TRANSACTIONAL, Egress, Granted, Stay
from mailer.policy.greylisting import Greylisted
from mailer.policy.turns import Party
from mailer.queue.incarnations import hold_live
from mailer.queue.metering import SpendTime, Till, Tolls
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import attempt, lane, message, recipient, stream
from mailer.store.types import from_microseconds, to_microseconds

# Written out, not bound: SQLite uses a partial index only for a condition it can read.
IS_QUEUED = recipient.c.state == literal_column("'queued'")


@dataclass(frozen=True, slots=True)
class WaitingLane:
    """A lane with at least one recipient due now.

    site  None until its domain was resolved once
    kind  of its stream: transactional | broadcast
    """

    lane_id: int
    tenant_id: int
    stream_id: int
    domain: str
    site: str | None
    kind: str = TRANSACTIONAL


@dataclass(frozen=True, slots=True)
class But:
    """What of a lane is not to be claimed: ids of messages, and of recipients."""

    messages: Sequence[int] = ()
    recipients: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What limits a claim beside its quotas.

    but    lane id to what is held there
    tolls  ceilings over time: no more is taken than they leave, and each recipient has its tokens
    """

    but: Mapping[int, But] = field(default_factory=dict)
    tolls: Tolls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A recipient this incarnation holds, with an attempt open for it, and all that one try needs.

    attempts      counted so far, this one not included
    in_doubt      an earlier attempt may have delivered unheard
    on_doubt      the stream's choice: retry | give-up
    stream_kind   transactional | broadcast
    notify, orcpt, ret, envid
                  what the submitter asked of DSNs (columns of `recipient` and `message`)
    spend         when its tokens may be spent; None: nothing limits it over time
    tls, stream_tls
                  what the message and its stream want of TLS (columns `tls`)
    egress        where this attempt leaves from; None: the system's choice
    only_site     the only site that `egress` was chosen for; "": that was not yet known; None: any
    granted       what was reserved for it of a warm-up's cap; None: nothing had to be
    stay          what its last attempt means for the choice; None: nothing
    is_unsited    its site was not known, so that none of the site's ceilings was asked
    greylisted    where and when greylisting put it off before; None: it did not
    """

    attempt_id: int
    recipient_id: int
    message_id: int
    tenant_id: int
    lane_id: int
    domain: str
    address: str
    attempts: int
    version: int
    first_due_at: datetime
    expires_at: datetime | None
    size_bytes: int
    in_doubt: bool
    content_id: int
    domain_id: int
    return_path_domain: str
    on_doubt: str
    stream_kind: str
    notify: str | None = None
    orcpt: str | None = None
    ret: str | None = None
    envid: str | None = None
    spend: SpendTime | None = None
    tls: str | None = None
    stream_tls: str | None = None
    stream_id: int = 0
    egress: Egress | None = None
    only_site: str | None = None
    granted: Granted | None = None
    stay: Stay | None = None
    is_unsited: bool = False
    greylisted: Greylisted | None = None

    @property
    def party(self) -> Party:
        """Among whom a worker's hands and a site's connections are shared."""
        return self.tenant_id, self.stream_kind

    def greylisted_since(self, site: str | None) -> datetime | None:
        """When the site first put it off by greylisting; None: it did not before."""
        met = self.greylisted
        return met.first_at if met is not None and met.site == site else None


def waiting_lanes(store: Store, *, limit: int, after: int = 0) -> list[WaitingLane]:
    """Up to `limit` lanes with work due now, one index probe each however long their backlogs are.

    after  the lane id to go on behind, so that many lanes are looked at in turns
    """
    with store.read() as connection:
        rows = _WAITING_LANES.rows(connection, {"most": limit, "after": after})
    return [WaitingLane(*row) for row in rows]


def newly_waiting_lanes(store: Store, *, since: int, limit: int) -> list[WaitingLane]:
    """Up to `limit` lanes with due recipients of messages whose id is `since` or above, the latest first."""
    with store.read() as connection:
        rows = _NEWLY_WAITING.rows(connection, {"most": limit, "since": since})
    return [WaitingLane(*row) for row in rows]


def _newly_waiting() -> Select[tuple[int, int, int, str, str, str]]:
    fresh = (
        select(message.c.id)
        .where(message.c.id >= bindparam("since"))
        .order_by(message.c.id.desc())
        .limit(bindparam("most"))
        .subquery()
    )
    found = (
        select(recipient.c.lane_id)
        .join(fresh, fresh.c.id == recipient.c.message_id)
        # An expression, lest the index of all that is queued be gone through, which may be a million.
        .where(recipient.c.state.concat("") == literal_column("'queued'"))
        .distinct()
        .subquery()
    )
    return (
        select(lane.c.id, lane.c.tenant_id, lane.c.stream_id, lane.c.domain, lane.c.site, stream.c.kind)
        .join(found, found.c.lane_id == lane.c.id)
        .join(stream, stream.c.id == lane.c.stream_id)
    )


def _skip_scan() -> Select[tuple[int, int, int, str, str, str]]:
    """Walks the partial index from lane to lane; PostgreSQL and SQLite lack a loose index scan."""
    walk = (
        select(func.min(recipient.c.lane_id).label("lane_id"))
        .where(IS_QUEUED, recipient.c.lane_id > bindparam("after"))
        .cte("walk", recursive=True)
    )
    after = (
        select(func.min(recipient.c.lane_id))
        .where(IS_QUEUED, recipient.c.lane_id > walk.c.lane_id)
        .scalar_subquery()
    )
    walk = walk.union_all(select(after).where(walk.c.lane_id.is_not(None)))
    found = select(walk.c.lane_id).where(walk.c.lane_id.is_not(None)).limit(bindparam("most")).subquery()
    return (
        select(lane.c.id, lane.c.tenant_id, lane.c.stream_id, lane.c.domain, lane.c.site, stream.c.kind)
        .join(found, found.c.lane_id == lane.c.id)
        .join(stream, stream.c.id == lane.c.stream_id)
        .order_by(lane.c.id)
    )


_WAITING_LANES = Hot(_skip_scan())
_NEWLY_WAITING = Hot(_newly_waiting())

_RECIPIENT, _MESSAGE, _LANE, _STREAM = bare(recipient), bare(message), bare(lane), bare(stream)
_DUE_IN_LANE = (
    select(
        _RECIPIENT.c.id,
        _RECIPIENT.c.message_id,
        _RECIPIENT.c.tenant_id,
        _RECIPIENT.c.lane_id,
        _LANE.c.domain,
        _RECIPIENT.c.address,
        _RECIPIENT.c.attempts,
        _RECIPIENT.c.version,
        _RECIPIENT.c.first_due_at,
        _RECIPIENT.c.expires_at,
        _RECIPIENT.c.size_bytes,
        _RECIPIENT.c.in_doubt,
        _MESSAGE.c.content_id,
        _MESSAGE.c.domain_id,
        _MESSAGE.c.return_path_domain,
        _STREAM.c.in_doubt,
        _STREAM.c.kind,
        _RECIPIENT.c.notify,
        _RECIPIENT.c.orcpt,
        _MESSAGE.c.ret,
        _MESSAGE.c.envid,
        _MESSAGE.c.tls,
        _STREAM.c.tls,
        _LANE.c.stream_id,
    )
    .join(_MESSAGE, _MESSAGE.c.id == _RECIPIENT.c.message_id)
    .join(_LANE, _LANE.c.id == _RECIPIENT.c.lane_id)
    .join(_STREAM, _STREAM.c.id == _LANE.c.stream_id)
    .where(
        _RECIPIENT.c.state == literal_column("'queued'"),
        _RECIPIENT.c.lane_id == bindparam("lane"),
        or_(_RECIPIENT.c.expires_at.is_(None), _RECIPIENT.c.expires_at > bindparam("now")),
    )
    .order_by(_RECIPIENT.c.id)
    .limit(bindparam("quota"))
    .with_for_update(of=_RECIPIENT, skip_locked=True)
)
_DUE_OF_LANE = Hot(_DUE_IN_LANE)
_DUE_BUT = Hot(
    _DUE_IN_LANE.where(
        ~dialect.OneOf(_RECIPIENT.c.message_id, "but_messages"), ~dialect.OneOf(_RECIPIENT.c.id, "but_rows")
    )
)
_LEASE = Hot(
    update(_RECIPIENT)
    .where(_RECIPIENT.c.id == bindparam("rcpt"), _RECIPIENT.c.state == literal_column("'queued'"))
    .values(
        state=RecipientState.LEASED,
        wait_reason=None,
        holder=bindparam("me"),
        attempt_id=bindparam("try_id"),
    )
)
_OPENED = ("id", "recipient_id", "message_id", "tenant_id", "incarnation_id", "state", "opened_at")
_OPEN = Hot(bare(attempt).insert(), _OPENED)


def claim(
    store: Store,
    me: int,
    quotas: Mapping[int, int],
    *,
    max_bytes: int,
    new_id: IdMaker,
    now: datetime,
    terms: Terms | None = None,
) -> list[Claimed]:
    """Leases due recipients of the given lanes that have not expired to `me` and opens an attempt for each.

    quotas     lane id to the most recipients to take of it
    max_bytes  of content in all; at least one recipient is taken whatever its size
    terms      what else limits it; None: nothing

    Raises Fenced. After it commits, a crash leaves open attempts for `settle.recover`.
    """
    but = terms.but if terms else {}
    tolls = terms.tolls if terms else None
    with store.write() as connection:
        hold_live(connection, me)
        till = Till(connection, tolls.rates, now=now, monotonic=tolls.monotonic) if tolls else None
        claimed: list[Claimed] = []
        spare = max_bytes
        wanted = {"now": to_microseconds(now)}
        for lane_id, quota in quotas.items():
            names = tolls.of_lane.get(lane_id, ()) if tolls else ()
            most = min(quota, till.room(names)) if till else quota
            if not most:
                continue
            for row in _due(connection, wanted | {"lane": lane_id, "quota": most}, but.get(lane_id)):
                size_bytes = row[10]
                if claimed and size_bytes > spare:
                    break
                spare -= size_bytes
                claimed.append(_claimed(new_id(), row, till.take(names) if till and names else None))
        if claimed:
            _lease(connection, me, claimed, now)
        if tolls and till:
            till.close()
            tolls.closed |= till.closed()
        return claimed


def _due(connection: Connection, wanted: Mapping[str, Any], but: But | None) -> Sequence[Sequence[Any]]:
    if not but:
        return _DUE_OF_LANE.rows(connection, wanted)
    left = {
        "but_messages": dialect.listed(connection, but.messages),
        "but_rows": dialect.listed(connection, but.recipients),
    }
    return _DUE_BUT.rows(connection, {**wanted, **left})


def _claimed(attempt_id: int, row: Sequence[Any], spend: SpendTime | None) -> Claimed:
    """A row of _DUE_OF_LANE; instants come as microseconds, SQLite's booleans as numbers."""
    return Claimed(
        attempt_id=attempt_id,
        recipient_id=row[0],
        message_id=row[1],
        tenant_id=row[2],
        lane_id=row[3],
        domain=row[4],
        address=row[5],
        attempts=row[6],
        version=row[7],
        first_due_at=from_microseconds(row[8]),
        expires_at=None if row[9] is None else from_microseconds(row[9]),
        size_bytes=row[10],
        in_doubt=bool(row[11]),
        content_id=row[12],
        domain_id=row[13],
        return_path_domain=row[14],
        on_doubt=row[15],
        stream_kind=row[16],
        notify=row[17],
        orcpt=row[18],
        ret=row[19],
        envid=row[20],
        spend=spend,
        tls=row[21],
        stream_tls=row[22],
        stream_id=row[23],
    )


def _lease(connection: Connection, me: int, claimed: Sequence[Claimed], now: datetime) -> None:
    leases = [{"rcpt": c.recipient_id, "me": me, "try_id": c.attempt_id} for c in claimed]
    _LEASE.many(connection, leases)
    tries = [
        {
            "id": c.attempt_id,
            "recipient_id": c.recipient_id,
            "message_id": c.message_id,
            "tenant_id": c.tenant_id,
            "incarnation_id": me,
            "state": AttemptState.OPEN,
            "opened_at": to_microseconds(now),
        }
        for c in claimed
    ]
    _OPEN.many(connection, tries)
