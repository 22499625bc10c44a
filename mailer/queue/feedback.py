"""What is heard of a recipient after its message left: beside its state, which is final and stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select, update

from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.policy.suppression import Said
from mailer.policy.suppressionkey import Keys
from mailer.queue import braking, returned, suppressions, warmup
from mailer.queue.returned import Known
from mailer.queue.telling import tell
from mailer.store import dialect
from mailer.store.bare import as_json
from mailer.store.tables import feedback, message, past_recipient, recipient
from mailer.store.types import to_microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What was heard of a recipient.

    once       under which word it is noted, so that it is told once; None: the kind's
    said       what it means for the suppression list; None: it is held against nobody
    report_id  the mail that it came with; None: with none
    words      of a peer
    """

    kind: EventType
    facts: Mapping[str, Any] = field(default_factory=dict)
    once: str | None = None
    said: Said | None = None
    report_id: int | None = None
    words: str | None = None


# Said by people, of whom each word counts: an entry may have been taken away since the last one.
_OF_PEOPLE = frozenset({EventType.COMPLAINED, EventType.UNSUBSCRIBED})


def hear(
    connection: Connection, of: Known, heard: Feedback, *, keys: Keys, new_id: IdMaker, now: datetime
) -> bool:
    """Noted, told and held against the address as policy says, all or nothing; True if it was told now.

    of  from `locked`. The caller has proved that it was heard of this recipient
    """
    means: Any = {"keys": keys, "new_id": new_id, "now": now}
    is_entered = heard.kind in _OF_PEOPLE and _hold(connection, of, heard, **means)
    is_new = note(connection, of, heard, new_id=new_id, now=now, again=is_entered)
    if is_new and heard.kind not in _OF_PEOPLE:
        _hold(connection, of, heard, **means)
    return is_new


def _hold(
    connection: Connection, of: Known, heard: Feedback, *, keys: Keys, new_id: IdMaker, now: datetime
) -> bool:
    if heard.said is None:
        return False
    return suppressions.apply(
        connection,
        suppressions.Heard(
            recipient_id=of.id,
            message_id=of.message_id,
            tenant_id=of.tenant_id,
            stream_id=of.stream_id,
            address=of.address,
            said=heard.said,
            keys=keys,
            report_id=heard.report_id,
            words=heard.words,
        ),
        new_id,
        now,
    )


def note(
    connection: Connection, of: Known, heard: Feedback, *, new_id: IdMaker, now: datetime, again: bool = False
) -> bool:
    """Noted and told, at most once for each recipient and kind; True if it was now.

    of     from `locked`
    again  it is told even if it was before: something else changed by it
    """
    kind = heard.once or heard.kind
    first = dialect.insert(connection, feedback).values(recipient_id=of.id, type=kind, at=now)
    noted = first.on_conflict_do_nothing().returning(feedback.c.type)
    if connection.execute(noted).first() is None and not again:
        return False
    table = _table_of(connection, of)
    version = connection.execute(select(table.c.version).where(table.c.id == of.id)).scalar_one() + 1
    connection.execute(update(table).where(table.c.id == of.id).values(version=version))
    event = {
        "id": new_id(),
        "tenant_id": of.tenant_id,
        "type": heard.kind,
        "message_id": of.message_id,
        "recipient_id": of.id,
        "version": version,
        "at": to_microseconds(now),
        "data": as_json(dict(heard.facts)),
    }
    tell(connection, [event])
    if heard.once is None:
        _count(connection, of, heard, now)
    return True


def locked(connection: Connection, recipient_id: int) -> Known | None:
    """Its row stays as it is until the transaction ends; the message first, as retention does."""
    kept = (
        select(message.c.id)
        .join(recipient, recipient.c.message_id == message.c.id)
        .where(recipient.c.id == recipient_id)
        .with_for_update(read=True, of=message)
    )
    table = recipient if connection.execute(kept).first() is not None else past_recipient
    connection.execute(select(table.c.id).where(table.c.id == recipient_id).with_for_update()).first()
    return returned.known(connection, recipient_id)


def _count(connection: Connection, of: Known, heard: Feedback, now: datetime) -> None:
    """Against the IP and the stream it left by. Of a message that was dropped nothing is known of the IP."""
    if heard.kind is EventType.COMPLAINED:
        warmup.complained(connection, of.id, of.message_id)
    braking.heard(connection, (of.tenant_id, of.stream_id), heard.kind, heard.facts, now=now)


def _table_of(connection: Connection, heard_of: Known) -> Table:
    here = select(recipient.c.id).where(recipient.c.id == heard_of.id)
    return recipient if connection.execute(here).first() is not None else past_recipient
