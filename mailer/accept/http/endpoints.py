"""Webhook endpoints: where a tenant wants its events posted. Reading needs `read`; all else `manage`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BeforeValidator, Field, WithJsonSchema

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.endpoints import Endpoints
from mailer.accept.http import endpoint_shapes as shapes
from mailer.accept.http.asked import Asked, Digits, id_path, number_of, once
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import id_pattern
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError

LOOK, CHANGE = "read", "manage"
PATH = "/v1/webhook-endpoints"
_ONE = "/{endpoint_id}"
_MOST_ROWS = 1000
_WHAT = "webhook endpoint"
_DISABLED = "disabled"

_EndpointId = Annotated[str, id_path("whe", "a webhook endpoint")]
_CallbackId = Annotated[str, id_path("whc", "a callback")]


def _cursor(kind: str) -> tuple[object, ...]:
    """`next_cursor` of the page before: the id that it ended with."""

    def read(text: object) -> int:
        try:
            return ids.parse(kind, str(text))
        except ids.MalformedId:
            raise ValueError("is not a cursor that was given out") from None

    return (
        BeforeValidator(read),
        WithJsonSchema({"type": "string", "pattern": id_pattern(kind)}),
        Field(description="`next_cursor` of the page before"),
    )


_Limit = Annotated[Digits, Field(ge=1, le=_MOST_ROWS, description="Most of them in the answer")]


class AttemptQuery(Asked):
    """Which part of the log of attempts."""

    cursor: Annotated[int | None, *_cursor("wha")] = None
    limit: _Limit = 100


class CallbackQuery(Asked):
    """Which callbacks."""

    cursor: Annotated[int | None, *_cursor("whc")] = None
    limit: _Limit = 100
    state: shapes.State | None = Field(None, description="Only those in this state")


def router(endpoints: Endpoints, authenticator: Authenticator) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be written."""
    routes = APIRouter(prefix=PATH, tags=["webhooks"], route_class=SmallBody)
    _keep(routes, endpoints, authenticator)
    _secrets(routes, endpoints, authenticator)
    _history(routes, endpoints, authenticator)
    return routes


def _keep(routes: APIRouter, endpoints: Endpoints, authenticator: Authenticator) -> None:
    reader, manager = (
        Depends(Caller(authenticator, LOOK)),
        Depends(Caller(authenticator, CHANGE, changes=True)),
    )

    @routes.post(
        "", response_model=shapes.EndpointWithSecret, status_code=201, summary="Make a webhook endpoint"
    )
    def create_endpoint(wanted: shapes.NewEndpoint, identity: Identity = manager) -> Response:
        """Events numbered from now on are posted to the URL, signed with the secret in the answer."""
        _check(endpoints, wanted.url)
        made = endpoints.create(
            identity.tenant_id, url=wanted.url, description=wanted.description, event_types=wanted.event_types
        )
        if made is None:
            raise SubmissionError(Fault.LIMIT_REACHED, "the tenant has as many endpoints as it may have")
        endpoint, secret = made
        shown = {name: getattr(endpoint, name) for name in shapes.Endpoint.model_fields}
        answer = as_json(shapes.EndpointWithSecret(**shown, secret=secret))
        answer.status_code = 201
        answer.headers["Location"] = f"{PATH}/{ids.show('whe', endpoint.id)}"
        return answer

    @routes.get("", response_model=shapes.EndpointList, summary="List webhook endpoints")
    def list_endpoints(identity: Identity = reader) -> Response:
        """All endpoints of the tenant, oldest first; without their secrets."""
        found = endpoints.listed(identity.tenant_id)
        return as_json(shapes.EndpointList.model_validate({"endpoints": found}))

    @routes.get(_ONE, response_model=shapes.Endpoint, summary="Get a webhook endpoint")
    def get_endpoint(endpoint_id: _EndpointId, identity: Identity = reader) -> Response:
        """Without its secret."""
        found = endpoints.get(identity.tenant_id, _number(endpoint_id))
        return as_json(shapes.Endpoint.model_validate(_there(found)))

    @routes.patch(_ONE, response_model=shapes.Endpoint, summary="Change a webhook endpoint")
    def change_endpoint(
        endpoint_id: _EndpointId, wanted: shapes.EndpointChange, identity: Identity = manager
    ) -> Response:
        """What is not named stays. A disabled endpoint gets no new callbacks, and what is due waits."""
        number = _number(endpoint_id)
        values = wanted.model_dump(include=wanted.model_fields_set)
        if "url" in values:
            _check(endpoints, wanted.url)
        changed = endpoints.change(identity.tenant_id, number, values)
        return as_json(shapes.Endpoint.model_validate(_there(changed)))

    @routes.delete(_ONE, status_code=204, response_class=Response, summary="Delete a webhook endpoint")
    def delete_endpoint(endpoint_id: _EndpointId, identity: Identity = manager) -> Response:
        """It is called no more; its callbacks and their attempts go with it."""
        if not endpoints.delete(identity.tenant_id, _number(endpoint_id)):
            raise _unknown(_WHAT)
        return Response(status_code=204)


def _secrets(routes: APIRouter, endpoints: Endpoints, authenticator: Authenticator) -> None:
    manager = Depends(Caller(authenticator, CHANGE, changes=True))

    @routes.get(f"{_ONE}/secret", response_model=shapes.EndpointSecret, summary="Show an endpoint's secret")
    def get_secret(endpoint_id: _EndpointId, identity: Identity = manager) -> Response:
        """What a consumer verifies signatures with."""
        secret = _there(endpoints.secret(identity.tenant_id, _number(endpoint_id)))
        return as_json(shapes.EndpointSecret(secret=secret))

    @routes.post(
        f"{_ONE}/secret/rotate", response_model=shapes.RotatedSecret, summary="Replace an endpoint's secret"
    )
    def rotate_secret(
        endpoint_id: _EndpointId, wanted: shapes.Rotation, identity: Identity = manager
    ) -> Response:
        """Callbacks bear signatures of both until the overlap ends, so that consumers can change in peace.
        Until then there is no other rotation, but one with an overlap of 0, which ends all older secrets."""
        overlap, number = timedelta(seconds=wanted.overlap_seconds), _number(endpoint_id)
        made = endpoints.rotate(identity.tenant_id, number, overlap=overlap)
        if made is None:
            _there(endpoints.get(identity.tenant_id, number))
            raise SubmissionError(
                Fault.CONFLICT, "the secret before this one still signs: wait, or rotate with an overlap of 0"
            )
        secret, old_until = made
        return as_json(shapes.RotatedSecret(secret=secret, old_until=old_until))

    @routes.post(f"{_ONE}/test", response_model=shapes.Tested, status_code=202, summary="Test an endpoint")
    def test_endpoint(endpoint_id: _EndpointId, identity: Identity = manager) -> Response:
        """Posts an event of the type `test`, in the same way as all others; the attempts tell how it went.
        A disabled endpoint is not tested: nothing is posted to it."""
        number = _number(endpoint_id)
        if _there(endpoints.get(identity.tenant_id, number)).state == _DISABLED:
            raise SubmissionError(Fault.CONFLICT, "the endpoint is disabled: activate it first")
        callback_id = _there(endpoints.test(identity.tenant_id, number))
        answer = as_json(shapes.Tested(callback_id=callback_id))
        answer.status_code = 202
        return answer


def _history(routes: APIRouter, endpoints: Endpoints, authenticator: Authenticator) -> None:
    reader = Depends(Caller(authenticator, LOOK, once=once(AttemptQuery, CallbackQuery)))
    manager = Depends(Caller(authenticator, CHANGE, changes=True))

    @routes.get(
        f"{_ONE}/attempts", response_model=shapes.EndpointAttemptPage, summary="List calls of an endpoint"
    )
    def list_attempts(
        endpoint_id: _EndpointId, query: Annotated[AttemptQuery, Query()], identity: Identity = reader
    ) -> Response:
        """Every call with its answer, newest first."""
        found = _there(
            endpoints.attempts(
                identity.tenant_id, _number(endpoint_id), before=query.cursor, limit=query.limit
            )
        )
        page = {"attempts": found, "next_cursor": found[-1].id if len(found) == query.limit else None}
        return as_json(shapes.EndpointAttemptPage.model_validate(page))

    @routes.get(
        f"{_ONE}/callbacks", response_model=shapes.CallbackPage, summary="List callbacks of an endpoint"
    )
    def list_callbacks(
        endpoint_id: _EndpointId, query: Annotated[CallbackQuery, Query()], identity: Identity = reader
    ) -> Response:
        """What was told, what waits and until when, and what was given up; newest first."""
        found = _there(
            endpoints.callbacks(
                identity.tenant_id,
                _number(endpoint_id),
                state=query.state,
                before=query.cursor,
                limit=query.limit,
            )
        )
        page = {"callbacks": found, "next_cursor": found[-1].id if len(found) == query.limit else None}
        return as_json(shapes.CallbackPage.model_validate(page))

    @routes.post(
        f"{_ONE}/callbacks/{{callback_id}}/retry", response_model=shapes.Callback, summary="Retry a callback"
    )
    def retry_callback(
        endpoint_id: _EndpointId, callback_id: _CallbackId, identity: Identity = manager
    ) -> Response:
        """One that waits or was given up is due now; one that is delivered or being called stays so."""
        number = _number(endpoint_id)
        callback = number_of("whc", callback_id, what="callback")
        retried = endpoints.retry(identity.tenant_id, number, callback)
        return as_json(shapes.Callback.model_validate(_there(retried, "callback of this endpoint")))


def _check(endpoints: Endpoints, url: str) -> None:
    fault = endpoints.fault_of_url(url)
    if fault is not None:
        raise SubmissionError(Fault.INVALID_FIELD, fault, pointer="/url")


def _number(endpoint_id: str) -> int:
    return number_of("whe", endpoint_id, what=_WHAT)


def _there(found: Any, what: str = _WHAT) -> Any:
    """What was found. Raises SubmissionError (NOT_FOUND)."""
    if found is None:
        raise _unknown(what)
    return found


def _unknown(what: str) -> SubmissionError:
    return SubmissionError(Fault.NOT_FOUND, f"this tenant has no such {what}")
