"""Claiming: a worker takes due recipients and opens their attempts, before any network is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Select, bindparam, func, literal_column, select, update

from mailer.events import AttemptState, RecipientState
from mailer.ids import IdMaker
from mailer.policy.egress import TRANSACTIONAL, Egress, Granted, Stay
from mailer.policy.greylisting import Greylisted
from mailer.policy.turns import Party
from mailer.queue import due, suppressing
from mailer.queue.due import But
from mailer.queue.ending import Waiting
from mailer.queue.incarnations import hold_live
from mailer.queue.leaving import Leaving, rows_of
from mailer.queue.metering import SpendTime, Till, Tolls
from mailer.queue.suppressing import Asked, Suppressing
from mailer.store import Store
from mailer.store.bare import Hot, bare
from mailer.store.tables import attempt, lane, message, recipient, stream
from mailer.store.types import from_microseconds, to_microseconds

# Written out, not bound: SQLite uses a partial index only for a condition it can read.
IS_QUEUED = recipient.c.state == literal_column("'queued'")


class WaitingLane(msgspec.Struct, frozen=True):
    """A lane with at least one recipient due now.

    site     None until its domain was resolved once
    kind     of its stream: transactional | broadcast
    pool_id  that an operator chose for its mail; 0: none
    """

    lane_id: int
    tenant_id: int
    stream_id: int
    domain: str
    site: str | None
    kind: str = TRANSACTIONAL
    pool_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What limits a claim beside its quotas.

    but      lane id to what is held there
    tolls    ceilings over time: no more is taken than they leave, and each recipient has its tokens
    leaving  lane id to the IPs of its pool; a lane that is not here leaves by the system's choice
    suppressing  who is on a list is ended instead of claimed; None: nobody is looked up
    stopped  the claim counts here whom it ended so, by lane: they were there, as those claimed
    """

    but: Mapping[int, But] = field(default_factory=dict)
    tolls: Tolls | None = None
    leaving: Mapping[int, Leaving] = field(default_factory=dict)
    suppressing: Suppressing | None = None
    stopped: Counter[int] = field(default_factory=Counter)


_FREELY = Terms()


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient this incarnation holds, with an attempt open for it, and all that one try needs.

    attempts      counted so far, this one not included
    in_doubt      an earlier attempt may have delivered unheard
    on_doubt      the stream's choice: retry | give-up
    stream_kind   transactional | broadcast
    notify, orcpt, ret, envid
                  what the submitter asked of DSNs (columns of `recipient` and `message`)
    spend         when its tokens may be spent; None: nothing limits it over time
    subscribed_to  id of the stream that its copy bears List-Unsubscribe fields for, the one that the message
                  was accepted for whatever lane it waits in; None: it bears none of ours
    tls, stream_tls
                  what the message and its stream want of TLS (columns `tls`)
    pool_id       that an operator chose for it; 0: none
    egress        where this attempt leaves from; None: the system's choice
    only_site     the only site that `egress` was chosen for; "": that was not yet known; None: any
    granted       what was reserved for it of a warm-up's cap; None: nothing had to be
    stay          what its last attempt means for the choice; None: nothing
    is_unsited    its site was not known, so that none of the site's ceilings was asked
    must_wait     no IP may carry it: it is told why it waits, and is not sent
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
    pool_id: int = 0
    egress: Egress | None = None
    only_site: str | None = None
    granted: Granted | None = None
    stay: Stay | None = None
    is_unsited: bool = False
    must_wait: bool = False
    greylisted: Greylisted | None = None
    subscribed_to: int | None = None

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


_LANE = (
    lane.c.id, lane.c.tenant_id, lane.c.stream_id, lane.c.domain, lane.c.site, stream.c.kind, lane.c.pool_id,
)  # fmt: skip


def _newly_waiting() -> Select[*tuple[Any, ...]]:
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
        select(*_LANE).join(found, found.c.lane_id == lane.c.id).join(stream, stream.c.id == lane.c.stream_id)
    )


def _skip_scan() -> Select[*tuple[Any, ...]]:
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
        select(*_LANE)
        .join(found, found.c.lane_id == lane.c.id)
        .join(stream, stream.c.id == lane.c.stream_id)
        .order_by(lane.c.id)
    )


_WAITING_LANES = Hot(_skip_scan())
_NEWLY_WAITING = Hot(_newly_waiting())

_RECIPIENT = bare(recipient)
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

    Raises Fenced. After it commits, a crash leaves open attempts for `settle.recover`; a power cut only after
    `store.flush()`, which the caller does before anything leaves.
    """
    terms = terms or _FREELY
    with store.write(flush=False) as connection:
        hold_live(connection, me)
        taking = _Taking(connection, terms, new_id, spare=max_bytes, now=now)
        for lane_id, quota in quotas.items():
            leaving = terms.leaving.get(lane_id)
            if leaving is None:
                taking.take(lane_id, quota)
            else:
                taking.take_from_pool(lane_id, quota, leaving)
        claimed = taking.claimed
        if claimed and terms.suppressing:
            claimed = _without_suppressed(connection, terms.suppressing, claimed, new_id=new_id, now=now)
            terms.stopped.update(c.lane_id for c in taking.claimed)
            terms.stopped.subtract(c.lane_id for c in claimed)
        if claimed:
            _lease(connection, me, claimed, now)
        taking.close()
        return claimed


def _without_suppressed(
    connection: Connection, means: Suppressing, claimed: list[Claimed], *, new_id: IdMaker, now: datetime
) -> list[Claimed]:
    """Who came on a list since the message was accepted is ended; the others are left."""
    tenants = suppressing.having_lists(connection, {c.tenant_id for c in claimed})
    asked = [
        # Mail that was moved to another stream is still what somebody left, or did not.
        Asked(c.recipient_id, c.tenant_id, c.subscribed_to or c.stream_id, c.address)
        for c in claimed
        if c.tenant_id in tenants
    ]
    stopped = suppressing.stops(connection, means.keys, asked, now=now)
    if not stopped:
        return claimed
    waiting = [
        Waiting(c.recipient_id, c.tenant_id, c.message_id, c.version, c.attempts, c.notify)
        for c in claimed
        if c.recipient_id in stopped
    ]
    suppressing.end(connection, waiting, stopped, new_id=new_id, process_number=means.process_number, now=now)
    return [c for c in claimed if c.recipient_id not in stopped]


class _Taking:
    """What is taken, lane by lane."""

    def __init__(
        self, connection: Connection, terms: Terms, new_id: IdMaker, *, spare: int, now: datetime
    ) -> None:
        """spare: octets."""
        self.claimed: list[Claimed] = []
        self._connection = connection
        self._but = terms.but
        self._tolls = tolls = terms.tolls
        self._till = Till(connection, tolls.rates, now=now, monotonic=tolls.monotonic) if tolls else None
        self._new_id = new_id
        self._spare = spare
        self._now = to_microseconds(now)

    def take(self, lane_id: int, quota: int) -> None:
        till = self._till
        names = self._tolls.of_lane.get(lane_id, ()) if self._tolls else ()
        most = min(quota, till.room(names)) if till else quota
        if not most:
            return
        for row in due.in_lane(self._connection, self._wanted(lane_id, most), self._but.get(lane_id)):
            if not self._fits(row[10]):
                break
            self.claimed.append(_claimed(self._new_id(), row, till.take(names) if till and names else None))

    def take_from_pool(self, lane_id: int, quota: int, leaving: Leaving) -> None:
        wanted = self._wanted(lane_id, quota)
        for found in rows_of(self._connection, wanted, self._but.get(lane_id), leaving, self._till):
            if not self._fits(found.row[10]):
                break
            way = found.way
            spend = self._till.take(way.names) if self._till and way and way.names else None
            one = replace(
                _claimed(self._new_id(), found.row, spend),
                egress=way.egress if way else None,
                only_site=leaving.site if way else None,
                stay=found.stay,
                must_wait=way is None,
            )
            self.claimed.append(one)

    def _wanted(self, lane_id: int, quota: int) -> dict[str, int]:
        return {"now": self._now, "lane": lane_id, "quota": quota}

    def _fits(self, size_bytes: int) -> bool:
        if self.claimed and size_bytes > self._spare:
            return False
        self._spare -= size_bytes
        return True

    def close(self) -> None:
        """Writes what was taken of ceilings, and tells which have no room."""
        if self._tolls and self._till:
            self._till.close()
            self._tolls.closed |= self._till.closed()


def _claimed(attempt_id: int, row: Sequence[Any], spend: SpendTime | None) -> Claimed:
    """A row of due.py."""
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
        pool_id=row[24],
        subscribed_to=None if row[25] is None else row[26],
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
