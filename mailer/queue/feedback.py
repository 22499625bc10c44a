"""What is heard of a recipient after its message left: beside its state, which is final and stays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.queue import braking, warmup
from mailer.queue.telling import tell
from mailer.store import Store, dialect
from mailer.store.bare import as_json
from mailer.store.tables import feedback, message, recipient
from mailer.store.types import to_microseconds


def record(
    store: Store,
    recipient_id: int,
    kind: EventType,
    *,
    domain: str,
    facts: Mapping[str, str],
    new_id: IdMaker,
    now: datetime,
) -> bool:
    """Noted and told, at most once for each recipient and kind; True if it was now.

    domain  of the return-path that it came to. A token is good with the domain it was sent with only, so
            that one domain's operator cannot speak for another's

    False, and nothing changed, if it was known, or there is no such recipient. The caller has proved by the
    token that it speaks of this recipient.
    """
    with store.write() as connection:
        row = _locked(connection, recipient_id, domain.lower())
        if row is None:
            return False
        first = dialect.insert(connection, feedback).values(recipient_id=row.id, type=kind, at=now)
        noted = first.on_conflict_do_nothing().returning(feedback.c.type)
        if connection.execute(noted).first() is None:
            return False
        told = update(recipient).where(recipient.c.id == row.id)
        connection.execute(told.values(version=row.version + 1))
        event = {
            "id": new_id(),
            "tenant_id": row.tenant_id,
            "type": kind,
            "message_id": row.message_id,
            "recipient_id": row.id,
            "version": row.version + 1,
            "at": to_microseconds(now),
            "data": as_json(dict(facts)),
        }
        tell(connection, [event])
        if kind is EventType.COMPLAINED:
            warmup.complained(connection, row.id, row.message_id)
        braking.heard(connection, row.id, kind, facts, now=now)
        return True


def _locked(connection: Connection, recipient_id: int, domain: str) -> Any:
    """The recipient's row, if it was sent with this domain; the message first, as retention does."""
    kept = (
        select(message.c.id)
        .join(recipient, recipient.c.message_id == message.c.id)
        .where(recipient.c.id == recipient_id, message.c.return_path_domain == domain)
        .with_for_update(read=True, of=message)
    )
    if connection.execute(kept).first() is None:
        return None
    wanted = select(recipient).where(recipient.c.id == recipient_id).with_for_update()
    return connection.execute(wanted).one()
