"""What time and death bring: due recipients wake, dead workers are found, old rows go.

Every function is one transaction and harmless to repeat; several sweepers may run at once.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, literal_column, select, update

from mailer.events import AttemptState, RecipientState
from mailer.queue.claim import IS_QUEUED, Claimed
from mailer.queue.incarnations import Whereabouts
from mailer.store import Store, dialect
from mailer.store.tables import attempt, idempotency, incarnation, lane, message, recipient, stream

_IS_DEFERRED = recipient.c.state == literal_column("'deferred'")
_IS_OPEN = attempt.c.state == literal_column("'open'")

_DUE = (
    select(recipient.c.id)
    .where(_IS_DEFERRED, recipient.c.due_at <= bindparam("now"))
    .order_by(recipient.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = select(recipient.c.id).where(_IS_DEFERRED, recipient.c.due_at <= bindparam("now")).limit(1)
_WAKE = (
    update(recipient)
    .where(recipient.c.id == bindparam("rcpt"), _IS_DEFERRED)
    .values(state=RecipientState.QUEUED)
)


def end_stalled(store: Store, *, seconds: float) -> int:
    """Rolls back transactions whose process stopped in the middle of them; returns how many."""
    with store.read() as connection:
        return dialect.end_stalled(connection, seconds)


WAKE_AT_ONCE = 2000


def wake_due(store: Store, *, now: datetime, most: int = WAKE_AT_ONCE) -> int:
    """Queues deferred recipients whose due time has come; returns how many."""
    with store.read() as connection:
        if connection.execute(_ANY_DUE, {"now": now}).first() is None:
            return 0
    with store.write() as connection:
        ids = connection.execute(_DUE, {"now": now, "most": most}).scalars().all()
        if ids:
            connection.execute(_WAKE, [{"rcpt": i} for i in ids])
        return len(ids)


def any_queued(store: Store) -> bool:
    """Whether a bell is worth ringing."""
    with store.read() as connection:
        return connection.execute(select(recipient.c.id).where(IS_QUEUED).limit(1)).first() is not None


def abandoned(store: Store) -> list[Whereabouts]:
    """Incarnations that are not live but still hold open attempts: to be recovered."""
    holders = (
        select(incarnation.c.id, incarnation.c.role, incarnation.c.host)
        .where(incarnation.c.state != "live")
        .where(incarnation.c.id.in_(select(attempt.c.incarnation_id).where(_IS_OPEN).distinct()))
    )
    with store.read() as connection:
        return [Whereabouts(*row) for row in connection.execute(holders)]


_OPEN_OF = (
    select(
        attempt.c.id.label("attempt_id"),
        attempt.c.recipient_id,
        attempt.c.message_id,
        attempt.c.tenant_id,
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
        recipient.c.notify,
        recipient.c.orcpt,
        message.c.ret,
        message.c.envid,
        lane.c.stream_id,
        lane.c.pool_id,
        message.c.tls,
        stream.c.tls.label("stream_tls"),
    )
    .join(recipient, recipient.c.id == attempt.c.recipient_id)
    .join(message, message.c.id == attempt.c.message_id)
    .join(lane, lane.c.id == recipient.c.lane_id)
    .join(stream, stream.c.id == lane.c.stream_id)
    .where(_IS_OPEN, attempt.c.incarnation_id == bindparam("dead"))
    .order_by(attempt.c.id)
    .limit(bindparam("most"))
)


def open_attempts(store: Store, dead: int, *, most: int) -> list[Claimed]:
    """Up to `most` attempts that the dead incarnation left open."""
    with store.read() as connection:
        rows = connection.execute(_OPEN_OF, {"dead": dead, "most": most}).mappings()
        return [Claimed(**row) for row in rows]


def close_strays(store: Store, *, now: datetime) -> int:
    """Closes open attempts of dead incarnations whose recipient has moved on; returns how many.

    None should exist, since both move in one transaction; `verify` would show them.
    """
    held_elsewhere = (
        select(recipient.c.id)
        .where(recipient.c.id == attempt.c.recipient_id, recipient.c.attempt_id == attempt.c.id)
        .exists()
    )
    dead = (
        select(incarnation.c.id)
        .where(incarnation.c.id == attempt.c.incarnation_id, incarnation.c.state == "live")
        .exists()
    )
    stray = update(attempt).where(_IS_OPEN, ~held_elsewhere, ~dead)
    with store.write() as connection:
        return connection.execute(stray.values(state=AttemptState.RELEASED, closed_at=now)).rowcount


def forget_keys(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops idempotency keys older than `before`; returns how many."""
    old = (
        select(idempotency.c.tenant_id, idempotency.c.key)
        .where(idempotency.c.created_at < before)
        .limit(most)
    )
    with store.read() as connection:
        keys = connection.execute(old).all()
    if not keys:
        return 0
    gone = delete(idempotency).where(
        idempotency.c.tenant_id == bindparam("t"), idempotency.c.key == bindparam("k"),
        idempotency.c.created_at < bindparam("b"),
    )  # fmt: skip
    with store.write() as connection:
        connection.execute(gone, [{"t": t, "k": k, "b": before} for t, k in keys])
    return len(keys)
