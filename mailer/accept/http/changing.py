"""POST on a message that was accepted: cancel it, or have it tried again. Both may be repeated."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Depends, Response
from pydantic import Field

from mailer import ids
from mailer.accept.changes import Changes
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import Asked, examples
from mailer.accept.http.callers import Caller, MessageIdText, as_json, message_number, not_found
from mailer.accept.http.sending import SCOPE
from mailer.accept.http.shapes import Cancelled, Retried, id_pattern
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.http.wire import pointer
from mailer.accept.submission import Fault, SubmissionError
from mailer.queue.chosen import NotOfMessage

_MOST_RECIPIENTS = 1000  # named in one request
_Made = TypeVar("_Made")


class Chosen(Asked):
    """Which recipients; without a body, all."""

    recipients: list[Annotated[str, Field(pattern=id_pattern("rcpt"))]] = Field(
        min_length=1, max_length=_MOST_RECIPIENTS, description="Ids of recipients of this message"
    )


_CHOSEN = examples(one={"recipients": [ids.show("rcpt", 6)]})
ChosenBody = Annotated[Chosen | None, Body(openapi_examples=_CHOSEN)]


def router(changes: Changes, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be written."""
    routes = APIRouter(prefix="/v1", route_class=SmallBody)
    sender = Depends(Caller(authenticator, SCOPE, changes=True))

    @routes.post(
        "/messages/{message_id}/cancel", response_model=Cancelled, tags=["messages"],
        summary="Cancel a message",
    )  # fmt: skip
    def cancel_message(
        message_id: MessageIdText, chosen: ChosenBody = None, identity: Identity = sender
    ) -> Response:
        """Ends every recipient that still waits. One that is being delivered right now is cancelled unless
        that succeeds: its events tell. A body may name some recipients only."""
        number = message_number(message_id)
        made = _changed(changes.cancel, identity, number, chosen)
        return as_json(
            Cancelled(id=number, cancelled=made.cancelled, under_way=made.under_way, too_late=made.too_late)
        )

    @routes.post(
        "/messages/{message_id}/retry", response_model=Retried, tags=["messages"],
        summary="Try a message again",
    )  # fmt: skip
    def retry_message(
        message_id: MessageIdText, chosen: ChosenBody = None, identity: Identity = sender
    ) -> Response:
        """Recipients that wait for a retry are due now. Those that bounced, expired or were cancelled are
        accepted anew, once each, as recipients of their own. All others are left alone. A body may name
        some recipients only."""
        number = message_number(message_id)
        made = _changed(changes.send_again, identity, number, chosen)
        anew = [{"recipient_id": new, "retry_of": old} for old, new in made.anew.items()]
        return as_json(Retried.model_validate({"id": number, "due_now": made.due_now, "anew": anew}))

    return routes


def _changed(
    change: Callable[[Identity, int, Collection[int]], _Made | None],
    identity: Identity,
    number: int,
    chosen: Chosen | None,
) -> _Made:
    """What `change` did. Raises SubmissionError: there is no such message or recipient, or it is refused."""
    shown = () if chosen is None else chosen.recipients
    only = [_recipient_number(text, n) for n, text in enumerate(shown)]
    try:
        made = change(identity, number, only)
    except NotOfMessage as error:
        place = next(n for n, recipient_id in enumerate(only) if recipient_id in error.recipient_ids)
        raise _no_recipient(place) from None
    if made is None:
        not_found()
    return made


def _recipient_number(text: str, place: int) -> int:
    try:
        return ids.parse("rcpt", text)
    except ids.MalformedId:
        raise _no_recipient(place) from None


def _no_recipient(place: int) -> SubmissionError:
    return SubmissionError(
        Fault.INVALID_FIELD, "the message has no such recipient", pointer=pointer("recipients", place)
    )
