"""What is heard of a recipient after its message left: beside its state, which is final and stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select, update

from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.policy.suppression import Said, Share, says_unknown
from mailer.policy.suppressionkey import Keys
from mailer.queue import braking, returned, suppressions, suppressionstorms, warmup
from mailer.queue.returned import Known
from mailer.queue.telling import tell
from mailer.store import dialect
from mailer.store.bare import as_json
from mailer.store.tables import attempt, feedback, lane, message, past_recipient, recipient
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """keys            by what entries of suppression lists are found
    process_number  of this process, whose rows alone it counts in
    now             of the transaction
    """

    keys: Keys
    new_id: IdMaker
    process_number: int
    now: datetime


def hear(connection: Connection, of: Known, heard: Feedback, means: Means) -> bool:
    """Noted, told and held against the address as policy says, all or nothing; True if it was told now.

    of  from `locked`. The caller has proved that it was heard of this recipient

    Rows that others write too are locked in one order whatever was heard: storms, entries, counts of streams.
    """
    is_of_people = heard.kind in _OF_PEOPLE
    is_entered = is_of_people and _hold(connection, of, heard, None, means)
    is_new = _tell(connection, of, heard, new_id=means.new_id, now=means.now, again=is_entered)
    if is_new and not is_of_people and heard.said is not None:
        site = _site_of(connection, of, means.keys)
        _count_answer(connection, site, heard.said, means)
        _hold(connection, of, heard, site, means)
    if is_new:
        _count(connection, of, heard, means.now)
    return is_new


def _site_of(connection: Connection, of: Known, keys: Keys) -> str | None:
    """That took the message: of the last attempt; where those were dropped, of the domain's mail now.

    None: not known.
    """
    tried = (
        select(attempt.c.site)
        .where(
            attempt.c.message_id == of.message_id,
            attempt.c.recipient_id == of.id,
            attempt.c.site.is_not(None),
        )
        .order_by(attempt.c.id.desc())
        .limit(1)
    )
    found = connection.execute(tried).scalar()
    if found is None:
        of_domain = select(lane.c.site).where(
            lane.c.tenant_id == of.tenant_id,
            lane.c.stream_id == of.stream_id,
            lane.c.domain == keys.address(of.address).domain,
            lane.c.site.is_not(None),
        )
        found = connection.execute(of_domain.order_by(lane.c.pool_id).limit(1)).scalar()
    return found


def _count_answer(connection: Connection, site: str | None, said: Said, means: Means) -> None:
    """A site that takes all mail and returns it later answers by that, too: before it is judged. That it took
    the mail was counted when it did."""
    if site is not None and says_unknown(said.bounce_class):
        shares = {site: Share(invalid=1)}
        suppressionstorms.count(connection, shares, process_number=means.process_number, now=means.now)


def _hold(connection: Connection, of: Known, heard: Feedback, site: str | None, means: Means) -> bool:
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
            keys=means.keys,
            site=site,
            report_id=heard.report_id,
            words=heard.words,
        ),
        means.new_id,
        means.now,
    )


def note(
    connection: Connection, of: Known, heard: Feedback, *, new_id: IdMaker, now: datetime, again: bool = False
) -> bool:
    """Noted and told, at most once for each recipient and kind; True if it was now.

    of     from `locked`
    again  it is told even if it was before: something else changed by it
    """
    is_new = _tell(connection, of, heard, new_id=new_id, now=now, again=again)
    if is_new:
        _count(connection, of, heard, now)
    return is_new


def _tell(
    connection: Connection, of: Known, heard: Feedback, *, new_id: IdMaker, now: datetime, again: bool
) -> bool:
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
    if heard.once is not None:
        return
    if heard.kind is EventType.COMPLAINED:
        warmup.complained(connection, of.id, of.message_id)
    braking.heard(connection, (of.tenant_id, of.stream_id), heard.kind, heard.facts, now=now)


def _table_of(connection: Connection, heard_of: Known) -> Table:
    here = select(recipient.c.id).where(recipient.c.id == heard_of.id)
    return recipient if connection.execute(here).first() is not None else past_recipient
