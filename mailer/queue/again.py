"""Sending again: what waits for its due time is due now; what failed is accepted anew.

A final state never changes, so a recipient that failed gets a new row (`retry_of`), counted as accepted
again. One that was sent again already is not sent a third time while that try is not over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from mailer import ids
from mailer.events import EventType, RecipientState, WaitReason
from mailer.ids import IdMaker
from mailer.queue import counting
from mailer.queue.chosen import chosen
from mailer.queue.enqueue import lanes_with
from mailer.queue.telling import tell
from mailer.store import Store
from mailer.store.bare import as_json
from mailer.store.tables import lane, message, recipient, sending_domain, stream
from mailer.store.types import to_microseconds

FAILED_STATES = frozenset({RecipientState.BOUNCED, RecipientState.EXPIRED, RecipientState.CANCELLED})


class NotAccepted(Exception):
    """What failed cannot be accepted anew: its stream or its sending domain takes nothing more.

    Nothing was changed. stream, domain: the name of the one to blame, else None
    """

    def __init__(self, *, stream: str | None = None, domain: str | None = None) -> None:
        super().__init__(f"the stream {stream} is archived" if stream else f"the domain {domain} is revoked")
        self.stream = stream
        self.domain = domain


@dataclass(frozen=True, slots=True)
class SentAgain:
    """due_now: ids of recipients that waited. anew: id of the failed recipient -> id of its new row."""

    due_now: tuple[int, ...]
    anew: Mapping[int, int]


def send_again(
    store: Store,
    tenant_id: int,
    message_id: int,
    *,
    only: Collection[int] = (),
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> SentAgain | None:
    """Tries the recipients anew, `only` these if any are named; None if the message is not the tenant's.

    Left alone: delivered and suppressed ones, those a worker holds or an operator does, and scheduled ones.
    Raises NotOfMessage, NotAccepted.
    """
    mine = (
        select(recipient)
        .where(recipient.c.message_id == message_id, recipient.c.tenant_id == tenant_id)
        .order_by(recipient.c.id)
        .with_for_update()
    )
    with store.write() as connection:
        rows = connection.execute(mine).all()
        if not rows:
            return None
        wanted = chosen(rows, only)
        deferred = [row.id for row in wanted if _waits_to_retry(row)]
        if deferred:
            _make_due(connection, deferred, now)
        sent_again = {row.retry_of for row in rows}
        failed = [row for row in wanted if row.state in FAILED_STATES and row.id not in sent_again]
        anew: Mapping[int, int] = {}
        if failed:
            anew = accept_anew(
                connection, message_id, failed, new_id=new_id, process_number=process_number, now=now
            )
    return SentAgain(tuple(deferred), anew)


def accept_anew(
    connection: Connection,
    message_id: int,
    ended: Sequence[Any],
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> Mapping[int, int]:
    """New rows for recipients (whole rows of one message) that ended; their ids by those. Raises
    NotAccepted."""
    _check_open(connection, message_id)
    anew = {row.id: new_id() for row in ended}
    _accept(connection, ended, anew, new_id=new_id, now=now)
    grown = update(message).where(message.c.id == message_id)
    connection.execute(grown.values(recipient_count=message.c.recipient_count + len(ended)))
    used = {ended[0].tenant_id: {"accepted": len(ended)}}
    counting.add(connection, used, process_number=process_number, now=now)
    return anew


def _check_open(connection: Connection, message_id: int) -> None:
    row = connection.execute(_STANDING.where(message.c.id == message_id)).one()
    if row.stream_state != "active":
        raise NotAccepted(stream=row.stream)
    if row.domain_state != "active":
        raise NotAccepted(domain=row.domain)


_STANDING = (
    select(
        stream.c.name.label("stream"),
        stream.c.state.label("stream_state"),
        sending_domain.c.name.label("domain"),
        sending_domain.c.state.label("domain_state"),
    )
    .select_from(message)
    .join(stream, stream.c.id == message.c.stream_id)
    .join(sending_domain, sending_domain.c.id == message.c.domain_id)
)


def _waits_to_retry(row: Any) -> bool:
    return bool(row.state == RecipientState.DEFERRED and row.wait_reason != WaitReason.SCHEDULED)


def _make_due(connection: Connection, recipient_ids: Sequence[int], now: datetime) -> None:
    waiting = update(recipient).where(recipient.c.id.in_(recipient_ids))
    connection.execute(
        waiting.values(state=RecipientState.QUEUED, wait_reason=WaitReason.RETRY_ASKED, due_at=now)
    )


def _accept(
    connection: Connection, failed: Sequence[Any], anew: Mapping[int, int], *, new_id: IdMaker, now: datetime
) -> None:
    fresh = {
        "state": RecipientState.QUEUED,
        "wait_reason": WaitReason.RETRY_ASKED,
        "due_at": now,
        "first_due_at": now,
        "attempts": 0,
        "holder": None,
        "attempt_id": None,
        "cancel_wanted": False,
        "in_doubt": False,
        "version": 1,
        "last_reply": None,
        "settled_at": None,
    }
    elsewhere = _lanes_instead(connection, failed, new_id)
    rows = [
        {
            **row._mapping,
            **fresh,
            "id": anew[row.id],
            "retry_of": row.id,
            "lane_id": elsewhere.get(row.lane_id, row.lane_id),
            "expires_at": _deadline(row, now),
        }
        for row in failed
    ]
    connection.execute(recipient.insert(), rows)
    told = [
        {
            "id": new_id(),
            "tenant_id": row.tenant_id,
            "type": EventType.ACCEPTED,
            "message_id": row.message_id,
            "recipient_id": anew[row.id],
            "version": 1,
            "at": to_microseconds(now),
            "data": as_json({"retry_of": ids.show("rcpt", row.id)}),
        }
        for row in failed
    ]
    tell(connection, told)


def _lanes_instead(connection: Connection, failed: Sequence[Any], new_id: IdMaker) -> Mapping[int, int]:
    """By id, of lanes whose pool an operator chose: that holds until what was moved there ends."""
    chosen_for = select(lane).where(lane.c.id.in_({row.lane_id for row in failed}), lane.c.pool_id != 0)
    keys = {row.id: (row.tenant_id, row.stream_id, row.domain, 0) for row in connection.execute(chosen_for)}
    made = lanes_with(connection, keys.values(), new_id) if keys else {}
    return {lane_id: made[key] for lane_id, key in keys.items()}


def _deadline(row: Any, now: datetime) -> datetime | None:
    """The sender's own deadline, unless it has passed: who asks for another try wants one."""
    return row.expires_at if row.expires_at is not None and row.expires_at > now else None
