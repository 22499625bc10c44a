"""Why a message is where it is: every decision of its life, in order, with its reason and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from mailer import ids
from mailer.events import AttemptState, EventType, NoticeState, RecipientState, WaitReason
from mailer.policy.notices import Dropped
from mailer.queue import read
from mailer.queue.read import AttemptView, EventView, MessageView, NoticeView, RecipientView
from mailer.store import Store
from mailer.store.tables import incarnation, lane, message, recipient

_WHY = {
    WaitReason.NEW: "it was accepted and waits for a worker with a free connection to its site",
    WaitReason.SCHEDULED: "its send time lies ahead",
    WaitReason.REFUSED: "the peer deferred it",
    WaitReason.BROKEN: "the connection was lost, or no reply came, before the final dot",
    WaitReason.UNROUTABLE: "the DNS gave no answer for its domain",
    WaitReason.TLS_FAILED: "a TLS handshake failed, and clear text is not yet an option",
    WaitReason.IN_DOUBT: "the final dot was sent and its answer not heard; the stream says to try again",
    WaitReason.WORKER_LOST: "its worker died before sending it; no attempt was counted",
    WaitReason.RELEASED: "its worker stopped before dialling; no attempt was counted",
    WaitReason.RETRY_ASKED: "its tenant asked for a try now; it waits for a worker with a free connection",
    WaitReason.NO_PERMIT: "all connections its site takes are in use; no attempt was counted",
    WaitReason.HELD: "an operator, or a fault of this installation, holds it",
}


_UNSENT = {
    Dropped.EVENTS_ONLY: "its tenant wants events only",
    Dropped.NULL_REVERSE_PATH: "the message came with a null reverse-path",
    Dropped.ABOUT_A_DSN: "it would tell of a notice",
    Dropped.FOREIGN_REVERSE_PATH: "its reverse-path is in no active sending domain of its tenant",
    Dropped.OVERTAKEN: "the recipient had ended before its submitter could be told of the delay",
    Dropped.NO_OPERATOR_DOMAIN: "there is no active MAILER_OPERATOR_DOMAIN to send it from",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One decision. until: when it ends by itself, None if it does not, or is past."""

    at: datetime | None
    what: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A recipient's life; `now` says what it waits for, or how it ended."""

    recipient_id: int
    address: str
    state: str
    past: Sequence[Line]
    now: Line


def explain(store: Store, tenant_id: int, message_id: int) -> list[Explanation] | None:
    """One explanation a recipient; None if the message is not the tenant's."""
    view = read.message_of(store, tenant_id, message_id)
    if view is None:
        return None
    where = _where(store, message_id)
    return [_explain(view, r, where[r.id]) for r in view.recipients]


def tenant_of(store: Store, message_id: int) -> int | None:
    """For the operator, who may look at every tenant's messages."""
    with store.read() as connection:
        return connection.execute(select(message.c.tenant_id).where(message.c.id == message_id)).scalar()


def _where(store: Store, message_id: int) -> dict[int, Any]:
    """Lane, site and holder of each recipient."""
    found = (
        select(recipient.c.id, lane.c.domain, lane.c.site, recipient.c.holder, incarnation.c.pid)
        .join(lane, lane.c.id == recipient.c.lane_id)
        .outerjoin(incarnation, incarnation.c.id == recipient.c.holder)
        .where(recipient.c.message_id == message_id)
    )
    with store.read() as connection:
        return {row.id: row for row in connection.execute(found)}


def _explain(view: MessageView, r: RecipientView, where: Any) -> Explanation:
    past = [_accepted(view, r, where)]
    past += [line for a in r.tries for line in _tried(a)]
    told = [e for e in view.events if e.recipient_id == r.id and e.type != EventType.ACCEPTED]
    past += [_told(e) for e in told]
    past += [_noticed(n) for n in r.notices]
    past.sort(key=lambda line: line.at or view.accepted_at)
    return Explanation(r.id, r.address, r.state, past, _present(r, where))


def _accepted(view: MessageView, r: RecipientView, where: Any) -> Line:
    if r.retry_of is not None:
        first = next((e.at for e in view.events if e.recipient_id == r.id), view.accepted_at)
        again = f"the tenant asked for another try of {ids.show('rcpt', r.retry_of)}"
        return Line(first, "accepted again", again)
    return Line(
        view.accepted_at,
        "accepted",
        f"committed in stream {view.stream}, lane of {where.domain};"
        f" From {view.header_from.rsplit('@', 1)[-1]} is a sending domain of the tenant",
    )


def _tried(a: AttemptView) -> list[Line]:
    if a.state == AttemptState.RELEASED:
        return [Line(a.closed_at, "claim released", a.reply or "not dialled; not counted as an attempt")]
    opened = Line(a.opened_at, "claimed", "a worker had a permit for its site and opened an attempt")
    if a.state == AttemptState.OPEN:
        return [opened]
    peer = f"{a.host} [{a.address}]" if a.host else "no host"
    over = f" over {a.tls}" if a.tls else (" in clear" if a.host else "")
    words = [w for w in (a.phase and f"in phase {a.phase}", a.reply) if w]
    heard = "; ".join(words) or "no reply"
    lines = [opened, Line(a.closed_at, f"attempt {a.outcome}", f"{peer}{over}: {heard}")]
    if a.state == AttemptState.IN_DOUBT:
        lines.append(Line(a.closed_at, "in doubt", "the peer may hold the message: a repeat may double it"))
    if a.late_reply:
        lines.append(Line(None, "late reply", a.late_reply))
    return lines


def _told(e: EventView) -> Line:
    reason = e.data.get("reason") or e.data.get("reply") or ""
    number = f"event {e.number}" if e.number is not None else "event not yet numbered"
    return Line(e.at, e.type, f"{reason} ({number})".strip())


def _noticed(n: NoticeView) -> Line:
    what = f"DSN {n.kind}: {n.state}"
    match n.state:
        case NoticeState.DUE:
            return Line(n.created_at, what, "its submitter is told of this soon")
        case NoticeState.SENT:
            return Line(n.created_at, what, "a notice to its submitter was queued")
        case _:
            return Line(n.created_at, what, _UNSENT[Dropped(n.reason or "")])


def _present(r: RecipientView, where: Any) -> Line:
    match r.state:
        case RecipientState.QUEUED:
            site = where.site or f"{where.domain}, not yet resolved"
            return Line(None, "waits to be claimed", f"{_why(r)}; site {site}", r.due_at)
        case RecipientState.DEFERRED:
            return Line(None, "waits for its due time", _with_reply(_why(r), r.last_reply), r.due_at)
        case RecipientState.HELD:
            return Line(None, "is held", _with_reply(_why(r), r.last_reply))
        case RecipientState.LEASED:
            return Line(None, "is being delivered", f"held by worker {where.holder} (pid {where.pid})")
        case _:
            doubt = "; an earlier attempt in doubt may have delivered it as well" if r.in_doubt else ""
            return Line(r.settled_at, f"ended: {r.state}", (r.last_reply or "no reply") + doubt)


def _why(r: RecipientView) -> str:
    return _WHY[WaitReason(r.wait_reason)] if r.wait_reason else "no reason is on record"


def _with_reply(why: str, reply: str | None) -> str:
    return f"{why}: {reply}" if reply else why


def as_json(explanations: Sequence[Explanation]) -> list[Mapping[str, Any]]:
    """Plain objects for the API and `mailer explain --json`."""
    return [
        {
            "recipient_id": e.recipient_id,
            "address": e.address,
            "state": e.state,
            "past": [_line(line) for line in e.past],
            "now": _line(e.now),
        }
        for e in explanations
    ]


def _line(line: Line) -> Mapping[str, Any]:
    return {"at": line.at, "what": line.what, "reason": line.reason, "until": line.until}
