"""What requests and answers about webhook endpoints look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from mailer.accept.http.asked import Asked
from mailer.accept.http.shapes import At, Shape, shown_as
from mailer.events import EventType

EndpointId = Annotated[int, *shown_as("whe")]
CallbackId = Annotated[int, *shown_as("whc")]
AttemptId = Annotated[int, *shown_as("wha")]
Secret = Annotated[
    str, Field(pattern="^whsec_[A-Za-z0-9+/]+=*$", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
]

_WORDS = "^[^\\x00-\\x1f\\x7f]*$"  # no control characters: they are no words, and no database keeps a NUL
_MOST_OVERLAP_SECONDS = 7 * 24 * 3600

Url = Annotated[
    str,
    Field(
        min_length=1, max_length=2000, json_schema_extra={"format": "callback-url"},
        description="https, with a host that is public; in a sandbox http and this machine too",
        examples=["https://example.org/hooks/mail"],
    ),
]  # fmt: skip
Description = Annotated[str, Field(max_length=200, pattern=_WORDS, description="For you")]
EventTypes = Annotated[
    list[EventType],
    Field(
        max_length=len(EventType),
        description="Only these are told; empty: all",
        examples=[["delivered", "bounced"]],
    ),
]


class NewEndpoint(Asked):
    """A URL that events are posted to from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://example.org/hooks/mail", "event_types": ["delivered", "bounced"]}]
        }
    )

    url: Url
    description: Description = ""
    event_types: EventTypes = []


def _of_a_change(schema: dict[str, Any]) -> None:
    """A member that is not given has no value, so the document must not name one."""
    for member in schema["properties"].values():
        member.pop("default", None)
    schema["examples"] = [{"state": "disabled"}]


class EndpointChange(Asked):
    """What is not named stays as it is."""

    model_config = ConfigDict(json_schema_extra=_of_a_change)

    url: Url = ""
    description: Description = ""
    event_types: EventTypes = []
    state: Literal["active", "disabled"] = Field(
        "active", description="disabled: no new callbacks, and what is due waits"
    )


class Rotation(Asked):
    """How a secret is replaced."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 86400}]})

    overlap_seconds: int = Field(
        24 * 3600, ge=0, le=_MOST_OVERLAP_SECONDS, strict=True,
        description="How long callbacks bear a signature of the secret before, too",
    )  # fmt: skip


class Endpoint(Shape):
    """Where events of the tenant are posted to."""

    id: EndpointId
    url: str
    description: str
    event_types: Sequence[EventType] = Field(description="Only these are told; empty: all")
    state: Literal["active", "disabled"] = Field(description="disabled by its tenant, or by its own 410")
    created_at: At
    old_until: At | None = Field(
        description="Until when callbacks bear a signature of the secret before, too"
    )


class EndpointWithSecret(Endpoint):
    """An endpoint that was just made."""

    secret: Secret


class EndpointList(Shape):
    """All endpoints of the tenant, oldest first."""

    endpoints: Sequence[Endpoint]


class EndpointSecret(Shape):
    """What its callbacks are signed with."""

    secret: Secret


class RotatedSecret(Shape):
    """The new secret."""

    secret: Secret
    old_until: At = Field(description="Until when callbacks bear a signature of the secret before, too")


_NUMBER = Field(description="Number of the event in the tenant's log; null for a test")
State = Literal["due", "held", "delivered", "given_up"]


class Callback(Shape):
    """One event for one endpoint."""

    id: CallbackId
    event_number: int | None = _NUMBER
    state: State = Field(description="held: being called now")
    due_at: At | None = Field(description="Of the next attempt; null if none follows")
    attempt_count: int
    created_at: At
    settled_at: At | None = Field(description="null until it is delivered or given up")


class CallbackPage(Shape):
    """Newest first."""

    callbacks: Sequence[Callback]
    next_cursor: CallbackId | None = Field(description="Value of `cursor` for the next page; null at the end")


class EndpointAttempt(Shape):
    """One call of an endpoint."""

    id: AttemptId
    callback_id: CallbackId
    event_number: int | None = _NUMBER
    state: State = Field(description="Of the callback now")
    at: At
    duration_ms: int
    status: int | None = Field(description="HTTP status of the answer; null without one")
    cause: str | None = Field(
        description="Why there was no answer, or what was wrong with it; null for a 2xx"
    )


class EndpointAttemptPage(Shape):
    """Newest first."""

    attempts: Sequence[EndpointAttempt]
    next_cursor: AttemptId | None = Field(description="Value of `cursor` for the next page; null at the end")


class Tested(Shape):
    """A test is on its way."""

    callback_id: CallbackId
