"""Sending many at once, and trying a message out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from mailer.client.answers.messages import AcceptedRecipient


class ItemProblem(Struct, frozen=True, kw_only=True):
    """Why one of many was refused (RFC 9457). The pointers in errors lead into the whole request.

    retry_after_seconds  when it may be sent again; None: as it is, never
    """

    type: str
    title: str
    status: int
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    retry_after_seconds: int | None = None


class BatchItem(Struct, frozen=True, kw_only=True):
    """One of many. id and recipients: of an accepted one; problem: of a refused one.

    replayed: it was accepted before, with this idempotency key
    """

    status: str
    id: str | None = None
    recipients: Sequence[AcceptedRecipient] = ()
    replayed: bool = False
    problem: ItemProblem | None = None


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """results: in the order of the request."""

    accepted: int
    refused: int
    results: Sequence[BatchItem]


class FoundProblem(Struct, frozen=True, kw_only=True):
    """Why the message would be refused."""

    type: str
    title: str
    status: int
    detail: str
    doc: str
    pointer: str | None = None


class Warned(Struct, frozen=True, kw_only=True):
    """What receivers dislike; warning: a stable word."""

    warning: str
    detail: str
    pointer: str | None = None


class ForeseenRecipient(Struct, frozen=True, kw_only=True):
    address: str
    kind: str
    domain: str


class ForeseenPart(Struct, frozen=True, kw_only=True):
    content_type: str
    encoding: str
    size_bytes: int
    filename: str | None = None
    disposition: str | None = None
    content_id: str | None = None


class ForeseenMessage(Struct, frozen=True, kw_only=True):
    """What would be sent. headers: as they would be, but for date, ids and signatures."""

    from_: str = field(name="from")
    recipients: Sequence[ForeseenRecipient]
    stream: str
    subject: str
    size_bytes: int
    headers: str
    parts: Sequence[ForeseenPart]
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    due_at: datetime | None = None
    expires_at: datetime | None = None
    dkim: Any = None


class Finding(Struct, frozen=True, kw_only=True):
    """valid: it would be accepted; message: None if nothing would be sent."""

    valid: bool
    problems: Sequence[FoundProblem] = ()
    warnings: Sequence[Warned] = ()
    message: ForeseenMessage | None = None
