"""What the inbox API is asked and answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import BeforeValidator, Field, WithJsonSchema

from mailer import ids
from mailer.accept.http.asked import Asked, Digits
from mailer.accept.http.shapes import At, MessageId, RecipientId, Shape, id_pattern
from mailer.compose.control import written_instant
from mailer.report.maildir import is_key
from mailer.web.owned import Wanted

LONGEST_WAIT = (
    120  # seconds; what is in between (proxies, clients) ends silent requests after a minute or two
)
_KEY = r"\d{10}\.M\d{6}P\d+Q\d{7}\.[A-Za-z0-9-]+"
_INSTANT = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"  # RFC 3339 §5.6
_EXAMPLE_KEY = "1795348800.M123000P4711Q0000042.mailer"

# A malformed key is 404 like an unknown one, so the pattern is told and not enforced.
KeyText = Annotated[
    str, Path(description="Key of a kept message", json_schema_extra={"pattern": f"^{_KEY}$"})
]


def _since(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and is_key(value):
        return value
    try:
        return written_instant(str(value))
    except ValueError:
        raise ValueError("must be the key of a message, or an instant such as 2026-03-09T14:30:00Z") from None


def _message_id(value: object) -> object:
    try:
        return ids.parse("msg", str(value))
    except ids.MalformedId:
        raise ValueError("must be the id of a message, msg_...") from None


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


# A parameter that is not given is None, and cannot be given as null: the document says what it is when given.
_Text = Annotated[str | None, Field(min_length=1), WithJsonSchema({"type": "string", "minLength": 1})]
_Since = Annotated[
    Any, BeforeValidator(_since), WithJsonSchema({"type": "string", "pattern": f"^({_KEY}|{_INSTANT})$"})
]
_MessageIdText = Annotated[
    int | None,
    BeforeValidator(_message_id),
    WithJsonSchema({"type": "string", "pattern": id_pattern("msg")}),
]


class Matcher(Asked):
    """Conditions that all hold. A mistyped one would match everything."""

    recipient: _Text = Field(
        None, json_schema_extra=_no_default, description="Whose mailbox: the address in the envelope"
    )
    sender: _Text = Field(
        None, json_schema_extra=_no_default, alias="from", description="Stands in From, in any case"
    )
    subject: _Text = Field(
        None, json_schema_extra=_no_default, description="Stands in the subject, in any case"
    )
    message_id: _MessageIdText = Field(
        None, json_schema_extra=_no_default, description="Copies of this message only"
    )
    since: _Since = Field(
        None,
        json_schema_extra=_no_default,
        description="Key of a message: what came after it. An instant: what came then or later",
    )

    def wanted(self) -> Wanted:
        return Wanted(
            recipient=self.recipient,
            sender=self.sender,
            subject=self.subject,
            message_id=self.message_id,
            since=self.since,
        )


class InboxQuery(Matcher):
    limit: Digits = Field(100, ge=1, le=1000, description="Most messages in the answer")


class WaitQuery(Matcher):
    timeout: Digits = Field(30, ge=0, le=LONGEST_WAIT, description="Seconds to wait")


class InboxSummary(Shape):
    """A copy of a message, as the receiving mailbox has it."""

    key: str = Field(description="Sorts by time of arrival", examples=[_EXAMPLE_KEY])
    received_at: At
    message_id: MessageId
    recipient_id: RecipientId
    recipient: str = Field(description="Address in the envelope")
    return_path: str = Field(description="Reverse-path; empty if it is null")
    sender: str = Field(serialization_alias="from", description="From, decoded")
    to: str = Field(description="To, decoded")
    subject: str
    size_bytes: int


class InboxPage(Shape):
    messages: Sequence[InboxSummary] = Field(description="Newest first")
    total: int = Field(description="Before `limit`")


class InboxField(Shape):
    name: str
    value: str


class InboxLink(Shape):
    url: str
    text: str | None = Field(description="What HTML shows for it; null for one found in plain text alone")


class InboxAttachment(Shape):
    number: int = Field(description="Among all parts of the message")
    filename: str | None = Field(description="As the sender gave it: not safe as a path")
    content_type: str
    content_id: str | None
    size_bytes: int


class InboxVerdict(Shape):
    """On one DKIM-Signature, with the keys that our DNS records publish."""

    result: str = Field(description="pass, fail or permerror (RFC 8601 §2.7.1)")
    domain: str
    selector: str
    algorithm: str
    reason: str = Field(description="Why it did not pass; else empty")


class InboxMessage(InboxSummary):
    headers: Sequence[InboxField] = Field(description="Every header field in order, unfolded and decoded")
    text: str | None
    html: str | None
    links: Sequence[InboxLink] = Field(description="Of the HTML in order, then of the text")
    attachments: Sequence[InboxAttachment]
    dkim: Sequence[InboxVerdict]
    fault: str | None = Field(description="Why its parts could not be told apart; null if they could")


class Deleted(Shape):
    deleted: int = Field(description="How many messages are not kept any more")
