"""The promise, recounted: every accepted recipient is in exactly one place, and every change was told.

`accepted = delivered + bounced + expired + cancelled + suppressed + in queue`, per tenant, and the rows,
the usage counters, the attempts and the event log must say the same. They are written in the same
transactions, so any difference is a defect of ours or damage to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, case, func, or_, select, union_all

from mailer.events import FINAL_STATES, AttemptState, NoticeState, RecipientState
from mailer.queue import callbacks
from mailer.store import Store, dialect
from mailer.store.tables import (
    attempt,
    content,
    event,
    event_new,
    feedback,
    folded,
    incarnation,
    lane,
    message,
    message_tag,
    notice,
    recipient,
    returned_content,
    returned_mail,
    suppressed,
    tenant,
    tenant_log,
    usage,
)

_FINAL: list[str] = sorted(FINAL_STATES)
_HEARD_BOUNCES = ("bounced", "bounced_elsewhere")  # mailer/report/consequences.py


@dataclass(frozen=True, slots=True)
class Check:
    """One claim about the whole database; `faults` of its rows break it."""

    name: str
    holds: bool
    detail: str
    faults: int


@dataclass(frozen=True, slots=True)
class TenantCount:
    """The equation of one tenant. `unaccounted` must be 0."""

    tenant_id: int
    name: str
    accepted: int
    final: Mapping[str, int]
    in_queue: int
    unaccounted: int


@dataclass(frozen=True, slots=True)
class Verdict:
    holds: bool
    checks: list[Check]
    tenants: list[TenantCount]


def verify(store: Store) -> Verdict:
    """Recounts everything in one snapshot. Cost grows with the rows kept.

    Run it while work goes on: each check compares rows that change in the same transaction.
    """
    with store.read() as connection:
        tenants = [_count(connection, t.id, t.name) for t in connection.execute(select(tenant))]
        off = [t for t in tenants if t.unaccounted]
        equation = Check(
            "every accepted recipient is final or in the queue",
            not off,
            "; ".join(f"tenant {t.name}: {t.unaccounted} unaccounted" for t in off) or _total(tenants),
            sum(abs(t.unaccounted) for t in off),
        )
        checks = [equation, *(_check(connection, name, find()) for name, find in _CHECKS.items())]
    return Verdict(all(c.holds for c in checks), checks, tenants)


def _total(tenants: list[TenantCount]) -> str:
    accepted, queued = sum(t.accepted for t in tenants), sum(t.in_queue for t in tenants)
    return f"{accepted} accepted, {accepted - queued} final, {queued} in the queue"


def _count(connection: Connection, tenant_id: int, name: str) -> TenantCount:
    """One statement, so that counters and rows are of the same instant on both engines."""
    accepted = select(func.coalesce(func.sum(usage.c.accepted), 0)).where(usage.c.tenant_id == tenant_id)
    rows = (
        select(recipient.c.state, func.count().label("n"))
        .where(recipient.c.tenant_id == tenant_id)
        .group_by(recipient.c.state)
    )
    dropped = select(folded.c.state, folded.c.recipients.label("n")).where(folded.c.tenant_id == tenant_id)
    both = union_all(rows, dropped).subquery()
    states = select(both.c.state, both.c.n, accepted.scalar_subquery().label("accepted"))
    final: dict[str, int] = dict.fromkeys(_FINAL, 0)
    in_queue = total = 0
    for state, n, total in connection.execute(states):  # noqa: B007
        if state in final:
            final[state] += n
        else:
            in_queue += n
    if not in_queue and not any(final.values()):
        total = connection.execute(accepted).scalar_one()
    unaccounted = int(total) - sum(final.values()) - in_queue
    return TenantCount(tenant_id, name, int(total), final, in_queue, unaccounted)


def _check(connection: Connection, name: str, broken: Select[tuple[int]]) -> Check:
    faults = connection.execute(select(func.count()).select_from(broken.subquery())).scalar_one()
    return Check(name, not faults, f"{faults} rows break it" if faults else "holds", faults)


def _messages_short_of_recipients() -> Select[tuple[int]]:
    return (
        select(message.c.id)
        .outerjoin(recipient, recipient.c.message_id == message.c.id)
        .group_by(message.c.id, message.c.recipient_count)
        .having(func.count(recipient.c.id) != message.c.recipient_count)
    )


def _messages_without_content() -> Select[tuple[int]]:
    return (
        select(message.c.id)
        .outerjoin(content, content.c.id == message.c.content_id)
        .where(content.c.id.is_(None))
    )


def _recipients_without_lane() -> Select[tuple[int]]:
    return select(recipient.c.id).outerjoin(lane, lane.c.id == recipient.c.lane_id).where(lane.c.id.is_(None))


def _leases_out_of_order() -> Select[tuple[int]]:
    """A leased recipient has exactly one open attempt, its holder's; any other has none."""
    is_leased = recipient.c.state == RecipientState.LEASED
    opened = (
        select(attempt.c.id)
        .where(
            attempt.c.id == recipient.c.attempt_id,
            attempt.c.state == AttemptState.OPEN,
            attempt.c.incarnation_id == recipient.c.holder,
        )
        .exists()
    )
    return select(recipient.c.id).where(
        or_(and_(is_leased, ~opened), and_(~is_leased, recipient.c.holder.is_not(None)))
    )


def _open_attempts_of_nobody() -> Select[tuple[int]]:
    held = (
        select(recipient.c.id)
        .where(recipient.c.id == attempt.c.recipient_id, recipient.c.attempt_id == attempt.c.id)
        .exists()
    )
    return select(attempt.c.id).where(attempt.c.state == AttemptState.OPEN, ~held)


def _leases_of_the_unknown() -> Select[tuple[int]]:
    known = select(incarnation.c.id).where(incarnation.c.id == recipient.c.holder).exists()
    return select(recipient.c.id).where(recipient.c.state == RecipientState.LEASED, ~known)


def _attempts_miscounted() -> Select[tuple[int]]:
    counted = (
        select(func.count())
        .where(
            attempt.c.recipient_id == recipient.c.id,
            attempt.c.message_id == recipient.c.message_id,
            attempt.c.state.in_([AttemptState.SETTLED, AttemptState.IN_DOUBT]),
        )
        .correlate(recipient)
        .scalar_subquery()
    )
    return select(recipient.c.id).where(counted != recipient.c.attempts)


def _recipients_told_wrongly() -> Select[tuple[int]]:
    """One event for every version; one final event exactly when the state is final.

    A bounce that came back later is told by the same word, and on record as heard.
    """
    both = union_all(
        select(event.c.recipient_id, event.c.type, event.c.version),
        select(event_new.c.recipient_id, event_new.c.type, event_new.c.version),
    ).subquery()
    told = (
        select(
            both.c.recipient_id,
            func.count().label("n"),
            func.count(both.c.version.distinct()).label("versions"),
            func.sum(case((both.c.type.in_(_FINAL), 1), else_=0)).label("finals"),
        )
        .where(both.c.recipient_id.is_not(None))
        .group_by(both.c.recipient_id)
        .subquery()
    )
    is_final = case((recipient.c.state.in_(_FINAL), 1), else_=0)
    heard = (
        select(func.count())
        .where(feedback.c.recipient_id == recipient.c.id, feedback.c.type.in_(_HEARD_BOUNCES))
        .correlate(recipient)
        .scalar_subquery()
    )
    return (
        select(recipient.c.id)
        .outerjoin(told, told.c.recipient_id == recipient.c.id)
        .where(
            or_(
                told.c.n.is_(None),
                told.c.n != recipient.c.version,
                told.c.versions != recipient.c.version,
                told.c.finals != is_final + heard,
            )
        )
    )


def _logs_with_gaps() -> Select[tuple[int]]:
    log = tenant_log.c
    kept = log.last_number - log.first_number + 1
    return (
        select(log.tenant_id)
        .outerjoin(event, event.c.tenant_id == log.tenant_id)
        .group_by(log.tenant_id, log.last_number, log.first_number)
        .having(
            or_(
                func.count(event.c.number) != kept,
                func.coalesce(func.max(event.c.number), log.last_number) != log.last_number,
                func.coalesce(func.min(event.c.number), log.first_number) != log.first_number,
            )
        )
    )


def _messages_tagged_wrongly() -> Select[tuple[int]]:
    """As many words to find a message by as it has tags, and none of a message that is not there."""
    filed = (
        select(message_tag.c.message_id, message_tag.c.tenant_id, func.count().label("n"))
        .group_by(message_tag.c.message_id, message_tag.c.tenant_id)
        .subquery()
    )
    of_this = and_(filed.c.message_id == message.c.id, filed.c.tenant_id == message.c.tenant_id)
    short = (
        select(message.c.id)
        .outerjoin(filed, of_this)
        .where(dialect.ListLength(message.c.tags) != func.coalesce(filed.c.n, 0))
    )
    stray = select(filed.c.message_id).outerjoin(message, of_this).where(message.c.id.is_(None))
    both = union_all(short, stray).subquery()
    return select(both.c.id)


def _waiting_without_a_reason() -> Select[tuple[int]]:
    waits = recipient.c.state.in_([RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.HELD])
    return select(recipient.c.id).where(waits, recipient.c.wait_reason.is_(None))


def _notices_astray() -> Select[tuple[int]]:
    """Each names a recipient to tell of; one that was sent its carrier, one that was dropped its reason."""
    told_of = select(recipient.c.id).where(recipient.c.id == notice.c.recipient_id).exists()
    carried = select(message.c.id).where(message.c.id == notice.c.sent_as).exists()
    is_due, is_dropped = notice.c.state == NoticeState.DUE, notice.c.state == NoticeState.DROPPED
    return select(notice.c.recipient_id).where(
        or_(
            ~told_of,
            and_(is_due, or_(notice.c.sent_as.is_not(None), notice.c.reason.is_not(None))),
            and_(is_dropped, notice.c.reason.is_(None)),
            and_(notice.c.sent_as.is_not(None), ~carried),
        )
    )


def _returned_astray() -> Select[tuple[int]]:
    """Each has what came; one that is held, a reader that is known."""
    came = select(returned_content.c.id).where(returned_content.c.id == returned_mail.c.content_id).exists()
    known = select(incarnation.c.id).where(incarnation.c.id == returned_mail.c.holder).exists()
    is_held = returned_mail.c.state == "held"
    return select(returned_mail.c.id).where(or_(~came, and_(is_held, ~known)))


def _stopped_and_not_suppressed() -> Select[tuple[int]]:
    return (
        select(suppressed.c.recipient_id)
        .outerjoin(recipient, recipient.c.id == suppressed.c.recipient_id)
        .where(or_(recipient.c.id.is_(None), recipient.c.state != RecipientState.SUPPRESSED))
    )


_CHECKS: dict[str, Callable[[], Select[tuple[int]]]] = {
    "every message has the recipients it was accepted with": _messages_short_of_recipients,
    "every message has its content": _messages_without_content,
    "every mail that came back is kept, and read by a known reader": _returned_astray,
    "every recipient has a lane": _recipients_without_lane,
    "leased recipients have one open attempt, others have no holder": _leases_out_of_order,
    "every open attempt belongs to a leased recipient": _open_attempts_of_nobody,
    "every lease is held by a known incarnation": _leases_of_the_unknown,
    "counted attempts are on record": _attempts_miscounted,
    "every change was told once, and every final state exactly once": _recipients_told_wrongly,
    "event numbers have no gaps": _logs_with_gaps,
    "whatever waits says why": _waiting_without_a_reason,
    "messages are found by their tags": _messages_tagged_wrongly,
    "whom a suppression stopped is suppressed": _stopped_and_not_suppressed,
    "every notice has whom it tells of, and what carried it": _notices_astray,
    **callbacks.CHECKS,
}
