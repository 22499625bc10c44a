"""Settling: an attempt closes, its recipient moves, the event is appended and the usage counted, at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, literal_column, select, update

from mailer import ids
from mailer.events import FINAL_STATES, AttemptState, EventType, NoticeKind, RecipientState, WaitReason
from mailer.ids import IdMaker
from mailer.policy import notices
from mailer.policy.brake import Counts
from mailer.policy.classifier import Judgement
from mailer.policy.egress import Stay
from mailer.policy.greylisting import Greylisted
from mailer.policy.suppression import Share
from mailer.queue import braking, counting, egress, greylists, suppressions, suppressionstorms
from mailer.queue.braking import StreamKey
from mailer.queue.incarnations import hold_live
from mailer.queue.owing import Owed, owe
from mailer.queue.telling import tell
from mailer.store import Store, dialect
from mailer.store.bare import Hot, as_json, bare
from mailer.store.tables import attempt, lane, recipient
from mailer.store.types import to_microseconds


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one attempt (columns of `attempt`; null where nothing was heard)."""

    outcome: str
    phase: str | None = None
    code: int | None = None
    status: str | None = None
    reply: str | None = None
    site: str | None = None
    host: str | None = None
    address: str | None = None
    egress_ip: str | None = None
    tls: str | None = None
    steps: Sequence[tuple[float, str, str]] | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What follows for the recipient.

    attempt_state  settled, in_doubt, or released (not counted)
    wait_reason    why it waits; None in a final state
    due_at         None: the due time stays as it was
    event          None: nothing to tell (a release)
    reason         for the event and `explain`: the decision in one word
    notice         the DSN that it brings about; None: none
    """

    attempt_state: AttemptState
    state: RecipientState
    wait_reason: WaitReason | None = None
    due_at: datetime | None = None
    event: EventType | None = None
    reason: str = ""
    notice: NoticeKind | None = None


class Settlement(msgspec.Struct, frozen=True):
    """One attempt's end: which, what was heard, and what follows. lane_id: where a new site is noted.

    stay       what it means for the next attempt's IP; None: nothing, or what it meant before
    stream_id  for which it is counted how its mail is received; None: for none
    is_hard    a bounce of an address that should not have been sent to
    greylisted where and when greylisting put it off; None: it did not
    judged     what its outcome means; None: it was taken, or not tried
    lesson     what was heard of the recipient that may suppress it; None: nothing
    """

    attempt_id: int
    recipient_id: int
    lane_id: int
    heard: Heard
    move: Move
    stay: Stay | None = None
    stream_id: int | None = None
    is_hard: bool = False
    greylisted: Greylisted | None = None
    judged: Judgement | None = None
    lesson: suppressions.Heard | None = None


class _Held(NamedTuple):
    """A row of _HELD: due_at in microseconds, SQLite's booleans as numbers."""

    id: int
    message_id: int
    tenant_id: int
    attempt_id: int
    attempts: int
    version: int
    cancel_wanted: bool
    in_doubt: bool
    due_at: int
    size_bytes: int


_RECIPIENT = bare(recipient)
_ATTEMPT = bare(attempt)
_HELD = Hot(
    select(*(_RECIPIENT.c[name] for name in _Held._fields))
    .where(
        dialect.OneOf(_RECIPIENT.c.id, "rcpts"),
        _RECIPIENT.c.state == literal_column("'leased'"),
        _RECIPIENT.c.holder == bindparam("holder"),
    )
    .order_by(_RECIPIENT.c.id)
    .with_for_update()
)
_MOVE = Hot(
    update(_RECIPIENT)
    .where(_RECIPIENT.c.id == bindparam("rcpt"), _RECIPIENT.c.attempt_id == bindparam("try_id"))
    .values(
        state=bindparam("to_state"),
        wait_reason=bindparam("to_reason"),
        due_at=bindparam("to_due"),
        holder=None,
        attempt_id=None,
        attempts=bindparam("to_attempts"),
        in_doubt=bindparam("to_doubt"),
        version=bindparam("to_version"),
        last_reply=bindparam("to_reply"),
        settled_at=bindparam("to_settled"),
    )
)
_OF_TROUBLE = frozenset({EventType.BOUNCED, EventType.DELAYED, EventType.EXPIRED})
_HEARD = Heard.__struct_fields__
_CLOSE = Hot(
    update(_ATTEMPT)
    .where(_ATTEMPT.c.id == bindparam("try_id"), _ATTEMPT.c.state == AttemptState.OPEN)
    .values(
        state=bindparam("to_state"),
        closed_at=bindparam("at"),
        **{name: bindparam(f"o_{name}") for name in _HEARD},
    )
)
_NOTE_SITE = (
    update(lane)
    .where(lane.c.id == bindparam("lane"), lane.c.site.is_distinct_from(bindparam("found")))
    .values(site=bindparam("found"))
)


def settle(
    store: Store,
    me: int,
    settlements: Sequence[Settlement],
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
    shares: Mapping[str, Share] | None = None,
) -> int:
    """Settles attempts that `me` holds; returns how many moved.

    shares  how sites answered, to be counted with it; None: nothing

    Repeating it moves nothing twice: a recipient that no longer holds the attempt is left alone.
    Raises Fenced, then nothing was written.
    """
    with store.write() as connection:
        hold_live(connection, me)
        suppressionstorms.count(connection, shares or {}, process_number=process_number, now=now)
        return apply(connection, me, settlements, new_id=new_id, process_number=process_number, now=now)


def apply(
    connection: Connection,
    holder: int,
    settlements: Sequence[Settlement],
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> int:
    """The body of a settling transaction; the caller has made sure who may write for `holder`."""
    wanted = {s.recipient_id: s for s in settlements}
    among = {"rcpts": dialect.listed(connection, list(wanted)), "holder": holder}
    held = [_Held(*row) for row in _HELD.rows(connection, among)]
    ended = [(row, wanted[row.id]) for row in held if row.attempt_id == wanted[row.id].attempt_id]
    if not ended:
        return 0
    moves = [(row, s, _obey_cancel(s.move, row)) for row, s in ended]
    _MOVE.many(connection, [_recipient_values(row, s, move, now) for row, s, move in moves])
    _CLOSE.many(connection, [_attempt_values(s, now) for _, s, _ in moves])
    told = [_event_values(row, s, move, new_id(), now) for row, s, move in moves if move.event]
    if told:
        tell(connection, told)
    owe(connection, [_owed(row, move.notice) for row, _, move in moves if move.notice], now=now)
    egress.keep(connection, {row.id: s.stay for row, s, _ in moves if s.stay is not None})
    greylists.keep(connection, {row.id: s.greylisted for row, s, _ in moves if s.greylisted is not None})
    _note_sites(connection, (s for _, s, _ in moves))
    counting.add(connection, _usage(moves), process_number=process_number, now=now)
    braking.count(connection, _received(moves), process_number=process_number, now=now)
    suppressions.apply_all(connection, [s.lesson for _, s, _ in moves if s.lesson], new_id, now)
    return len(moves)


def _obey_cancel(move: Move, row: _Held) -> Move:
    """A wish to cancel that came while the recipient was leased holds unless a final state was reached."""
    if not row.cancel_wanted or move.state in FINAL_STATES:
        return move
    return Move(
        attempt_state=move.attempt_state,
        state=RecipientState.CANCELLED,
        event=EventType.CANCELLED,
        reason="cancel_wanted",
    )


def _owed(row: _Held, kind: NoticeKind) -> Owed:
    return Owed(row.id, kind, row.tenant_id, row.message_id)


def _counts(move: Move) -> bool:
    return move.attempt_state is not AttemptState.RELEASED


def _recipient_values(row: _Held, s: Settlement, move: Move, now: datetime) -> dict[str, Any]:
    return {
        "rcpt": row.id,
        "try_id": s.attempt_id,
        "to_state": move.state,
        "to_reason": move.wait_reason,
        "to_due": row.due_at if move.due_at is None else to_microseconds(move.due_at),
        "to_attempts": row.attempts + _counts(move),
        "to_doubt": bool(row.in_doubt) or move.attempt_state is AttemptState.IN_DOUBT,
        "to_version": row.version + (move.event is not None),
        "to_reply": s.heard.reply,
        "to_settled": to_microseconds(now) if move.state in FINAL_STATES else None,
    }


def _attempt_values(s: Settlement, now: datetime) -> dict[str, Any]:
    h = s.heard
    return {
        "try_id": s.attempt_id,
        "to_state": s.move.attempt_state,
        "at": to_microseconds(now),
        "o_outcome": h.outcome,
        "o_phase": h.phase,
        "o_code": h.code,
        "o_status": h.status,
        "o_reply": h.reply,
        "o_site": h.site,
        "o_host": h.host,
        "o_address": h.address,
        "o_egress_ip": h.egress_ip,
        "o_tls": h.tls,
        "o_steps": None if h.steps is None else as_json(h.steps),
    }


def _event_values(row: _Held, s: Settlement, move: Move, event_id: int, now: datetime) -> dict[str, Any]:
    h = s.heard
    facts = {
        "attempt": row.attempts + _counts(move),
        "attempt_id": ids.show("att", s.attempt_id),
        "reason": move.reason,
        "phase": h.phase,
        "code": h.code,
        "status": h.status,
        "reply": h.reply,
        **(s.judged.as_facts() if s.judged and move.event in _OF_TROUBLE else {}),
        "host": h.host,
        "site": h.site,
        "tls": h.tls,
        "in_doubt": bool(row.in_doubt) or move.attempt_state is AttemptState.IN_DOUBT,
        "next_attempt_at": move.due_at,
    }
    return {
        "id": event_id,
        "tenant_id": row.tenant_id,
        "type": move.event,
        "message_id": row.message_id,
        "recipient_id": row.id,
        "version": row.version + 1,
        "at": to_microseconds(now),
        "data": as_json({name: value for name, value in facts.items() if value not in (None, "", False)}),
    }


def _note_sites(connection: Connection, settlements: Iterable[Settlement]) -> None:
    """Lanes follow an MX change; routes (no look-up) are not noted, they are configuration."""
    sites = ((s.lane_id, s.heard.site) for s in settlements if s.heard.site)
    found = {lane_id: site for lane_id, site in sites if not site.startswith("route:")}
    if found:
        connection.execute(_NOTE_SITE, [{"lane": i, "found": name} for i, name in sorted(found.items())])


def _usage(moves: Iterable[tuple[_Held, Settlement, Move]]) -> Mapping[int, Mapping[str, int]]:
    totals: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row, _, move in moves:
        mine = totals[row.tenant_id]
        mine["attempts"] += _counts(move)
        if move.state in FINAL_STATES:
            mine[move.state] += 1
        if move.state is RecipientState.DELIVERED:
            mine["sent_bytes"] += row.size_bytes
    return totals


def _received(moves: Iterable[tuple[_Held, Settlement, Move]]) -> Mapping[StreamKey, Counts]:
    totals: dict[StreamKey, list[int]] = defaultdict(lambda: [0, 0])
    for row, s, move in moves:
        if s.stream_id is None:
            continue
        if move.state is RecipientState.DELIVERED:
            totals[row.tenant_id, s.stream_id][0] += 1
        elif s.is_hard and move.state is RecipientState.BOUNCED:
            totals[row.tenant_id, s.stream_id][1] += 1
    return {key: Counts(delivered, bounced) for key, (delivered, bounced) in totals.items()}


@dataclass(frozen=True, slots=True)
class LateReply:
    """The answer to a final dot, heard after its attempt was given up.

    passed_on  the peer had been told what the submitter asked of DSNs
    """

    code: int
    words: str
    passed_on: bool = False


def note_late_reply(
    store: Store,
    attempt_id: int,
    late: LateReply,
    *,
    new_id: IdMaker,
    process_number: int,
    now: datetime,
) -> bool:
    """Keeps the answer; True if it delivered the recipient.

    A late 2yz stops the retry if that was not yet dialled. If it was, it stays evidence only: the
    recipient is settled by its newer attempt, and both are on record.
    """
    with store.write() as connection:
        kept = update(attempt).where(attempt.c.id == attempt_id, attempt.c.late_code.is_(None))
        connection.execute(kept.values(late_code=late.code, late_reply=late.words))
        waiting = (
            select(recipient, attempt.c.site, attempt.c.host, lane.c.stream_id)
            .join(attempt, attempt.c.recipient_id == recipient.c.id)
            .join(lane, lane.c.id == recipient.c.lane_id)
            .where(
                attempt.c.id == attempt_id,
                attempt.c.state.in_([AttemptState.IN_DOUBT, AttemptState.RELEASED]),
                recipient.c.state.in_([RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.HELD]),
            )
            .with_for_update(of=recipient)
        )
        row = connection.execute(waiting).first()
        if row is None or not 200 <= late.code < 300:
            return False
        _deliver_late(connection, row, late.words, event_id=new_id(), now=now)
        kind = notices.owed(row.notify, EventType.DELIVERED, passed_on=late.passed_on)
        owe(connection, [Owed(row.id, kind, row.tenant_id, row.message_id)] if kind else [], now=now)
        used = {row.tenant_id: {"delivered": 1, "sent_bytes": row.size_bytes}}
        counting.add(connection, used, process_number=process_number, now=now)
        received = {(row.tenant_id, row.stream_id): Counts(delivered=1)}
        braking.count(connection, received, process_number=process_number, now=now)
        return True


def _deliver_late(connection: Connection, row: Any, reply: str, *, event_id: int, now: datetime) -> None:
    final = update(recipient).where(recipient.c.id == row.id)
    connection.execute(
        final.values(
            state=RecipientState.DELIVERED,
            wait_reason=None,
            version=row.version + 1,
            last_reply=reply,
            settled_at=now,
        )
    )
    data = {"attempt": row.attempts, "reason": "late_reply", "reply": reply, "host": row.host}
    told = {"id": event_id, "tenant_id": row.tenant_id, "type": EventType.DELIVERED, "data": as_json(data)}
    rest = {
        "at": to_microseconds(now),
        "message_id": row.message_id,
        "recipient_id": row.id,
        "version": row.version + 1,
    }
    tell(connection, [told | rest])
