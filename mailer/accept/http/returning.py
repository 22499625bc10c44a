"""/v1/returned: what came back of a tenant's mail, as it came and as it was understood."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BeforeValidator, Field, WithJsonSchema

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http.asked import Asked, Digits, id_path, number_of, once
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import At, MessageId, RecipientId, Shape, id_pattern, shown_as
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.policy.bounceclass import BounceClass
from mailer.queue import returned_list
from mailer.queue.returned_list import Returned, Wanted
from mailer.store import Store

PATH = "/v1/returned"
_WHAT = "returned mail"
_DOWNLOAD = "sandbox; default-src 'none'"
_RAW: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole mail",
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_ReturnedId = Annotated[str, id_path("ret", "a returned mail")]
_Id = Annotated[int, *shown_as("ret")]
_Kind = Literal["return-path", "unsubscribe", "complaints", "reports", "person"]


def _cursor(text: object) -> int:
    try:
        return ids.parse("ret", str(text))
    except ids.MalformedId:
        raise ValueError("is not a cursor that was given out") from None


class ReturnedQuery(Asked):
    """Which returned mails; all that is said must be met."""

    cursor: Annotated[
        int | None,
        BeforeValidator(_cursor),
        WithJsonSchema({"type": "string", "pattern": id_pattern("ret")}),
        Field(description="`next_cursor` of the page before"),
    ] = None
    limit: Annotated[Digits, Field(ge=1, le=1000, description="Most of them in the answer")] = 100
    kind: _Kind | None = Field(None, description="Only those to such an address")
    bounce_class: BounceClass | None = Field(None, description="Only those of this class")
    verified: Literal["true", "false"] | None = Field(
        None, description="Only those that prove whose they are"
    )


class ReturnedMail(Shape):
    """A mail that came to an address of ours."""

    id: _Id
    received_at: At
    kind: _Kind = Field(description="What the address is for")
    address: str = Field(description="The address that it came to")
    reverse_path: str = Field(description="Its envelope sender; empty: the null one")
    size_bytes: int
    state: Literal["new", "read", "failed"] = Field(
        description="new: not read yet; failed: it cannot be read"
    )
    bounce_class: BounceClass | None = Field(description="What it means; null until it was read")
    matched_by: Literal["address", "content", "envelope-id", "message-id"] | None = Field(
        description="How it is known whose it is: a token in its address or inside it, the ENVID that its"
        " submitter gave, or the Message-ID"
    )
    is_verified: bool | None = Field(
        description="It proves whose it is; what does not is shown here and changes nothing"
    )
    message_id: MessageId | None
    recipient_id: RecipientId | None
    findings: dict[str, Any] = Field(description="What it says, and what followed: `event` that it led to")


class ReturnedPage(Shape):
    """Newest first."""

    returned: list[ReturnedMail]
    next_cursor: _Id | None = Field(description="Value of `cursor` for the next page; null at the end")


def router(store: Store, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be read."""
    routes = APIRouter(prefix=PATH, tags=["returned mail"], route_class=SmallBody)
    reader = Depends(Caller(authenticator, "read", once=once(ReturnedQuery)))

    @routes.get("", response_model=ReturnedPage, summary="List returned mail")
    def list_returned(query: Annotated[ReturnedQuery, Query()], identity: Identity = reader) -> Response:
        """Bounces, complaints and answers to the tenant's mail, newest first, the unverified ones too."""
        wanted = Wanted(
            tenant_id=identity.tenant_id,
            kind=query.kind,
            bounce_class=query.bounce_class,
            is_verified=None if query.verified is None else query.verified == "true",
            before=query.cursor,
            limit=query.limit,
        )
        found = returned_list.page(store, wanted)
        return as_json(
            ReturnedPage(
                returned=[_shape(one) for one in found],
                next_cursor=found[-1].id if len(found) == query.limit else None,
            )
        )

    @routes.get("/{returned_id}", response_model=ReturnedMail, summary="Get a returned mail")
    def get_returned(returned_id: _ReturnedId, identity: Identity = reader) -> Response:
        """How it came and what it means."""
        number = number_of("ret", returned_id, what=_WHAT)
        found = returned_list.get(store, identity.tenant_id, number)
        if found is None:
            raise _unknown()
        return as_json(_shape(found))

    @routes.get(
        "/{returned_id}/raw", response_class=Response, responses=_RAW,
        summary="Get a returned mail as it came",
    )  # fmt: skip
    def get_raw_returned(returned_id: _ReturnedId, identity: Identity = reader) -> Response:
        """Octet for octet, under the trace fields of our host (RFC 5321 §4.4). Written by a stranger."""
        number = number_of("ret", returned_id, what=_WHAT)
        content = returned_list.content(store, identity.tenant_id, number)
        if content is None:
            raise _unknown()
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": _DOWNLOAD}
        return Response(content, media_type="message/rfc822", headers=headers)

    return routes


def _shape(found: Returned) -> ReturnedMail:
    shown = {name: getattr(found, name) for name in ReturnedMail.model_fields}
    return ReturnedMail.model_validate(shown)


def _unknown() -> SubmissionError:
    return SubmissionError(Fault.NOT_FOUND, f"this tenant has no such {_WHAT}")
