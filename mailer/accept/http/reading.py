"""GET: a message, why it waits, and the event log. A tenant sees its own; all else is 404."""

from __future__ import annotations

from typing import Annotated, NoReturn

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.shapes import EventPage, ExplainedMessage, Message, id_pattern
from mailer.accept.http.visits import visit_of
from mailer.accept.submission import Fault, SubmissionError
from mailer.events import EventType
from mailer.queue import explain, read
from mailer.store import Store

SCOPE = "read"
_MOST_EVENTS = 1000
_LARGEST = 2**63 - 1  # what the log's numbers fit into

# A malformed id is 404 like an unknown one, so the pattern is told and not enforced.
_MessageIdText = Annotated[
    str, Path(description="Id of a message", json_schema_extra={"pattern": id_pattern("msg")})
]


def _digits_only(value: object) -> object:
    """Refuses what Python reads as a number all the same: `0.0`, `+1`, ` 1`, `1_000`."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number in decimal digits")
    return value


_Number = Annotated[int, BeforeValidator(_digits_only)]


class EventQuery(BaseModel):
    """Which part of the log. An unknown parameter is an error: a mistyped filter would show everything."""

    model_config = ConfigDict(extra="forbid")

    after: _Number = Field(0, ge=0, le=_LARGEST, description="Number of the last event seen; 0 for the start")
    limit: _Number = Field(100, ge=1, le=_MOST_EVENTS, description="Most events in the answer")
    type: list[EventType] = Field([], max_length=len(EventType), description="Only these; may be repeated")


def router(store: Store, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be read."""
    routes = APIRouter(prefix="/v1")
    reader = Depends(_Reader(authenticator))

    @routes.get("/messages/{message_id}", response_model=Message, tags=["messages"], summary="Get a message")
    def get_message(message_id: _MessageIdText, identity: Identity = reader) -> Response:
        """A message with its recipients, every attempt with the SMTP conversation, and its events."""
        view = read.message_of(store, identity.tenant_id, _message_id(message_id))
        if view is None:
            _not_found()
        return _json(Message.model_validate(view))

    @routes.get(
        "/messages/{message_id}/explain", response_model=ExplainedMessage, tags=["messages"],
        summary="Explain where a message is",
    )  # fmt: skip
    def explain_message(message_id: _MessageIdText, identity: Identity = reader) -> Response:
        """Every decision of the message's life with its reason: why it is waiting, and until when."""
        number = _message_id(message_id)
        explained = explain.explain(store, identity.tenant_id, number)
        if explained is None:
            _not_found()
        return _json(ExplainedMessage.model_validate({"id": number, "recipients": explained}))

    @routes.get("/events", response_model=EventPage, tags=["events"], summary="Read the event log")
    def list_events(query: Annotated[EventQuery, Query()], identity: Identity = reader) -> Response:
        """Events after a number, in order, without gaps: a consumer can prove that it missed nothing."""
        page = read.events(store, identity.tenant_id, after=query.after, limit=query.limit, types=query.type)
        return _json(EventPage.model_validate(page))

    return routes


class _Reader:
    """The tenant whose key may read. A suspended tenant may still look."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, request: Request) -> Identity:
        identity = await self._authenticator.identify(request.headers.get("authorization"))
        visit_of(request.scope).tenant_id = identity.tenant_id
        identity.require(SCOPE)
        return identity


def _message_id(text: str) -> int:
    try:
        return ids.parse("msg", text)
    except ids.MalformedId:
        _not_found()


def _not_found() -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, "this tenant has no such message")


def _json(shape: BaseModel) -> Response:
    return Response(
        shape.model_dump_json(by_alias=True), media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip
