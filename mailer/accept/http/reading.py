"""GET: a message, why it waits, and the event log. A tenant sees its own; all else is 404."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import Asked, Digits, once
from mailer.accept.http.callers import Caller, MessageIdText, as_json, message_number, not_found
from mailer.accept.http.shapes import EventPage, ExplainedMessage, Message
from mailer.events import EventType
from mailer.queue import explain, read
from mailer.queue.obstacles import Knowledge
from mailer.store import Store

SCOPE = "read"
_MOST_EVENTS = 1000
_LARGEST = 2**63 - 1  # what the log's numbers fit into


class EventQuery(Asked):
    """Which part of the log. A mistyped filter would show everything."""

    after: Digits = Field(0, ge=0, le=_LARGEST, description="Number of the last event seen; 0 for the start")
    limit: Digits = Field(100, ge=1, le=_MOST_EVENTS, description="Most events in the answer")
    type: list[EventType] = Field([], max_length=len(EventType), description="Only these; may be repeated")


def router(
    store: Store, authenticator: Authenticator, *, knowledge: Knowledge, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be read."""
    routes = APIRouter(prefix="/v1")
    reader = Depends(Caller(authenticator, SCOPE, once=once(EventQuery)))
    explainer = Depends(Caller(authenticator, SCOPE, or_operate=True))

    @routes.get("/messages/{message_id}", response_model=Message, tags=["messages"], summary="Get a message")
    def get_message(message_id: MessageIdText, identity: Identity = reader) -> Response:
        """A message with its recipients, every attempt with the SMTP conversation, and its events."""
        view = read.message_of(store, identity.tenant_id, message_number(message_id))
        if view is None:
            not_found()
        return as_json(Message.model_validate(view))

    @routes.get(
        "/messages/{message_id}/explain", response_model=ExplainedMessage, tags=["messages"],
        summary="Explain where a message is",
    )  # fmt: skip
    def explain_message(message_id: MessageIdText, identity: Identity = explainer) -> Response:
        """Every decision of the message's life with its reason; and of what still waits, what keeps it
        waiting at this moment, until when, and what it would take. A key with the scope `operate` may ask
        about any tenant's message."""
        number = message_number(message_id)
        known = replace(knowledge, for_operator=identity.is_operator)
        tenant_id = explain.tenant_of(store, number) if identity.is_operator else identity.tenant_id
        explained = tenant_id and explain.explain(store, tenant_id, number, known, now=now())
        if not explained:
            not_found()
        return as_json(ExplainedMessage.model_validate({"id": number, "recipients": explained}))

    @routes.get("/events", response_model=EventPage, tags=["events"], summary="Read the event log")
    def list_events(query: Annotated[EventQuery, Query()], identity: Identity = reader) -> Response:
        """Events after a number, in order, without gaps: a consumer can prove that it missed nothing."""
        page = read.events(store, identity.tenant_id, after=query.after, limit=query.limit, types=query.type)
        return as_json(EventPage.model_validate(page))

    return routes
