"""Messages that the sandbox caught."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, field


class CaughtSummary(Struct, frozen=True, kw_only=True):
    """A copy of a message, as the receiving mailbox has it. recipient: address in the envelope."""

    key: str
    received_at: datetime
    message_id: str
    recipient_id: str
    recipient: str
    return_path: str
    from_: str = field(name="from")
    to: str
    subject: str
    size_bytes: int


class InboxPage(Struct, frozen=True, kw_only=True):
    """Newest first; total: before the limit."""

    messages: Sequence[CaughtSummary]
    total: int


class HeaderField(Struct, frozen=True, kw_only=True):
    name: str
    value: str


class Link(Struct, frozen=True, kw_only=True):
    """text: what HTML shows for it; None for one found in plain text alone."""

    url: str
    text: str | None = None


class CaughtAttachment(Struct, frozen=True, kw_only=True):
    """filename: as the sender gave it, not safe as a path."""

    number: int
    content_type: str
    size_bytes: int
    filename: str | None = None
    content_id: str | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """On one DKIM signature. result: pass, fail or permerror (RFC 8601 §2.7.1)."""

    result: str
    domain: str
    selector: str
    algorithm: str
    reason: str = ""


class CaughtMessage(CaughtSummary, frozen=True, kw_only=True):
    """Taken apart."""

    headers: Sequence[HeaderField] = ()
    text: str | None = None
    html: str | None = None
    links: Sequence[Link] = ()
    attachments: Sequence[CaughtAttachment] = ()
    dkim: Sequence[Verdict] = ()
    fault: str | None = None


class Deleted(Struct, frozen=True, kw_only=True):
    deleted: int
