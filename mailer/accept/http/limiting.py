"""/v1/limits: what tenants and streams may send over time, what of tenants is accepted, and what sites take.
For the operator alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StrictInt

from mailer.accept.credentials import Authenticator
from mailer.accept.http import openapi
from mailer.accept.http.asked import Asked, examples, left_out, once
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import At, Shape
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import api_keys, streams, tenants
from mailer.identity.names import BadName, Unknown
from mailer.policy.limits import read_rates
from mailer.policy.sites import SiteRules
from mailer.queue import allowances, sitemeters
from mailer.queue.allowances import Subject
from mailer.queue.metering import Standing
from mailer.store import Store

_PATH = "/limits"
_Count = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
_Tenant = Annotated[str, Field(max_length=200, json_schema_extra={"format": "tenant"})]
_Stream = Annotated[str, Field(max_length=100, json_schema_extra={"format": "stream"})]


_Of = Literal["sending", "accepting"]
_OF = "sending: what is beyond it waits; accepting: what is beyond it is refused"


class Window(Shape):
    """One limit, and how it stands. It holds over any such time, wherever it begins."""

    limit: str = Field(description="As people say it", examples=["50/second"])
    count: int
    seconds: Literal[1, 60, 3600, 86400]
    used: int = Field(description="Recipients that count in the window that ends now")
    room_now: int = Field(description="What may be sent, or is accepted, at once now")
    opens_at: At | None = Field(description="When there is room again; null: there is some")


class Limit(Shape):
    """What a tenant, or one of its streams, may send, or what of a tenant is accepted."""

    tenant: str
    of: _Of = Field(description=_OF)
    stream: str | None = Field(description="null: all streams of the tenant together")
    newcomer: bool = Field(description="The daily cap of a new tenant, which grows by itself")
    windows: Sequence[Window]


class SiteLimit(Shape):
    """A limit of a rule that mail was sent, or connections were opened, under."""

    of: Literal["messages", "messages_together", "connections"] = Field(
        description="messages_together: over all our addresses and all sites of the provider; connections:"
        " new ones"
    )
    site: str = Field(description="Or the provider whose sites are limited together")
    egress_ip: str | None = Field(description="Address of ours; empty: the system's choice; null: all")
    place: str = Field(description="File and line of the rule, or `api`")
    window: Window


class LimitList(Shape):
    limits: Sequence[Limit] = Field(description="By tenant and stream")
    sites: Sequence[SiteLimit] = Field(description="By site; see `/v1/provider-rules`")


class LimitRequest(Asked):
    """At least one limit; those that are not said are gone. Every recipient of a message counts as one."""

    tenant: _Tenant
    of: Annotated[_Of, Field(description=_OF)] = "sending"
    stream: _Stream = left_out("Of what is sent only")
    messages_per_second: _Count = left_out()
    messages_per_minute: _Count = left_out()
    messages_per_hour: _Count = left_out()
    messages_per_day: _Count = left_out()


class LimitedQuery(Asked):
    """Whose limits are meant."""

    tenant: _Tenant
    of: Annotated[_Of, Field(description=_OF)] = "sending"
    stream: _Stream = left_out("Without it those of the tenant itself; its streams' stay")


_NAMES_OTHERS = {openapi.FAULTS: (Fault.NOT_FOUND, Fault.INVALID_FIELD)}  # in its body or query
_NEW = examples(
    tenant={"tenant": "acme", "messages_per_hour": 5000, "messages_per_second": 50},
    stream={"tenant": "acme", "stream": "broadcast", "messages_per_day": 100_000},
    accepting={"tenant": "acme", "of": "accepting", "messages_per_day": 50_000},
)


@dataclass(frozen=True, slots=True)
class _Look:
    store: Store
    rules: SiteRules
    now: Callable[[], datetime]

    def __call__(self) -> Response:
        at = self.now()
        limits = [
            Limit(
                tenant=held.tenant,
                of="accepting" if held.is_accepting else "sending",
                stream=held.stream,
                newcomer=held.is_newcomers,
                windows=[_window(s) for s in held.at],
            )
            for held in allowances.standing(self.store, now=at)
        ]
        sites = [
            SiteLimit(of=m.of, site=m.site, egress_ip=m.egress_ip, place=m.place, window=_window(m.at))
            for m in sitemeters.listed(self.store, self.rules, now=at)
        ]
        return as_json(LimitList(limits=limits, sites=sites))


def router(
    store: Store, authenticator: Authenticator, rules: SiteRules, *, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    operator = Depends(Caller(authenticator, api_keys.OPERATE, once=once(LimitedQuery)))
    routes = APIRouter(prefix="/v1", tags=["limits"], route_class=SmallBody, dependencies=[operator])
    look = _Look(store, rules, now)

    @routes.get(_PATH, response_model=LimitList, summary="List limits over time")
    def list_limits() -> Response:
        """Those of all tenants and streams, and how much of each is left at this moment."""
        return look()

    @routes.put(
        _PATH, response_model=LimitList, summary="Limit a tenant or a stream", openapi_extra=_NAMES_OTHERS
    )
    def set_limit(request: Annotated[LimitRequest, Body(openapi_examples=_NEW)]) -> Response:
        """In place of what was set of the same before. What is beyond a limit of `sending` is accepted and
        waits for its turn; what is beyond one of `accepting` is refused with `quota-exceeded`. All follow
        within seconds. May be repeated."""
        rates = read_rates(request.model_dump(exclude_none=True))
        if not rates:
            raise _without_any()
        subject, number = _subject(store, request)
        allowances.allow(store, subject, number, rates, now=now())
        return look()

    @routes.delete(
        _PATH, response_model=LimitList, summary="Remove the limits of a tenant or a stream",
        openapi_extra=_NAMES_OTHERS,
    )  # fmt: skip
    def remove_limit(asked: Annotated[LimitedQuery, Query()]) -> Response:
        """It may send anything, or all of it is accepted. May be repeated."""
        subject, number = _subject(store, asked)
        allowances.allow(store, subject, number, (), now=now())
        return look()

    return routes


def _window(at: Standing) -> Window:
    return Window.model_validate(
        {
            "limit": str(at.rate), "count": at.rate.count, "seconds": at.rate.seconds, "used": at.used,
            "room_now": at.room, "opens_at": at.opens_at,
        }
    )  # fmt: skip


def _subject(store: Store, asked: LimitRequest | LimitedQuery) -> tuple[Subject, int]:
    """Raises SubmissionError (NOT_FOUND, INVALID_FIELD)."""
    accepting = asked.of == "accepting"
    if accepting and asked.stream is not None:
        at = "/stream" if isinstance(asked, LimitRequest) else None
        raise SubmissionError(Fault.INVALID_FIELD, "what is accepted is limited by tenant alone", pointer=at)
    try:
        owner = tenants.named(store, asked.tenant)
        if asked.stream is None:
            return "accept" if accepting else "tenant", owner.id
        return "stream", streams.id_of(store, owner.id, asked.stream)
    except (BadName, Unknown) as error:
        raise SubmissionError(Fault.NOT_FOUND, str(error)) from None


def _without_any() -> RequestValidationError:
    sentence = "at least one of messages_per_second, _minute, _hour and _day is needed"
    return RequestValidationError([{"type": "value_error", "loc": ("body",), "msg": sentence}])
