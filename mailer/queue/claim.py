"""Claiming: a worker takes due recipients and opens their attempts, before any network is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal_column, or_, select, update

from mailer.events import AttemptState, RecipientState
from mailer.ids import IdMaker
from mailer.queue.incarnations import hold_live
from mailer.store import Store
from mailer.store.bare import Hot, bare
from mailer.store.tables import attempt, lane, message, recipient, stream
from mailer.store.types import from_microseconds, to_microseconds

# Written out, not bound: SQLite uses a partial index only for a condition it can read.
IS_QUEUED = recipient.c.state == literal_column("'queued'")


@dataclass(frozen=True, slots=True)
class WaitingLane:
    """A lane with at least one recipient due now. site: None until its domain was resolved once."""

    lane_id: int
    tenant_id: int
    domain: str
    site: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A recipient this incarnation holds, with an attempt open for it, and all that one try needs.

    attempts      counted so far, this one not included
    in_doubt      an earlier attempt may have delivered unheard
    on_doubt      the stream's choice: retry | give-up
    stream_kind   transactional | broadcast
    notify, orcpt, ret, envid
                  what the submitter asked of DSNs (columns of `recipient` and `message`)
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


def waiting_lanes(store: Store, *, limit: int, after: int = 0) -> list[WaitingLane]:
    """Up to `limit` lanes with work due now, one index probe each however long their backlogs are.

    after  the lane id to go on behind, so that many lanes are looked at in turns
    """
    with store.read() as connection:
        rows = _WAITING_LANES.rows(connection, {"most": limit, "after": after})
    return [WaitingLane(*row) for row in rows]


def _skip_scan() -> Select[tuple[int, int, str, str]]:
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
        select(lane.c.id, lane.c.tenant_id, lane.c.domain, lane.c.site)
        .join(found, found.c.lane_id == lane.c.id)
        .order_by(lane.c.id)
    )


_WAITING_LANES = Hot(_skip_scan())

_RECIPIENT, _MESSAGE, _LANE, _STREAM = bare(recipient), bare(message), bare(lane), bare(stream)
_DUE_OF_LANE = Hot(
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
) -> list[Claimed]:
    """Leases due recipients of the given lanes that have not expired to `me` and opens an attempt for each.

    quotas     lane id to the most recipients to take of it
    max_bytes  of content in all; at least one recipient is taken whatever its size

    Raises Fenced. After it commits, a crash leaves open attempts for `settle.recover`.
    """
    with store.write() as connection:
        hold_live(connection, me)
        claimed: list[Claimed] = []
        spare = max_bytes
        wanted = {"now": to_microseconds(now)}
        for lane_id, quota in quotas.items():
            for row in _DUE_OF_LANE.rows(connection, wanted | {"lane": lane_id, "quota": quota}):
                size_bytes = row[10]
                if claimed and size_bytes > spare:
                    break
                spare -= size_bytes
                claimed.append(_claimed(new_id(), row))
        if claimed:
            _lease(connection, me, claimed, now)
        return claimed


def _claimed(attempt_id: int, row: Sequence[Any]) -> Claimed:
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
