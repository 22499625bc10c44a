"""/v1/brake: streams that are warned of or paused, and the operator's overrides. For the operator alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Response
from pydantic import Field, field_validator

from mailer import ids
from mailer.accept.credentials import Authenticator, Identity
from mailer.accept.http import openapi
from mailer.accept.http.asked import Asked, Instant, examples, left_out, refusals
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.egress import TenantText
from mailer.accept.http.queue_shapes import Reason
from mailer.accept.http.shapes import At, Shape
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import api_keys, streams, tenants
from mailer.identity.streams import NAME_PATTERN
from mailer.queue import overriding
from mailer.queue.actions import Doer
from mailer.queue.overriding import Override, Standing, Target
from mailer.queue.pieces import Means

_PATH = "/brake"
_UNKNOWN: dict[str, Any] = {openapi.FAULTS: (Fault.NOT_FOUND,)}


class OverrideShape(Shape):
    """Until then it is not paused."""

    until: At
    reason: str
    set_by: str = Field(description="Id of an API key, or who gave the command")


class BrakedStream(Shape):
    """A stream that is marked, or for which an override is in force."""

    tenant: str
    stream: str | None = Field(description="null: all of the tenant's, of an override")
    mark: Literal["warn", "pause"] | None = Field(description="What its rates ask for; null: nothing")
    reason: str = Field(description="The rate that decided it, with figures")
    since: At | None
    paused: bool
    until: At | None = Field(description="When the pause ends if nothing more is heard")
    override: OverrideShape | None


class BrakeList(Shape):
    streams: Sequence[BrakedStream]


class LetGo(Shape):
    let_go: int = Field(description="Streams that were paused, and go on")


class _Braked(Asked):
    tenant: TenantText = Field(description="Its name")
    stream: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] = left_out(
        "Name of one stream; without it all of the tenant's are meant"
    )
    reason: Reason

    @field_validator("stream", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        """null may be a program's mistake, and would mean more streams than were meant."""
        if value is None:
            raise ValueError("must not be null: leave it out")
        return value


class OverrideOrder(_Braked):
    """It is not paused until a time, whatever comes back."""

    until: Instant


class ClearOrder(_Braked):
    """It is judged again."""


_OVERRIDDEN = examples(
    cleaned={
        "tenant": "acme", "stream": "broadcast", "until": "2030-12-01T00:00:00Z", "reason": "cleaned",
    }
)  # fmt: skip
_CLEARED = examples(again={"tenant": "acme", "stream": "broadcast", "reason": "it was not cleaned"})


def router(means: Means, authenticator: Authenticator, *, ring: Callable[[], None]) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(prefix="/v1", tags=["brake"], route_class=SmallBody)
    operator = Depends(Caller(authenticator, api_keys.OPERATE))

    @routes.get(_PATH, response_model=BrakeList, summary="List streams that are ill received")
    def list_brake(identity: Identity = operator) -> Response:
        """Those that are warned of or paused for complaints or hard bounces, and the overrides in force."""
        found = [_values(one) for one in overriding.standing(means.store, now=means.now())]
        return as_json(BrakeList.model_validate({"streams": found}))

    @routes.post(
        f"{_PATH}/override", response_model=LetGo, summary="Override the brake", openapi_extra=_UNKNOWN
    )
    def override_brake(
        order: Annotated[OverrideOrder, Body(openapi_examples=_OVERRIDDEN)], identity: Identity = operator
    ) -> Response:
        """What is paused goes on within a second, and nothing of it is paused until then. Replaces an earlier
        override of the same; may be repeated."""
        if order.until <= means.now():
            raise SubmissionError(Fault.INVALID_FIELD, "until must be later than now", pointer="/until")
        wanted = Override(order.until, order.reason)
        let_go = overriding.override(means, _target(means, order), wanted, _doer(identity))
        ring()
        return as_json(LetGo(let_go=let_go))

    @routes.post(
        f"{_PATH}/clear", status_code=204, response_class=Response, summary="End an override of the brake",
        openapi_extra=_UNKNOWN,
    )  # fmt: skip
    def clear_brake(
        order: Annotated[ClearOrder, Body(openapi_examples=_CLEARED)], identity: Identity = operator
    ) -> Response:
        """It is judged again within a minute. Not found where there is no override of just that."""
        if not overriding.clear(means, _target(means, order), _doer(identity), order.reason):
            raise SubmissionError(Fault.NOT_FOUND, "there is no override of just that")
        return Response(status_code=204)

    return routes


def _target(means: Means, order: _Braked) -> Target:
    """Raises SubmissionError."""
    with refusals():
        owner = tenants.named(means.store, order.tenant)
        if order.stream is None:
            return Target(owner.id)
        return Target(owner.id, streams.id_of(means.store, owner.id, order.stream), order.stream)


def _doer(caller: Identity) -> Doer:
    return Doer(ids.show("key", caller.key_id))


def _values(one: Standing) -> dict[str, object]:
    over = one.override
    return {
        "tenant": one.tenant, "stream": one.stream, "mark": one.mark, "reason": one.reason,
        "since": one.since, "paused": one.is_held, "until": one.until,
        "override": None if over is None
        else {"until": over.until, "reason": over.reason, "set_by": one.set_by},
    }  # fmt: skip
