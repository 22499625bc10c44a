"""Old mail goes; the equation stays: dropped recipients are folded into counters in the same transaction.

A message goes when it is older than the retention, all its recipients are final, and no DSN about it is due.
The event log loses its oldest numbers only, up to the first event that is young or belongs to a message still
kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, or_, select, update

from mailer import ids
from mailer.events import FINAL_STATES, NoticeState
from mailer.ids import first_id_at
from mailer.queue.notices import ABOUT
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare
from mailer.store.tables import (
    attempt,
    content,
    egress_stay,
    event,
    event_new,
    feedback,
    folded,
    greylisted,
    lane,
    message,
    message_tag,
    notice,
    past_recipient,
    recipient,
    suppressed,
    tenant_log,
)

_FINAL = sorted(FINAL_STATES)
# Mail that no host may have got is complained of by nobody.
_WAS_TRIED = or_(recipient.c.state == "delivered", recipient.c.in_doubt)


def _old_messages() -> Select[tuple[int, int, int, list[str], str, Any]]:
    """Older ids first; a message with a recipient still under way, or an event untold, stays."""
    under_way = (
        select(recipient.c.id)
        .where(recipient.c.message_id == message.c.id, recipient.c.state.not_in(_FINAL))
        .exists()
    )
    is_owed = (
        select(notice.c.recipient_id)
        .where(notice.c.message_id == message.c.id, notice.c.state == NoticeState.DUE)
        .exists()
    )
    return (
        select(
            message.c.id,
            message.c.content_id,
            message.c.tenant_id,
            message.c.tags,
            message.c.door,
            message.c.metadata,
        )
        .where(
            message.c.id < bindparam("before_id"),
            message.c.accepted_at < bindparam("before"),
            ~under_way,
            ~is_owed,
        )
        .order_by(message.c.id)
        .limit(bindparam("most"))
    )


_OLD = _old_messages()
_GOING = _OLD.with_for_update(skip_locked=True)


def drop_messages(store: Store, *, before: datetime, most: int = 200) -> int:
    """Drops finished messages accepted before then, and counts them for ever; returns how many."""
    limits = {"before": before, "before_id": first_id_at(int(before.timestamp() * 1000)), "most": most}
    with store.read() as connection:
        if connection.execute(_OLD, limits | {"most": 1}).first() is None:
            return 0
    with store.write() as connection:
        old = connection.execute(_GOING, limits).all()
        untold = set(
            connection.execute(
                select(event_new.c.message_id).where(event_new.c.message_id.in_([m.id for m in old]))
            ).scalars()
        )
        going = [m for m in old if m.id not in untold]
        if going:
            _drop_tags(connection, going)
            _drop(connection, [m.id for m in going], [m.content_id for m in going])
            _forget_carriers(connection, [m for m in going if m.door == "dsn"])
        return len(going)


def _drop(connection: Connection, going: Sequence[int], content_ids: Sequence[int]) -> None:
    counted = (
        select(recipient.c.tenant_id, recipient.c.state, func.count())
        .where(recipient.c.message_id.in_(going))
        .group_by(recipient.c.tenant_id, recipient.c.state)
    )
    rows = [
        {"tenant_id": tenant_id, "state": state, "recipients": n}
        for tenant_id, state, n in sorted(connection.execute(counted).all())
    ]
    new = dialect.insert(connection, folded)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["tenant_id", "state"],
            set_={"recipients": folded.c.recipients + new.excluded.recipients},
        ),
        rows,
    )
    connection.execute(delete(attempt).where(attempt.c.message_id.in_(going)))
    connection.execute(delete(notice).where(notice.c.message_id.in_(going)))
    theirs = select(recipient.c.id).where(recipient.c.message_id.in_(going))
    _remember(connection, going)
    connection.execute(delete(egress_stay).where(egress_stay.c.recipient_id.in_(theirs)))
    connection.execute(delete(suppressed).where(suppressed.c.recipient_id.in_(theirs)))
    connection.execute(delete(greylisted).where(greylisted.c.recipient_id.in_(theirs)))
    connection.execute(delete(recipient).where(recipient.c.message_id.in_(going)))
    connection.execute(delete(message).where(message.c.id.in_(going)))
    shared = select(message.c.content_id).where(message.c.content_id == content.c.id).exists()
    connection.execute(delete(content).where(content.c.id.in_(content_ids), ~shared))


def _remember(connection: Connection, going: Sequence[int]) -> None:
    """Of whom somebody may still complain (mailer/queue/returned.py): whose return-path was ours."""
    rest = (
        select(
            recipient.c.id, recipient.c.message_id, recipient.c.tenant_id, lane.c.stream_id,
            recipient.c.address, message.c.return_path_domain, recipient.c.version,
            func.coalesce(recipient.c.settled_at, recipient.c.first_due_at),
        )
        .join(message, message.c.id == recipient.c.message_id)
        .join(lane, lane.c.id == recipient.c.lane_id)
        .where(recipient.c.message_id.in_(going), message.c.return_path_domain != "", _WAS_TRIED)
    )  # fmt: skip
    columns = [column.name for column in past_recipient.c]
    connection.execute(past_recipient.insert().from_select(columns, rest))
    others = select(recipient.c.id).where(recipient.c.message_id.in_(going), ~_WAS_TRIED)
    connection.execute(delete(feedback).where(feedback.c.recipient_id.in_(others)))


def _drop_tags(connection: Connection, going: Sequence[Any]) -> None:
    """By their whole keys: no index begins with the message."""
    rows = [{"tenant": m.tenant_id, "word": tag, "of": m.id} for m in going for tag in m.tags]
    if rows:
        _DROP_TAG.many(connection, rows)


_TAG = bare(message_tag)
_DROP_TAG = Hot(
    delete(_TAG).where(
        _TAG.c.tenant_id == bindparam("tenant"),
        _TAG.c.tag == bindparam("word"),
        _TAG.c.message_id == bindparam("of"),
    )
)


def _forget_carriers(connection: Connection, dsns: Sequence[Any]) -> None:
    """Notices whose DSN goes before the message that it told of."""
    told_of = [ids.parse("msg", m.metadata[ABOUT]) for m in dsns]
    if told_of:
        forgotten = update(notice).where(
            notice.c.message_id.in_(told_of), notice.c.sent_as.in_([m.id for m in dsns])
        )
        connection.execute(forgotten.values(sent_as=None))


def drop_events(store: Store, *, before: datetime, most: int = 2000) -> int:
    """Drops the oldest numbers of each tenant's log that nobody needs; returns how many."""
    with store.read() as connection:
        ends = _droppable(connection, before, most)
    dropped = 0
    for tenant_id, (first, last) in ends.items():
        with store.write() as connection:
            log = select(tenant_log.c.first_number).where(tenant_log.c.tenant_id == tenant_id)
            if connection.execute(log.with_for_update()).scalar_one() != first:
                continue  # another sweeper was here
            old = delete(event).where(event.c.tenant_id == tenant_id, event.c.number.between(first, last))
            dropped += connection.execute(old).rowcount
            grown = update(tenant_log).where(tenant_log.c.tenant_id == tenant_id)
            connection.execute(grown.values(first_number=last + 1))
    return dropped


def _droppable(connection: Connection, before: datetime, most: int) -> dict[int, tuple[int, int]]:
    """Tenant to (first, last) number: a run from the log's start without a needed event in it."""
    kept = select(message.c.id).where(message.c.id == event.c.message_id).exists()
    runs: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for log in connection.execute(select(tenant_log)):
        head = (
            select(event.c.number, event.c.at, kept.label("kept"))
            .where(event.c.tenant_id == log.tenant_id, event.c.number >= log.first_number)
            .order_by(event.c.number)
            .limit(most)
        )
        last = log.first_number - 1
        for row in connection.execute(head):
            if row.kept or row.at >= before:
                break
            last = row.number
        if last >= log.first_number:
            runs[log.tenant_id] = (log.first_number, last)
    return dict(runs)
