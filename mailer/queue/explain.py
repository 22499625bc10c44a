"""Why a message is where it is: every decision of its life, in order, with its reason and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from mailer import ids
from mailer.events import FINAL_STATES, AttemptState, EventType, NoticeState, RecipientState, WaitReason
from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.notices import Dropped
from mailer.policy.tls import wanted_by
from mailer.queue import obstacles, poolmoves, read
from mailer.queue.obstacles import MOST_COUNTED, Knowledge, Look, Obstacle, Waiting
from mailer.queue.read import AttemptView, EventView, MessageView, NoticeView, RecipientView
from mailer.queue.selection import Place
from mailer.store import Store
from mailer.store.tables import incarnation, lane, message, recipient, stream

_WHY = {
    WaitReason.NEW: "it was accepted and waits for a worker with a free connection to its site",
    WaitReason.SCHEDULED: "its send time lies ahead",
    WaitReason.REFUSED: "the peer deferred it",
    WaitReason.BROKEN: "the connection was lost, or no reply came, before the final dot",
    WaitReason.UNROUTABLE: "the DNS gave no answer for its domain",
    WaitReason.TLS_FAILED: "no host proved what is asked of its TLS, or a handshake failed",
    WaitReason.IN_DOUBT: "the final dot was sent and its answer not heard; the stream says to try again",
    WaitReason.WORKER_LOST: "its worker died before sending it; no attempt was counted",
    WaitReason.RELEASED: "its worker stopped before dialling; no attempt was counted",
    WaitReason.RETRY_ASKED: "its tenant asked for a try now; it waits for a worker with a free connection",
    WaitReason.NO_PERMIT: "all connections its site takes are in use; no attempt was counted",
    WaitReason.LIMITED: "its turn under a ceiling over time passed unused; no attempt was counted",
    WaitReason.WARMUP: "the IPs it may go out from are warming up and had their share of the day",
    WaitReason.SUSPENDED: "its site does not want our IPs at the moment",
    WaitReason.NO_EGRESS: "no IP of its pool is active and on a live host; no attempt was counted",
    WaitReason.HELD: "a fault of this installation holds it, until it is mended and requeued",
}

_LEAST_COUNTED = 100  # of what stands ahead of each of many recipients
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
class Judged:
    """What was made of what was heard last, as its event has it. rule: that decided; None: none knew it."""

    bounce_class: BounceClass
    action: Action
    blame: Blame
    rule: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A recipient's life. now: what it waits for, or how it ended. obstacles: what is in its way.

    judged  None: nothing was heard, or it was taken and nothing came back
    """

    recipient_id: int
    address: str
    state: str
    past: Sequence[Line]
    now: Line
    obstacles: Sequence[Obstacle]
    judged: Judged | None = None


def explain(
    store: Store, tenant_id: int, message_id: int, knowledge: Knowledge, *, now: datetime
) -> list[Explanation] | None:
    """One explanation a recipient; None if the message is not the tenant's."""
    view = read.message_of(store, tenant_id, message_id)
    if view is None:
        return None
    with store.read() as connection:
        where = _where(connection, message_id)
        most = max(_LEAST_COUNTED, MOST_COUNTED // max(1, len(where)))
        look = Look(connection, now=now, most_counted=most)
        stands = {i: _standing(look, row, knowledge, now) for i, row in where.items()}
    # Retention may have dropped one between the two looks.
    known = [r for r in view.recipients if r.id in where]
    return [_explain(view, r, where[r.id], stands[r.id]) for r in known]


@dataclass(frozen=True, slots=True)
class _Standing:
    """moved: that a pool was chosen for it; None: none was."""

    moved: Line | None = None
    obstacles: Sequence[Obstacle] = ()


def _standing(look: Look, row: Any, knowledge: Knowledge, now: datetime) -> _Standing:
    if row.state in FINAL_STATES:
        return _Standing()
    waiting = _waiting(row, knowledge, now)
    move = poolmoves.move_of(look, waiting)
    moved = None if move is None else Line(move.at, move.what, move.reason)
    return _Standing(moved, obstacles.find(look, waiting))


def _waiting(row: Any, knowledge: Knowledge, now: datetime) -> Waiting:
    site = knowledge.site_of(row.domain) or row.site
    return Waiting(
        recipient_id=row.id,
        message_id=row.message_id,
        state=row.state,
        wait_reason=row.wait_reason,
        due_at=row.due_at,
        expires_at=row.expires_at,
        last_reply=row.last_reply,
        holder=row.holder,
        attempt_id=row.attempt_id,
        place=Place(row.lane_id, row.tenant_id, row.stream, row.domain, site, row.pool_id),
        knowledge=knowledge,
        now=now,
    )


def tenant_of(store: Store, message_id: int) -> int | None:
    """For the operator, who may look at every tenant's messages."""
    with store.read() as connection:
        return connection.execute(select(message.c.tenant_id).where(message.c.id == message_id)).scalar()


def message_with(store: Store, recipient_id: int) -> int | None:
    """The message that has this recipient; for the operator."""
    with store.read() as connection:
        wanted = select(recipient.c.message_id).where(recipient.c.id == recipient_id)
        return connection.execute(wanted).scalar()


def _where(connection: Connection, message_id: int) -> dict[int, Any]:
    """Row, lane, site and holder of each recipient."""
    found = (
        select(
            recipient,
            lane.c.domain,
            lane.c.site,
            lane.c.pool_id,
            stream.c.name.label("stream"),
            incarnation.c.pid,
            message.c.tls.label("message_tls"),
            stream.c.tls.label("stream_tls"),
        )
        .join(lane, lane.c.id == recipient.c.lane_id)
        .join(message, message.c.id == recipient.c.message_id)
        .join(stream, stream.c.id == lane.c.stream_id)
        .outerjoin(incarnation, incarnation.c.id == recipient.c.holder)
        .where(recipient.c.message_id == message_id)
    )
    return {row.id: row for row in connection.execute(found)}


def _explain(view: MessageView, r: RecipientView, where: Any, stands: _Standing) -> Explanation:
    past = [_accepted(view, r, where)]
    past += [line for a in r.tries for line in _tried(a)]
    told = [e for e in view.events if e.recipient_id == r.id and e.type != EventType.ACCEPTED]
    past += [_told(e) for e in told]
    past += [_noticed(n) for n in r.notices]
    past += [] if stands.moved is None else [stands.moved]
    past.sort(key=lambda line: line.at or view.accepted_at)
    return Explanation(r.id, r.address, r.state, past, _present(r, where), stands.obstacles, _judged(told))


_HEARD = frozenset({EventType.DELIVERED, EventType.DELAYED, EventType.BOUNCED, EventType.EXPIRED})


def _judged(told: Sequence[EventView]) -> Judged | None:
    """By the last event that tells what a host said of the recipient: what it meant then, by the rules of
    then. What a host said of whom the mail was forwarded to is not about it."""
    heard = [e for e in told if e.type in _HEARD and "forwarded_to" not in e.data]
    data = max(heard, key=lambda e: e.version).data if heard else {}
    if "class" not in data:
        return None
    return Judged(
        BounceClass(data["class"]), Action(data["action"]), Blame(data["blame"]), data.get("rule") or None
    )


def _accepted(view: MessageView, r: RecipientView, where: Any) -> Line:
    if r.retry_of is not None:
        first = next((e.at for e in view.events if e.recipient_id == r.id), view.accepted_at)
        again = f"the tenant asked for another try of {ids.show('rcpt', r.retry_of)}"
        return Line(first, "accepted again", again)
    domain = view.header_from.rsplit("@", 1)[-1]
    return Line(
        view.accepted_at,
        "accepted",
        f"committed in stream {view.stream}, lane of {where.domain};"
        f" From {domain} is a sending domain of the tenant{_asked_of_tls(where)}",
    )


def _asked_of_tls(where: Any) -> str:
    wanted = wanted_by(where.message_tls, where.stream_tls)
    return f"; its {wanted.by} says of TLS: {wanted.wish}" if wanted.wish else ""


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
