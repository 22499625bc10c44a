"""GET /v1/messages: a tenant's messages, newest first, page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AfterValidator, Field, WithJsonSchema

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import cursors
from mailer.accept.http.asked import Asked, Digits, Instant, NotGiven, once, position_of
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.reading import SCOPE
from mailer.accept.http.shapes import At, MessageId, Shape
from mailer.compose import control
from mailer.compose.address import parse_addr_spec
from mailer.events import RecipientState
from mailer.identity.names import BadName, parse_domain
from mailer.identity.streams import NAME_PATTERN as STREAM_PATTERN
from mailer.queue import listing
from mailer.queue.finding import Wanted
from mailer.store import Store

_MOST = 100
_CURSOR_CHARS = 64


class MessageSummary(Shape):
    """A message in a list."""

    id: MessageId
    from_: str = Field(validation_alias="header_from", serialization_alias="from")
    subject: str
    stream: str
    tags: Sequence[str]
    metadata: Mapping[str, str]
    accepted_at: At
    due_at: At
    size_bytes: int
    states: Mapping[RecipientState, int] = Field(description="How many of its recipients are in which state")


class MessagePage(Shape):
    """A piece of the list. It may be short, or empty, and not the last one: follow `next_cursor`."""

    messages: Sequence[MessageSummary]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: there is nothing more")


def _address(text: str) -> str:
    """As it is stored: the local part exactly, the domain as A-labels in lower case. Raises ValueError."""
    return parse_addr_spec(text).addr_spec


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except BadName as error:
        raise ValueError(str(error)) from None


_Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "format": "addr-spec"})]
DomainText = Annotated[str, AfterValidator(_domain), WithJsonSchema({"type": "string", "format": "domain"})]
_Tag = Annotated[str, Field(pattern=f"^{control.TAG_PATTERN}$")]
_Stream = Annotated[str, Field(pattern=f"^{STREAM_PATTERN}$")]


class ListQuery(Asked):
    """Which messages. All that is given must be met; state, recipient and domain by one recipient."""

    state: list[RecipientState] = Field(
        [], max_length=len(RecipientState), description="State of a recipient; may be repeated: any of them"
    )
    recipient: _Address | NotGiven = Field(None, description="Address of a recipient; upper and lower case of"
        " the part before the @ are told apart")  # fmt: skip
    domain: DomainText | NotGiven = Field(None, description="Domain of a recipient")
    tag: _Tag | NotGiven = Field(None, description="One of its tags")
    stream: _Stream | NotGiven = Field(None, description="Name of its stream")
    from_domain: DomainText | NotGiven = Field(None, description="The sending domain")
    after: Instant | NotGiven = Field(None, description="Accepted at that instant or later (RFC 3339)")
    before: Instant | NotGiven = Field(None, description="Accepted before that instant (RFC 3339)")
    limit: Digits = Field(25, ge=1, le=_MOST, description="Most messages in the answer")
    cursor: str | NotGiven = Field(
        None, max_length=_CURSOR_CHARS, description="`next_cursor` of the page before; other filters than"
        " that page's are an error",
    )  # fmt: skip

    def wanted(self) -> Wanted:
        return Wanted(
            states=frozenset(self.state),
            address=self.recipient,
            domain=self.domain,
            tag=self.tag,
            stream=self.stream,
            from_domain=self.from_domain,
            since=self.after,
            before=self.before,
        )

    def question(self) -> str:
        """The filters in one form, whatever their order and spelling."""
        said = self.model_dump(mode="json", exclude={"limit", "cursor"})
        return json.dumps(said | {"state": sorted(set(self.state))}, sort_keys=True)


def router(store: Store, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be read."""
    routes = APIRouter(prefix="/v1")
    reader = Depends(Caller(authenticator, SCOPE, once=once(ListQuery)))

    @routes.get("/messages", response_model=MessagePage, tags=["messages"], summary="List messages")
    def list_messages(query: Annotated[ListQuery, Query()], identity: Identity = reader) -> Response:
        """Messages, the newest first. All filters given must be met; `state`, `recipient` and `domain` by
        one recipient. A page looks at a bounded number of messages: with a filter that few meet it may be
        short or empty. Go on with `next_cursor` until that is null. New mail shifts no page."""
        question = query.question()
        found = listing.page(
            store, identity.tenant_id, query.wanted(), limit=query.limit,
            position=position_of(query.cursor, question),
        )  # fmt: skip
        following = None if found.position is None else cursors.cursor(found.position, question)
        return as_json(MessagePage.model_validate({"messages": found.messages, "next_cursor": following}))

    return routes
