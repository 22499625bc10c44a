"""POST on a message that was accepted: cancel it, or have it tried again. Both may be repeated."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from mailer.accept.changes import Changes
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.callers import Caller, MessageIdText, as_json, message_number, not_found
from mailer.accept.http.sending import SCOPE
from mailer.accept.http.shapes import Cancelled, Retried


def router(changes: Changes, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be written."""
    routes = APIRouter(prefix="/v1")
    sender = Depends(Caller(authenticator, SCOPE, changes=True))

    @routes.post(
        "/messages/{message_id}/cancel", response_model=Cancelled, tags=["messages"],
        summary="Cancel a message",
    )  # fmt: skip
    def cancel_message(message_id: MessageIdText, identity: Identity = sender) -> Response:
        """Ends every recipient that still waits. One that is being delivered right now is cancelled unless
        that succeeds: its events tell."""
        number = message_number(message_id)
        made = changes.cancel(identity.tenant_id, number)
        if made is None:
            not_found()
        return as_json(
            Cancelled(id=number, cancelled=made.cancelled, under_way=made.under_way, too_late=made.too_late)
        )

    @routes.post(
        "/messages/{message_id}/retry", response_model=Retried, tags=["messages"],
        summary="Try a message again",
    )  # fmt: skip
    def retry_message(message_id: MessageIdText, identity: Identity = sender) -> Response:
        """Recipients that wait for a retry are due now. Those that bounced, expired or were cancelled are
        accepted anew, once each, as recipients of their own. All others are left alone."""
        number = message_number(message_id)
        made = changes.send_again(identity.tenant_id, number)
        if made is None:
            not_found()
        anew = [{"recipient_id": new, "retry_of": old} for old, new in made.anew.items()]
        return as_json(Retried.model_validate({"id": number, "due_now": made.due_now, "anew": anew}))

    return routes
