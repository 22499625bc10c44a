"""Somebody leaves a stream: noted, told, and nothing more is sent to the address there, in one transaction.

The token is all the proof there is, and all that is needed: a link in mail outlives the rows about that mail,
so the tenant, the stream and the address are read from it. Where the recipient's row still stands, the event
is the recipient's own; else the event says which stream and address are meant.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from mailer import ids
from mailer.compose.subscriber import Subscriber
from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.suppression import Said
from mailer.policy.suppressionkey import Keys
from mailer.protocol.phase import RETURNED, WEB
from mailer.queue import feedback, suppressions
from mailer.queue.feedback import Feedback
from mailer.queue.suppressions import Heard
from mailer.queue.telling import tell
from mailer.store import Store
from mailer.store.bare import as_json
from mailer.store.tables import stream
from mailer.store.types import to_microseconds

_NOT_KEPT = 0  # nobody's id


class Way(enum.StrEnum):
    """How somebody left, as the event's `reason` says it."""

    ONE_CLICK = "one_click"  # the mail reader's own button (RFC 8058 §3.2)
    PAGE = "page"  # ours, which asks
    MAIL = "unsubscribe_mail"  # to the address in List-Unsubscribe (RFC 2369 §3.2)


_SAID = Said(bounce_class=BounceClass.UNSUBSCRIBE, blame=Blame.RECIPIENT)


def stream_of(store: Store, subscriber: Subscriber) -> str | None:
    """Name of the stream that a link leaves; None: neither it nor its tenant is there any more."""
    with store.read() as connection:
        return stream_name(connection, subscriber.tenant_id, subscriber.stream_id)


def unsubscribe(
    store: Store, subscriber: Subscriber, way: Way, *, keys: Keys, new_id: IdMaker, now: datetime
) -> bool | None:
    """The address gets nothing more of the stream. Safe to repeat: True if it is news, False if it was known.

    None, and nothing changed: the stream or its tenant is there no more. A suspended tenant's and an
    archived stream's recipients leave like all others. The caller has proved by the token whom this is.
    """
    with store.write() as connection:
        return apply(connection, subscriber, way, keys=keys, new_id=new_id, now=now)


def apply(
    connection: Connection,
    subscriber: Subscriber,
    way: Way,
    *,
    keys: Keys,
    new_id: IdMaker,
    now: datetime,
    report_id: int | None = None,
) -> bool | None:
    """As `unsubscribe`, in the caller's transaction. report_id: the mail that came back and says so."""
    name = stream_name(connection, subscriber.tenant_id, subscriber.stream_id)
    if name is None:
        return None
    facts = _facts(way, name, report_id)
    row = feedback.locked(connection, subscriber.recipient_id)
    if row is not None and row.tenant_id != subscriber.tenant_id:
        row = None
    message_id = _NOT_KEPT if row is None else row.message_id
    # Also where it was heard before: the entry may have been taken away meanwhile, by whatever mistake.
    is_new = suppressions.apply(connection, _heard(subscriber, message_id, keys, report_id), new_id, now)
    if row is not None:
        heard = Feedback(kind=EventType.UNSUBSCRIBED, facts=facts)
        return feedback.note(connection, row, heard, new_id=new_id, now=now, again=is_new)
    if is_new:
        _tell(connection, subscriber, facts, new_id=new_id, now=now)
    return is_new


def _facts(way: Way, stream_name: str, report_id: int | None) -> dict[str, str]:
    facts = {
        "reason": str(way),
        **_SAID.as_facts(),
        "phase": RETURNED if way is Way.MAIL else WEB,
        "stream": stream_name,
    }
    return facts if report_id is None else {**facts, "returned_id": ids.show("ret", report_id)}


def _heard(subscriber: Subscriber, message_id: int, keys: Keys, report_id: int | None) -> Heard:
    return Heard(
        recipient_id=subscriber.recipient_id,
        message_id=message_id,
        tenant_id=subscriber.tenant_id,
        stream_id=subscriber.stream_id,
        address=subscriber.address,
        said=_SAID,
        keys=keys,
        report_id=report_id,
    )


def stream_name(connection: Connection, tenant_id: int, stream_id: int) -> str | None:
    """None: neither it nor its tenant is there any more."""
    wanted = select(stream.c.name).where(stream.c.id == stream_id, stream.c.tenant_id == tenant_id)
    return connection.execute(wanted).scalar()


def _tell(
    connection: Connection,
    subscriber: Subscriber,
    facts: Mapping[str, str],
    *,
    new_id: IdMaker,
    now: datetime,
) -> None:
    """Of mail that is no longer kept."""
    event: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": subscriber.tenant_id,
        "type": EventType.UNSUBSCRIBED,
        "message_id": None,
        "recipient_id": None,
        "version": 1,
        "at": to_microseconds(now),
        "data": as_json({**facts, "address": subscriber.address}),
    }
    tell(connection, [event])
