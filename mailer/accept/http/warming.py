"""/v1/warmups: how new IPs grow, provider by provider. For the operator alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal, NoReturn

from fastapi import APIRouter, Body, Depends, Response
from pydantic import Field, StrictInt

from mailer.accept.credentials import Authenticator
from mailer.accept.http.asked import Asked, examples
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.egress import EgressId, EgressIdText, egress_number
from mailer.accept.http.shapes import At, Shape
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import api_keys
from mailer.policy.warmplan import WarmupRules
from mailer.queue import warming
from mailer.queue.warming import Start
from mailer.store import Store

_PATH = "/warmups"
_ONE = f"{_PATH}/{{ip}}"
Verdict = Literal["green", "yellow", "red"]


class ProviderWarmup(Shape):
    """Where an IP stands at one provider today."""

    provider: str = Field(description="As in sites.toml; other: all that have no rule")
    stage: int | None = Field(description="1, 2, ... `stages`; null: warm")
    stages: int
    cap: int | None = Field(description="Messages of today at most; null: as many as wanted")
    used: int = Field(description="Messages of today so far")
    delivered: int
    deferred: int
    bounced: int
    blocked: int = Field(description="Refused because of our IP")
    complained: int
    verdict: Verdict = Field(description="Of the last day, or of this one once it is red")
    reason: str = Field(description="Why it stands where it stands")
    warm_on: date | None = Field(description="If every day advances it; null: not as things stand")
    forecast: str


class Warmup(Shape):
    """The warm-up of an egress IP."""

    egress_id: EgressId
    address: str
    plan: str
    target_per_day: int | None = Field(description="Messages a day at which it is warm; null: the plan's end")
    state: Literal["running", "held", "stopped"]
    reason: str | None = Field(description="Why an operator holds or stopped it")
    started_at: At
    providers: Sequence[ProviderWarmup] = Field(description="Those that mail was sent to since it began")


class WarmupList(Shape):
    warmups: Sequence[Warmup]


class WarmupDay(Shape):
    """A day that is over."""

    provider: str
    day: date
    stage: int
    cap: int | None
    used: int
    delivered: int
    deferred: int
    bounced: int
    blocked: int
    complained: int
    verdict: Verdict
    reason: str


class WarmupHistory(Shape):
    days: Sequence[WarmupDay] = Field(description="The latest first")


class WarmupRequest(Asked):
    plan: str = Field("steady", max_length=40, description="`mailer warmup plans` lists them")
    target_per_day: StrictInt | None = Field(None, ge=1, le=1_000_000_000)


class Because(Asked):
    reason: str | None = Field(None, max_length=200, description="For whoever looks at it later")


_STARTED = examples(target={"plan": "steady", "target_per_day": 50_000})
_BECAUSE = examples(listing={"reason": "a listing is looked into"})


def router(
    store: Store, authenticator: Authenticator, *, rules: WarmupRules, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(
        prefix="/v1", tags=["egress"], route_class=SmallBody,
        dependencies=[Depends(Caller(authenticator, api_keys.OPERATE))],
    )  # fmt: skip

    look = _Look(store, rules, now)
    _seeing(routes, look)
    _steering(routes, look)
    return routes


@dataclass(frozen=True, slots=True)
class _Look:
    store: Store
    rules: WarmupRules
    now: Callable[[], datetime]

    def __call__(self, ip: int, is_known: bool = True) -> Response:
        """Raises SubmissionError: it is not being warmed up."""
        found = warming.one(self.store, ip, rules=self.rules, now=self.now()) if is_known else None
        return as_json(Warmup.model_validate(found)) if found is not None else _unknown()


def _seeing(routes: APIRouter, look: _Look) -> None:
    @routes.get(_PATH, response_model=WarmupList, summary="List warm-ups")
    def list_warmups() -> Response:
        """Plan, stage, today's use and forecast of every IP at every provider, and why it stands there."""
        found = warming.listed(look.store, rules=look.rules, now=look.now())
        return as_json(WarmupList.model_validate({"warmups": found}))

    @routes.get(_ONE, response_model=Warmup, summary="Get the warm-up of an IP")
    def get_warmup(ip: EgressIdText) -> Response:
        return look(egress_number(ip))

    @routes.get(f"{_ONE}/history", response_model=WarmupHistory, summary="Get the past days of a warm-up")
    def get_warmup_history(ip: EgressIdText) -> Response:
        return as_json(WarmupHistory.model_validate({"days": warming.history(look.store, egress_number(ip))}))


def _steering(routes: APIRouter, look: _Look) -> None:
    store, rules = look.store, look.rules

    @routes.put(_ONE, response_model=Warmup, summary="Start the warm-up of an IP")
    def start_warmup(
        ip: EgressIdText, request: Annotated[WarmupRequest, Body(openapi_examples=_STARTED)]
    ) -> Response:
        """From the first stage, at every provider, also if it was under way. Today's use stays counted."""
        number = egress_number(ip)
        if request.plan not in rules.plans:
            words = f"there is no such plan; there are {', '.join(rules.plans)}"
            raise SubmissionError(Fault.INVALID_FIELD, words, pointer="/plan")
        wanted = Start(request.plan, request.target_per_day)
        return look(number, warming.start(store, number, wanted, rules=rules, now=look.now()))

    @routes.post(f"{_ONE}/hold", response_model=Warmup, summary="Hold a warm-up")
    def hold_warmup(
        ip: EgressIdText, request: Annotated[Because, Body(openapi_examples=_BECAUSE)]
    ) -> Response:
        """It sends up to its caps and does not advance. May be repeated."""
        number = egress_number(ip)
        return look(number, warming.hold(store, number, request.reason))

    @routes.post(f"{_ONE}/resume", response_model=Warmup, summary="Resume a held warm-up")
    def resume_warmup(ip: EgressIdText) -> Response:
        """It goes on from where it stands. One that was stopped is started anew instead."""
        number = egress_number(ip)
        return look(number, warming.resume(store, number))

    @routes.post(f"{_ONE}/stop", response_model=Warmup, summary="Stop a warm-up")
    def stop_warmup(
        ip: EgressIdText, request: Annotated[Because, Body(openapi_examples=_BECAUSE)]
    ) -> Response:
        """The IP has no caps any more. May be repeated."""
        number = egress_number(ip)
        return look(number, warming.stop(store, number, request.reason))


def _unknown() -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, "no such egress IP is being warmed up")
