"""What every door produces, what it gets back, and how it is refused."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from mailer.compose.address import Mailbox
from mailer.compose.mime import Draft
from mailer.compose.submitted import Submitted
from mailer.compose.unsubscribe import LIST_UNSUBSCRIBE


class Envelope(msgspec.Struct, frozen=True):
    """One recipient of a submission: its mailbox, and in which header field it stands (to, cc, bcc).

    notify, orcpt  what the submitter asked of DSNs (columns of `recipient`); None: nothing
    """

    mailbox: Mailbox
    kind: str
    notify: str | None = None
    orcpt: str | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A message as a door understood it, syntax checked, nothing yet decided.

    key_id, secret_hash  the presented credential; judged again inside the accepting transaction
    content              what is to be said, or the whole message as its submitter wrote it
    recipients           distinct mailboxes, at least one
    stream               name of the tenant's stream
    idempotency_key      None: the submitter gave none
    body_sha256          of the raw request body; what a repeated idempotency key must match
    due_at, expires_at   None: at once; the stream's schedule
    mail_from            the submitter's reverse-path, "" for the null one; None where the door has none
    message_id           None: it will get one; the message written by its submitter bears it already
    ret, envid           what the submitter asked of DSNs (columns of `message`); None: nothing
    tls                  what it wants of TLS (column of `message`); None: nothing
    tenant_id            of the key
    unsubscribe          whether List-Unsubscribe fields of ours are asked for; None: what its stream does
    """

    key_id: int
    secret_hash: bytes
    content: Draft | Submitted
    recipients: tuple[Envelope, ...]
    door: str = "http"
    stream: str = "transactional"
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    idempotency_key: str | None = None
    body_sha256: bytes = b""
    due_at: datetime | None = None
    expires_at: datetime | None = None
    mail_from: str | None = None
    message_id: int | None = None
    ret: str | None = None
    envid: str | None = None
    tls: str | None = None
    tenant_id: int = 0
    unsubscribe: bool | None = None

    @property
    def is_unsubscribable(self) -> bool:
        """It brings a List-Unsubscribe of its own."""
        if isinstance(self.content, Draft):
            return any(name.lower() == LIST_UNSUBSCRIBE.lower() for name, _ in self.content.headers)
        return self.content.is_unsubscribable

    @property
    def authors(self) -> tuple[Mailbox, ...]:
        """Mailboxes of From, one or more; the first one's domain signs."""
        return (self.content.from_,) if isinstance(self.content, Draft) else self.content.authors

    @property
    def senders(self) -> tuple[Mailbox, ...]:
        """Mailboxes of Sender."""
        return () if isinstance(self.content, Draft) else self.content.senders


@dataclass(frozen=True, slots=True)
class Receipt:
    """The message is on disk. `body` is the JSON answer, the same bytes for every replay.

    replayed  an earlier request with the same idempotency key was accepted; nothing new was written
    """

    message_id: int
    body: bytes
    replayed: bool = False


class Fault(enum.StrEnum):
    """Stable words for every refusal; the HTTP problem type is `<base>/problems/<word>`."""

    MALFORMED_REQUEST = "malformed-request"
    INVALID_FIELD = "invalid-field"
    MALFORMED_MESSAGE = "malformed-message"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    KEY_LIMITED = "key-limited"  # to streams or domains, and this is none of them
    TENANT_SUSPENDED = "tenant-suspended"
    FROM_NOT_ALLOWED = "from-not-allowed"
    UNKNOWN_STREAM = "unknown-stream"
    STREAM_ARCHIVED = "stream-archived"
    UNKNOWN_TEMPLATE = "unknown-template"
    TEMPLATE_FAILED = "template-failed"  # it is wrong, or cannot be filled with this data
    NO_RECIPIENTS = "no-recipients"
    TOO_MANY_RECIPIENTS = "too-many-recipients"
    MESSAGE_TOO_LARGE = "message-too-large"
    REQUEST_TOO_LARGE = "request-too-large"
    REQUEST_TIMEOUT = "request-timeout"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    RATE_LIMITED = "rate-limited"  # the key submitted as much as it may: try again later
    TOO_MANY_REQUESTS = "too-many-requests"  # from one address, without a key: try again later
    QUOTA_EXCEEDED = "quota-exceeded"  # as much was accepted of the tenant as may be: try again later
    TOO_MANY_REPORTS = "too-many-reports"  # from one network, or at once: try again later
    NAME_TAKEN = "name-taken"
    CONFLICT = "conflict"  # with the state of what is to be changed
    LIMIT_REACHED = "limit-reached"
    NOT_FOUND = "not-found"
    NOTHING_CAME = "nothing-came"  # the wait for a message in the sandbox inbox was in vain
    METHOD_NOT_ALLOWED = "method-not-allowed"
    BUSY = "busy"  # byte budget or free disk space used up: try again
    UNAVAILABLE = "unavailable"  # the database did not answer: try again
    INTERNAL = "internal"


class SubmissionError(Exception):
    """Refused: the caller's fault, or a passing one of ours (BUSY, UNAVAILABLE).

    detail               one sentence for people, without addresses or content of others
    pointer              RFC 6901 JSON pointer of the fault in the request, None where no field is at fault
    errors               every fault with its pointer, where there may be several; else the one above
    header               name of the header field at fault, of the request or of the message in it; None: none
    retry_after_seconds  when the same submission may succeed; None: as usual for the fault
    """

    def __init__(
        self,
        fault: Fault,
        detail: str,
        *,
        pointer: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        header: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.pointer = pointer
        self.errors = tuple(errors) if errors or pointer is None else ((pointer, detail),)
        self.retry_after_seconds = retry_after_seconds
        self.header = header

    def bare(self) -> SubmissionError:
        """Itself, without the frames that it came through and what it was made of.

        Frames hold the message, and some hold this error: whoever keeps it, or answers it, would keep many
        megabytes until the garbage collector comes by, which counts objects and not octets.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self

    def moved(self, place: Callable[[str], str]) -> SubmissionError:
        """The same refusal of a request that lies within another one. place: a pointer's place there."""
        pointer = None if self.pointer is None else place(self.pointer)
        errors = [(place(pointer), detail) for pointer, detail in self.errors]
        return SubmissionError(
            self.fault,
            self.detail,
            pointer=pointer,
            errors=errors,
            header=self.header,
            retry_after_seconds=self.retry_after_seconds,
        )


# What the accepting transaction refuses it notes itself, and what may pass is no rejection.
NOTED_BY_INTAKE = frozenset(
    {
        Fault.UNAUTHENTICATED, Fault.FORBIDDEN, Fault.KEY_LIMITED, Fault.TENANT_SUSPENDED,
        Fault.FROM_NOT_ALLOWED, Fault.UNKNOWN_STREAM, Fault.STREAM_ARCHIVED,
    }
)  # fmt: skip
PASSING = frozenset(
    {
        Fault.BUSY, Fault.UNAVAILABLE, Fault.INTERNAL, Fault.REQUEST_TIMEOUT, Fault.RATE_LIMITED,
        Fault.QUOTA_EXCEEDED,
    }
)  # fmt: skip


class Taker(Protocol):
    """The one way in, as `accept.intake.Intake` is it."""

    async def take(self, submission: Submission) -> Receipt:
        """The message is on disk when this returns. Raises SubmissionError."""

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        """Leaves the `rejected` event of a submission that a door refused."""
