"""What answers look like: the views of queue.read as JSON, ids and instants as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from mailer import ids, shown
from mailer.events import AttemptState, EventType, NoticeKind, NoticeState, RecipientState, WaitReason
from mailer.policy.bounceclass import Action, Blame, BounceClass

_DIGITS = "[0-9a-hjkmnp-tv-z]{13}"


def id_pattern(kind: str) -> str:
    """What every id of `kind` matches as we write it."""
    return f"^{kind}_{_DIGITS}$"


def shown_as(kind: str) -> Any:
    """A number that is written as an id."""
    return (
        PlainSerializer(lambda value: ids.show(kind, value), return_type=str),
        WithJsonSchema({"type": "string", "pattern": id_pattern(kind), "examples": [ids.show(kind, 5)]}),
    )


MessageId = Annotated[int, *shown_as("msg")]
RecipientId = Annotated[int, *shown_as("rcpt")]
AttemptId = Annotated[int, *shown_as("att")]
EventId = Annotated[int, *shown_as("evt")]
At = Annotated[
    datetime,
    PlainSerializer(shown.instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-09T14:30:00.123Z"]}),
]


class Shape(BaseModel):
    """What is answered, made of a view."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Step(Shape):
    """A line of the SMTP conversation, or a note beside it."""

    ms: float = Field(description="Milliseconds since the attempt began")
    who: str = Field(description="us, peer, or note")
    line: str


def _steps(given: Any) -> Any:
    """From the stored [ms, who, line]."""
    return [{"ms": ms, "who": who, "line": line} for ms, who, line in given]


class Attempt(Shape):
    """One SMTP transaction tried for a recipient."""

    id: AttemptId
    state: AttemptState
    opened_at: At
    closed_at: At | None = Field(description="null while it is open")
    outcome: str | None = Field(description="accepted, refused, broken, unroutable, unsuitable, not_tried")
    phase: str | None = Field(description="Where it ended, if refused or broken")
    code: int | None = Field(description="SMTP reply code (RFC 5321 §4.2.3)")
    status: str | None = Field(description="Enhanced status code (RFC 3463)")
    reply: str | None = Field(description="The peer's words, or the cause")
    site: str | None
    host: str | None
    address: str | None = Field(description="IP address that was dialled")
    egress_ip: str | None = Field(description="Our address that it left from")
    tls: str | None = Field(description="null in clear")
    late_reply: str | None = Field(description="An answer that came after the attempt was given up")
    conversation: Annotated[Sequence[Step], BeforeValidator(_steps)] = Field(validation_alias="steps")


class Notice(Shape):
    """A notice (DSN) to whoever submitted the message by SMTP."""

    kind: NoticeKind
    state: NoticeState
    reason: str | None = Field(description="Why it was dropped; null otherwise")
    created_at: At = Field(description="When it was owed")


class Recipient(Shape):
    """One recipient of a message, and what became of it."""

    id: RecipientId
    address: str
    kind: str = Field(description="to, cc or bcc")
    state: RecipientState
    wait_reason: WaitReason | None = Field(description="Why it waits; null in a final state")
    due_at: At | None = Field(description="Until when it waits; null in a final state")
    attempt_count: int = Field(validation_alias="attempts", description="Counted attempts")
    last_reply: str | None
    in_doubt: bool = Field(description="Some attempt may have delivered without our hearing it")
    settled_at: At | None = Field(description="null until the state is final")
    retry_of: RecipientId | None = Field(description="The failed recipient that this one sends again")
    attempts: Sequence[Attempt] = Field(validation_alias="tries")
    notices: Sequence[Notice] = Field(description="Notices to the submitter about this recipient")


class Event(Shape):
    """One change in a recipient's life. Callbacks show it alike: mailer/shown.py has the same members."""

    number: int | None = Field(description="In the tenant's log, without gaps; null until it is numbered")
    id: EventId
    type: EventType
    at: At
    message_id: MessageId | None = Field(
        description="null for a rejected submission, of a stream, and for mail that is no longer kept"
    )
    recipient_id: RecipientId | None = Field(description="null where message_id is")
    version: int = Field(description="The recipient's own count of its events: 1, 2, ...")
    data: dict[str, Any]


class Message(Shape):
    """A message with its recipients, their attempts, and its events."""

    id: MessageId
    stream: str
    from_: str = Field(validation_alias="header_from", serialization_alias="from")
    subject: str
    rfc_message_id: str = Field(description="Message-ID of its header (RFC 5322 §3.6.4)")
    tags: list[str]
    metadata: dict[str, str]
    accepted_at: At
    due_at: At
    size_bytes: int
    recipients: Sequence[Recipient]
    events: Sequence[Event]


class EventPage(Shape):
    """A piece of the event log, in order. Another epoch than before: the log was restored, start at 0."""

    epoch: str
    events: Sequence[Event]
    next_after: int = Field(validation_alias="last_number", description="Value of `after` for the next page")


class ExplanationLine(Shape):
    """One decision."""

    at: At | None
    what: str
    reason: str
    until: At | None = Field(description="When it ends by itself; null if it does not, or is past")


class Obstacle(Shape):
    """One thing that keeps a recipient waiting at this moment."""

    kind: str = Field(description="A stable word: held, fault, scheduled, retry, connections, backlog ...")
    what: str
    until: At | None = Field(description="When it ends by itself; null: never, or nobody knows")
    remedy: str = Field(description="What it would take to end it earlier")
    rule: str | None = Field(description="File and line of the rule behind it")
    facts: dict[str, Any] = Field(description="Figures and names")


class Judged(Shape):
    """What was made of what a host said of the recipient last, when it was heard."""

    bounce_class: BounceClass
    action: Action = Field(description="What follows: fail, retry, ...")
    blame: Blame = Field(description="Whose fault it is")
    rule: str | None = Field(
        description="Name of the rule that decided; null: none knew it, or it is not known"
    )


class Explanation(Shape):
    """A recipient's life, and why it is where it is."""

    recipient_id: RecipientId
    address: str
    state: RecipientState
    past: Sequence[ExplanationLine]
    now: ExplanationLine
    obstacles: Sequence[Obstacle] = Field(description="What keeps it waiting now; empty in a final state")
    judged: Judged | None = Field(description="null: no host said anything yet, or it took the message")


class ExplainedMessage(Shape):
    id: MessageId
    recipients: Sequence[Explanation]


class Cancelled(Shape):
    """What became of each recipient of a message that was cancelled."""

    id: MessageId
    cancelled: Sequence[RecipientId] = Field(description="Ended now")
    under_way: Sequence[RecipientId] = Field(
        description="Being delivered at this moment; cancelled unless that succeeds"
    )
    too_late: Sequence[RecipientId] = Field(description="Had ended before")


class TriedAnew(Shape):
    """A recipient accepted anew."""

    recipient_id: RecipientId
    retry_of: RecipientId


class Retried(Shape):
    """Which recipients of a message are tried again."""

    id: MessageId
    due_now: Sequence[RecipientId] = Field(description="Waited for a retry; due now")
    anew: Sequence[TriedAnew] = Field(description="Had failed; accepted as new recipients")
