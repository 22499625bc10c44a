"""Messages, their recipients, attempts and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field


class AcceptedRecipient(Struct, frozen=True, kw_only=True):
    id: str
    address: str


class Accepted(Struct, frozen=True, kw_only=True):
    """A message that is on disk: it will be delivered, or its events say why not."""

    id: str
    recipients: Sequence[AcceptedRecipient]
    status: str = "accepted"


class Step(Struct, frozen=True, kw_only=True):
    """A line of an SMTP conversation. who: us, peer or note."""

    ms: float
    who: str
    line: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One SMTP transaction tried for a recipient."""

    id: str
    state: str
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: str | None = None
    phase: str | None = None
    code: int | None = None
    status: str | None = None
    reply: str | None = None
    site: str | None = None
    host: str | None = None
    address: str | None = None
    egress_ip: str | None = None
    tls: str | None = None
    late_reply: str | None = None
    conversation: Sequence[Step] = ()


class Notice(Struct, frozen=True, kw_only=True):
    """A DSN to whoever submitted the message by SMTP. reason: why it was dropped."""

    kind: str
    state: str
    created_at: datetime
    reason: str | None = None


class Recipient(Struct, frozen=True, kw_only=True):
    """One recipient and what became of it. due_at: until when it waits, for wait_reason; None once final."""

    id: str
    address: str
    kind: str
    state: str
    wait_reason: str | None = None
    due_at: datetime | None = None
    attempt_count: int = 0
    last_reply: str | None = None
    in_doubt: bool = False
    settled_at: datetime | None = None
    retry_of: str | None = None
    attempts: Sequence[Attempt] = ()
    notices: Sequence[Notice] = ()


class Event(Struct, frozen=True, kw_only=True):
    """One change in a recipient's life. number: in the tenant's log, without gaps; None until numbered."""

    id: str
    type: str
    at: datetime
    number: int | None = None
    message_id: str | None = None
    recipient_id: str | None = None
    version: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


class Message(Struct, frozen=True, kw_only=True):
    """A message with its recipients, their attempts, and its events."""

    id: str
    stream: str
    from_: str = field(name="from")
    subject: str
    rfc_message_id: str
    accepted_at: datetime
    due_at: datetime
    size_bytes: int
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    recipients: Sequence[Recipient] = ()
    events: Sequence[Event] = ()

    @property
    def is_settled(self) -> bool:
        """Every recipient is in a final state."""
        return all(recipient.settled_at is not None for recipient in self.recipients)


class EventPage(Struct, frozen=True, kw_only=True):
    """A piece of the event log. Another epoch than before: the log was restored, start again at 0."""

    epoch: str
    events: Sequence[Event]
    next_after: int


class ExplanationLine(Struct, frozen=True, kw_only=True):
    what: str
    reason: str
    at: datetime | None = None
    until: datetime | None = None


class Obstacle(Struct, frozen=True, kw_only=True):
    """One thing that keeps a recipient waiting now. kind: a stable word; remedy: what would end it."""

    kind: str
    what: str
    remedy: str
    until: datetime | None = None
    rule: str | None = None
    facts: Mapping[str, Any] = {}


class Judged(Struct, frozen=True, kw_only=True):
    """What was made of what a host said of the recipient last. rule: that decided; None: not known."""

    bounce_class: str
    action: str
    blame: str
    rule: str | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """A recipient's life, and why it is where it is. judged: None: nothing was said, or it was taken."""

    recipient_id: str
    address: str
    state: str
    past: Sequence[ExplanationLine]
    now: ExplanationLine
    obstacles: Sequence[Obstacle] = ()
    judged: Judged | None = None


class ExplainedMessage(Struct, frozen=True, kw_only=True):
    id: str
    recipients: Sequence[Explanation]


class Cancelled(Struct, frozen=True, kw_only=True):
    """Ids of recipients: ended now; being delivered, cancelled unless that succeeds; ended before."""

    id: str
    cancelled: Sequence[str]
    under_way: Sequence[str]
    too_late: Sequence[str]


class TriedAnew(Struct, frozen=True, kw_only=True):
    recipient_id: str
    retry_of: str


class Retried(Struct, frozen=True, kw_only=True):
    """due_now: waited for a retry. anew: had failed, accepted as new recipients."""

    id: str
    due_now: Sequence[str]
    anew: Sequence[TriedAnew]


class MessageSummary(Struct, frozen=True, kw_only=True):
    """A message in a list. states: how many of its recipients are in which state."""

    id: str
    from_: str = field(name="from")
    subject: str
    stream: str
    accepted_at: datetime
    due_at: datetime
    size_bytes: int
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)


class MessagePage(Struct, frozen=True, kw_only=True):
    """A piece of the list; it may be short or empty and not the last: that has no next_cursor."""

    messages: Sequence[MessageSummary]
    next_cursor: str | None = None
