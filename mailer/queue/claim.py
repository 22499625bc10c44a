"""Claiming: a worker takes due recipients and opens their attempts, before any network is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, bindparam, func, literal_column, select, update

from mailer.events import AttemptState, RecipientState
from mailer.ids import IdMaker
from mailer.queue.incarnations import hold_live
from mailer.store import Store
from mailer.store.bare import Hot, bare
from mailer.store.tables import attempt, lane, message, recipient, stream
from mailer.store.types import to_microseconds

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


def waiting_lanes(store: Store, *, limit: int, after: int = 0) -> list[WaitingLane]:
    """Up to `limit` lanes with work due now, one index probe each however long their backlogs are.

    after  the lane id to go on behind, so that many lanes are looked at in turns
    """
    with store.read() as connection:
        rows = connection.execute(_WAITING_LANES, {"most": limit, "after": after}).all()
    return [WaitingLane(row.id, row.tenant_id, row.domain, row.site) for row in rows]


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


_WAITING_LANES = _skip_scan()

_DUE_OF_LANE = (
    select(
        recipient.c.id.label("recipient_id"),
        recipient.c.message_id,
        recipient.c.tenant_id,
        recipient.c.lane_id,
        recipient.c.address,
        recipient.c.attempts,
        recipient.c.version,
        recipient.c.first_due_at,
        recipient.c.expires_at,
        recipient.c.size_bytes,
        recipient.c.in_doubt,
        message.c.content_id,
        message.c.domain_id,
        message.c.return_path_domain,
        lane.c.domain,
        stream.c.in_doubt.label("on_doubt"),
        stream.c.kind.label("stream_kind"),
    )
    .join(message, message.c.id == recipient.c.message_id)
    .join(lane, lane.c.id == recipient.c.lane_id)
    .join(stream, stream.c.id == lane.c.stream_id)
    .where(IS_QUEUED, recipient.c.lane_id == bindparam("lane"))
    .order_by(recipient.c.id)
    .limit(bindparam("quota"))
    .with_for_update(of=recipient, skip_locked=True)
)
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
) -> list[Claimed]:
    """Leases due recipients of the given lanes to `me` and opens an attempt for each.

    quotas     lane id to the most recipients to take of it
    max_bytes  of content in all; at least one recipient is taken whatever its size

    Raises Fenced. After it commits, a crash leaves open attempts for `settle.recover`.
    """
    with store.write() as connection:
        hold_live(connection, me)
        claimed: list[Claimed] = []
        spare = max_bytes
        for lane_id, quota in quotas.items():
            for row in connection.execute(_DUE_OF_LANE, {"lane": lane_id, "quota": quota}).mappings():
                if claimed and row["size_bytes"] > spare:
                    break
                spare -= row["size_bytes"]
                claimed.append(Claimed(attempt_id=new_id(), **row))
        if claimed:
            _lease(connection, me, claimed, now)
        return claimed


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
