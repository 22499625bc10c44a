"""Acting on mail that waits: have it tried now, or end it.

What a worker holds is under way and left alone; what comes in meanwhile may be met or not. A crash between
two pieces leaves the rest as it was, and the record says how many were changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, update

from mailer.events import EventType, RecipientState, WaitReason
from mailer.protocol.enhanced import EnhancedStatus, MalformedStatus
from mailer.queue import ending
from mailer.queue.actions import BOUNCE, REQUEUE, Deed, Doer
from mailer.queue.ending import Ending
from mailer.queue.pieces import IS, Done, Extent, Means, Work, begin, count, counted, run, waiting_in
from mailer.queue.selection import Selection
from mailer.store.tables import recipient

_BY_REASON = "ended_by_request"
_NOT_SCHEDULED = recipient.c.wait_reason != WaitReason.SCHEDULED


@dataclass(frozen=True, slots=True)
class Verdict:
    """How mail ends. status: of class 5 (RFC 3463). reason: a sentence, for its submitter too."""

    status: EnhancedStatus
    reason: str


class BadVerdict(ValueError):
    """What was given is no enhanced status of class 5."""


def verdict(status: str, reason: str) -> Verdict:
    """Raises BadVerdict."""
    try:
        said = EnhancedStatus.parse(status)
    except MalformedStatus as error:
        raise BadVerdict(str(error)) from None
    if said.class_ != 5:
        raise BadVerdict("a bounce has an enhanced status of class 5, such as 5.7.1")
    return Verdict(said, reason)


def to_requeue(means: Means, wanted: Selection, *, faulty: bool = False) -> Extent:
    """What `requeue` would change; nothing is changed."""
    meant = waiting_in(_requeued(faulty), _NOT_SCHEDULED)
    return count(means, wanted, [counted(s, IS[s] & _NOT_SCHEDULED) for s in _requeued(faulty)], meant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """faulty: also what a fault of this installation holds, such as a body that was missing."""

    reason: str
    faulty: bool = False


def requeue(
    means: Means, wanted: Selection, doer: Doer, ordered: Requeue, *, most: int | None = None
) -> Done:
    """What waits for a retry is due now; what is scheduled for later is left alone.

    most  recipients, or some more; None: all
    """
    action_id = begin(means, Deed(kind=REQUEUE, doer=doer, wanted=wanted, reason=ordered.reason))

    def change(connection: Connection, rows: Sequence[Any]) -> None:
        due = update(recipient).where(recipient.c.id.in_([row.id for row in rows]))
        connection.execute(
            due.values(state=RecipientState.QUEUED, wait_reason=WaitReason.RETRY_ASKED, due_at=means.now())
        )

    work = Work(action_id, _requeued(ordered.faulty), change, _NOT_SCHEDULED)
    return run(means, wanted, work, most)


def bounce(means: Means, wanted: Selection, doer: Doer, verdict: Verdict, *, most: int | None = None) -> Done:
    """What waits ends as bounced, with its event and the DSN that it owes, like any bounce.

    most  recipients, or some more; None: all
    """
    shown = str(verdict.status)
    deed = Deed(kind=BOUNCE, doer=doer, wanted=wanted, reason=verdict.reason, status=shown)
    action_id = begin(means, deed)
    ends = Ending(
        RecipientState.BOUNCED, EventType.BOUNCED, _BY_REASON, f"{shown} {verdict.reason}", status=shown
    )

    def change(connection: Connection, rows: Sequence[Any]) -> None:
        ending.end_waiting(
            connection, rows, ends, new_id=means.new_id, process_number=means.process_number, now=means.now()
        )

    return run(means, wanted, Work(action_id, list(IS), change), most)


def _requeued(faulty: bool) -> Sequence[RecipientState]:
    return [RecipientState.DEFERRED, *([RecipientState.HELD] if faulty else [])]
