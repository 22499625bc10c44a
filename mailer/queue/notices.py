"""DSNs that are owed: which are due and what they tell of; and paying one, in one transaction with the debt.

A notice is sent by the transaction that accepts the message which carries it, and by none else: the change
of its state is guarded, so that of two makers one finds it taken and writes nothing. After a COMMIT whose
answer was lost nobody has to ask whether it stands: what is still due is made anew, what is sent is not due.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, or_, select, update

from mailer.events import AttemptState, NoticeKind, NoticeState, RecipientState
from mailer.ids import IdMaker
from mailer.policy.notices import Tried
from mailer.queue import enqueue
from mailer.queue.enqueue import LaneBook, NewMessage
from mailer.store import Store
from mailer.store.bare import Hot, bare
from mailer.store.tables import attempt, content, message, notice, recipient, stream, tenant

ABOUT = "about"  # in the metadata of a DSN: the id of the message that it tells of


@dataclass(frozen=True, slots=True, kw_only=True)
class LastTry:
    """The attempt that decided, as it is kept (columns of `attempt`); a late reply in place of none."""

    tried: Tried
    reply: str | None
    host: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A recipient that is told of. last_try: None if none was made."""

    recipient_id: int
    address: str
    orcpt: str | None
    state: str
    in_doubt: bool
    last_reply: str | None
    first_due_at: datetime
    expires_at: datetime | None
    last_try: LastTry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Notices of one kind about one message: one DSN. The names are those of columns."""

    kind: NoticeKind
    message_id: int
    tenant_id: int
    failure_notices: str
    stream_kind: str
    door: str
    mail_from: str | None
    ret: str | None
    envid: str | None
    subject: str
    rfc_message_id: str
    accepted_at: datetime
    content_id: int
    tls: str | None
    about: Sequence[Subject]


# Written out: a partial index is used only for a condition that can be read.
_IS_DUE = notice.c.state == literal_column("'due'")
_DUE = (
    select(
        notice.c.kind,
        notice.c.created_at,
        recipient.c.id.label("recipient_id"),
        recipient.c.address,
        recipient.c.orcpt,
        recipient.c.state,
        recipient.c.in_doubt,
        recipient.c.last_reply,
        recipient.c.first_due_at,
        recipient.c.expires_at,
        message.c.id.label("message_id"),
        message.c.tenant_id,
        tenant.c.failure_notices,
        stream.c.kind.label("stream_kind"),
        message.c.door,
        message.c.mail_from,
        message.c.ret,
        message.c.envid,
        message.c.subject,
        message.c.rfc_message_id,
        message.c.accepted_at,
        message.c.content_id,
        message.c.tls,
    )
    .join(recipient, recipient.c.id == notice.c.recipient_id)
    .join(message, message.c.id == notice.c.message_id)
    .join(stream, stream.c.id == message.c.stream_id)
    .join(tenant, tenant.c.id == message.c.tenant_id)
    .where(_IS_DUE)
    .order_by(notice.c.recipient_id)
    .limit(bindparam("most"))
)
_OF_MESSAGE = [name for name in Due.__slots__ if name not in ("kind", "about")]
# Not its conversation, which may be long.
_OF_ATTEMPT = [
    attempt.c[name]
    for name in (
        "recipient_id", "state", "outcome", "phase", "code", "status", "reply", "host", "closed_at",
        "late_code", "late_reply",
    )
]  # fmt: skip
_UNDER_WAY = (RecipientState.QUEUED, RecipientState.LEASED)


def due(store: Store, *, most: int, before: datetime) -> list[Due]:
    """What to make now of the first `most` notices that are due.

    before  those owed since then wait while others of their message are queued or being delivered: they may
            end alike, and be told of together
    """
    with store.read() as connection:
        rows = connection.execute(_DUE, {"most": most}).all()
        if not rows:
            return []
        groups: dict[tuple[int, str], list[Any]] = defaultdict(list)
        for row in rows:
            groups[row.message_id, row.kind].append(row)
        young = {key[0] for key, found in groups.items() if min(r.created_at for r in found) >= before}
        waits = _with_more_to_come(connection, young)
        ripe = [found for (message_id, _), found in groups.items() if message_id not in waits]
        tries = _last_tries(connection, [row for found in ripe for row in found])
    return [_due(found, tries) for found in ripe]


def _with_more_to_come(connection: Connection, message_ids: Iterable[int]) -> set[int]:
    under_way = (
        select(recipient.c.message_id)
        .where(recipient.c.message_id.in_(list(message_ids)), recipient.c.state.in_(_UNDER_WAY))
        .distinct()
    )
    return set(connection.execute(under_way).scalars())


def _last_tries(connection: Connection, rows: Sequence[Any]) -> Mapping[int, LastTry]:
    """By recipient: the last attempt that counted, or whose answer came late."""
    told = select(*_OF_ATTEMPT).where(
        attempt.c.message_id.in_({row.message_id for row in rows}),
        attempt.c.recipient_id.in_([row.recipient_id for row in rows]),
        or_(
            attempt.c.state.in_([AttemptState.SETTLED, AttemptState.IN_DOUBT]),
            attempt.c.late_code.is_not(None),
        ),
    )
    return {a.recipient_id: _last_try(a) for a in connection.execute(told.order_by(attempt.c.id))}


def _last_try(a: Any) -> LastTry:
    heard_late = a.late_code is not None and a.code is None
    return LastTry(
        tried=Tried(
            state=a.state,
            outcome=a.outcome,
            phase=a.phase,
            code=a.late_code if heard_late else a.code,
            status=a.status,
        ),
        reply=a.late_reply if heard_late else a.reply,
        host=a.host,
        closed_at=a.closed_at,
    )


def _due(found: Sequence[Any], tries: Mapping[int, LastTry]) -> Due:
    about = [
        Subject(
            recipient_id=r.recipient_id,
            address=r.address,
            orcpt=r.orcpt,
            state=r.state,
            in_doubt=r.in_doubt,
            last_reply=r.last_reply,
            first_due_at=r.first_due_at,
            expires_at=r.expires_at,
            last_try=tries.get(r.recipient_id),
        )
        for r in found
    ]
    first = found[0]._mapping
    return Due(kind=NoticeKind(first["kind"]), about=about, **{name: first[name] for name in _OF_MESSAGE})


def header_of(store: Store, content_id: int) -> tuple[bytes, bool, int]:
    """The header of a message, whether it needs SMTPUTF8, and the octets of the whole."""
    wanted = select(content.c.headers, content.c.needs_utf8, content.c.size_bytes)
    with store.read() as connection:
        row = connection.execute(wanted.where(content.c.id == content_id)).one()
    return row.headers, row.needs_utf8, row.size_bytes


class _Taken(Exception):
    """Another maker was first."""


_NOTICE = bare(notice)
_END = Hot(
    update(_NOTICE)
    .where(
        _NOTICE.c.recipient_id == bindparam("rcpt"),
        _NOTICE.c.kind == bindparam("of_kind"),
        _NOTICE.c.state == literal_column("'due'"),
    )
    .values(state=bindparam("to_state"), reason=bindparam("why"), sent_as=bindparam("carrier"))
)


def send(
    store: Store,
    owed: Due,
    carrier: NewMessage,
    *,
    lanes: LaneBook,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> bool:
    """Accepts the DSN and marks what it tells of as sent; False if another maker was first with any of it."""
    try:
        with store.write() as connection:
            _end(connection, owed, NoticeState.SENT, carrier=carrier.id)
            made = enqueue.insert_messages(
                connection, [carrier], lanes=lanes, new_id=new_id, process_number=process_number, now=now
            )
    except _Taken:
        return False
    lanes.remember(made)
    return True


def drop(store: Store, owed: Due, why: str) -> bool:
    """Marks the notices as dropped, for this reason; False if another maker was first."""
    try:
        with store.write() as connection:
            _end(connection, owed, NoticeState.DROPPED, why=why)
    except _Taken:
        return False
    return True


def _end(
    connection: Connection,
    owed: Due,
    state: NoticeState,
    *,
    why: str | None = None,
    carrier: int | None = None,
) -> None:
    """In order of recipients, so that two makers cannot wait for each other in a circle. Raises _Taken."""
    rows = [
        {"rcpt": i, "of_kind": owed.kind, "to_state": state, "why": why, "carrier": carrier}
        for i in sorted(s.recipient_id for s in owed.about)
    ]
    if _END.many(connection, rows) != len(rows):
        raise _Taken
