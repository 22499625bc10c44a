"""Looking: a message with its recipients, attempts and events; the event log; gauges. Nothing is changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from mailer.events import FINAL_STATES, RecipientState
from mailer.store import Store
from mailer.store.tables import (
    attempt,
    content,
    event,
    event_new,
    folded,
    incarnation,
    message,
    meta,
    notice,
    recipient,
    stream,
    tenant_log,
    usage,
)


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One try. steps: [milliseconds, who, line] of the SMTP conversation."""

    id: int
    state: str
    opened_at: datetime
    closed_at: datetime | None
    outcome: str | None
    phase: str | None
    code: int | None
    status: str | None
    reply: str | None
    site: str | None
    host: str | None
    address: str | None
    egress_ip: str | None
    tls: str | None
    late_reply: str | None
    steps: Sequence[tuple[float, str, str]]


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A DSN that its submitter is owed, was sent, or was not, and then why (columns of `notice`)."""

    kind: str
    state: str
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RecipientView:
    id: int
    address: str
    kind: str
    state: str
    wait_reason: str | None
    due_at: datetime | None
    attempts: int
    last_reply: str | None
    in_doubt: bool
    settled_at: datetime | None
    retry_of: int | None
    tries: Sequence[AttemptView]
    notices: Sequence[NoticeView]


@dataclass(frozen=True, slots=True)
class EventView:
    """number: in the tenant's log; None until the fan-out has numbered it."""

    number: int | None
    id: int
    type: str
    at: datetime
    message_id: int | None
    recipient_id: int | None
    version: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MessageView:
    id: int
    stream: str
    header_from: str
    subject: str
    rfc_message_id: str
    tags: Sequence[str]
    metadata: Mapping[str, str]
    accepted_at: datetime
    due_at: datetime
    size_bytes: int
    recipients: Sequence[RecipientView]
    events: Sequence[EventView]


@dataclass(frozen=True, slots=True)
class EventPage:
    """epoch changes when a backup was restored: numbers of another epoch mean other events."""

    epoch: str
    events: Sequence[EventView]
    last_number: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A message in a list."""

    id: int
    accepted_at: datetime
    header_from: str
    subject: str
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Gauges:
    """recipients by state; age of the oldest one due; recipients the equation misses; live processes."""

    recipients: Mapping[str, int]
    oldest_due_seconds: float
    unaccounted: int
    live: Mapping[str, int]
    unnumbered_events: int


def message_of(store: Store, tenant_id: int, message_id: int) -> MessageView | None:
    """The message as its tenant may see it; None if it is not the tenant's."""
    wanted = (
        select(message, stream.c.name.label("stream_name"), content.c.size_bytes)
        .join(stream, stream.c.id == message.c.stream_id)
        .join(content, content.c.id == message.c.content_id)
        .where(message.c.id == message_id, message.c.tenant_id == tenant_id)
    )
    with store.read() as connection:
        row = connection.execute(wanted).first()
        if row is None:
            return None
        return MessageView(
            row.id, row.stream_name, row.header_from, row.subject, row.rfc_message_id, row.tags, row.metadata,
            row.accepted_at, row.due_at, row.size_bytes,
            _recipients(connection, message_id), _events_of(connection, message_id),
        )  # fmt: skip


def _recipients(connection: Connection, message_id: int) -> list[RecipientView]:
    tries: dict[int, list[AttemptView]] = defaultdict(list)
    for a in connection.execute(
        select(attempt).where(attempt.c.message_id == message_id).order_by(attempt.c.id)
    ):
        tries[a.recipient_id].append(
            AttemptView(
                a.id,
                a.state,
                a.opened_at,
                a.closed_at,
                a.outcome,
                a.phase,
                a.code,
                a.status,
                a.reply,
                a.site,
                a.host,
                a.address,
                a.egress_ip,
                a.tls,
                a.late_reply,
                a.steps or (),
            )
        )
    owed: dict[int, list[NoticeView]] = defaultdict(list)
    for n in connection.execute(
        select(notice).where(notice.c.message_id == message_id).order_by(notice.c.created_at, notice.c.kind)
    ):
        owed[n.recipient_id].append(NoticeView(n.kind, n.state, n.reason, n.created_at))
    rows = connection.execute(
        select(recipient).where(recipient.c.message_id == message_id).order_by(recipient.c.id)
    )
    return [
        RecipientView(
            r.id,
            r.address,
            r.kind,
            r.state,
            r.wait_reason,
            None if r.state in FINAL_STATES else r.due_at,
            r.attempts,
            r.last_reply,
            r.in_doubt,
            r.settled_at,
            r.retry_of,
            tries[r.id],
            owed[r.id],
        )
        for r in rows
    ]


def _events_of(connection: Connection, message_id: int) -> list[EventView]:
    numbered = connection.execute(
        select(event).where(event.c.message_id == message_id).order_by(event.c.number)
    )
    told = [_view(row, row.number) for row in numbered]
    fresh = connection.execute(
        select(event_new).where(event_new.c.message_id == message_id).order_by(event_new.c.seq)
    )
    return told + [_view(row, None) for row in fresh]


def _view(row: Any, number: int | None) -> EventView:
    return EventView(
        number, row.id, row.type, row.at, row.message_id, row.recipient_id, row.version, row.data
    )


def events(store: Store, tenant_id: int, *, after: int, limit: int, types: Collection[str] = ()) -> EventPage:
    """Numbered events with number > `after`, in order. `last_number`: where to go on."""
    page = select(event).where(event.c.tenant_id == tenant_id, event.c.number > after)
    if types:
        page = page.where(event.c.type.in_(list(types)))
    with store.read() as connection:
        # The end of the log is read first: what is appended in between is left to the next page.
        end = connection.execute(
            select(tenant_log.c.last_number).where(tenant_log.c.tenant_id == tenant_id)
        ).scalar()
        bounded = page.where(event.c.number <= (end or 0)).order_by(event.c.number).limit(limit)
        rows = connection.execute(bounded).all()
        epoch = connection.execute(select(meta.c.value).where(meta.c.key == "log_epoch")).scalar_one()
    last = rows[-1].number if len(rows) == limit else max(after, end or 0)
    return EventPage(epoch, [_view(row, row.number) for row in rows], last)


def newest(store: Store, tenant_id: int | None, *, limit: int) -> list[Summary]:
    """The newest messages, of one tenant or of all."""
    page = select(message).order_by(message.c.id.desc()).limit(limit)
    if tenant_id is not None:
        page = page.where(message.c.tenant_id == tenant_id)
    with store.read() as connection:
        rows = connection.execute(page).all()
        states: dict[int, dict[str, int]] = defaultdict(dict)
        counted = (
            select(recipient.c.message_id, recipient.c.state, func.count())
            .where(recipient.c.message_id.in_([row.id for row in rows]))
            .group_by(recipient.c.message_id, recipient.c.state)
        )
        for message_id, state, n in connection.execute(counted):
            states[message_id][state] = n
    return [Summary(r.id, r.accepted_at, r.header_from, r.subject, states[r.id]) for r in rows]


_WAITING = {
    state: recipient.c.state == literal_column(f"'{state}'")
    for state in (RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.LEASED)
}


def gauges(store: Store, *, now: datetime) -> Gauges:
    """For metrics: every figure is read from the rows that are the truth, not from a counter beside them."""
    with store.read() as connection:
        by_state = {
            state: n
            for state, n in connection.execute(
                select(recipient.c.state, func.count()).group_by(recipient.c.state)
            )
        }
        due = [
            connection.execute(select(func.min(recipient.c.due_at)).where(is_waiting)).scalar()
            for is_waiting in (_WAITING[RecipientState.QUEUED], _WAITING[RecipientState.DEFERRED])
        ]
        live = select(incarnation.c.role, func.count()).where(incarnation.c.state == "live")
        roles = {role: n for role, n in connection.execute(live.group_by(incarnation.c.role))}
        fresh = connection.execute(select(func.count()).select_from(event_new)).scalar_one()
        missing = _unaccounted(connection, by_state)
    oldest = min((at for at in due if at is not None), default=now)
    return Gauges(by_state, max(0.0, (now - oldest).total_seconds()), missing, roles, fresh)


def _unaccounted(connection: Connection, by_state: Mapping[str, int]) -> int:
    """accepted - (final + in queue), over all tenants: 0, or something was lost or doubled."""
    accepted = connection.execute(select(func.coalesce(func.sum(usage.c.accepted), 0))).scalar_one()
    dropped = connection.execute(select(func.coalesce(func.sum(folded.c.recipients), 0))).scalar_one()
    return int(accepted) - int(dropped) - sum(by_state.values())
