"""/v1/provider-rules: what mailbox providers take, by files and by the operator. For the operator alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn, Protocol

from fastapi import APIRouter, Body, Depends, Path, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StrictBool, StrictInt

from mailer.accept.credentials import Authenticator
from mailer.accept.http.asked import Asked, examples, left_out
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import Shape
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault, SubmissionError
from mailer.identity import api_keys
from mailer.policy.site_file import DEFAULT, Provider, Wrong, parse_provider
from mailer.policy.site_record import record_of
from mailer.policy.sites import API, SiteRuleError, SiteRules
from mailer.queue import ownrules
from mailer.queue.ownrules import OwnRules
from mailer.store import Store

_PATH = "/provider-rules"
_ONE = f"{_PATH}/{{name}}"
_MOST = 10_000
_MOST_MESSAGES = 1_000_000_000
RuleName = Annotated[
    str,
    Path(
        description="Name of the provider; `default` for all that have no rule",
        json_schema_extra={"pattern": "^[a-z0-9][a-z0-9-]{0,59}$"},
    ),
]
_AtATime = Annotated[StrictInt, Field(ge=1, le=_MOST)]
_OverTime = Annotated[StrictInt, Field(ge=1, le=_MOST_MESSAGES)]
_HostEnd = Annotated[str, Field(max_length=255, json_schema_extra={"format": "domain"})]

_HostEnds = Annotated[list[_HostEnd], Field(max_length=1000, description="Not for `default`")]


class Keeper(Protocol):
    """The rules of this process. look: takes what changed. merged: raises SiteRuleError."""

    rules: SiteRules

    def look(self) -> None: ...

    def merged(self, own: OwnRules) -> SiteRules: ...


class Together(Shape):
    """Over all our addresses and all sites of the provider."""

    messages_per_second: int | None = None
    messages_per_minute: int | None = None
    messages_per_hour: int | None = None
    messages_per_day: int | None = None


class ProviderRule(Shape):
    """What a provider takes; null: nothing is known, or nothing is asked for."""

    name: str
    mx: Sequence[str] = Field(description="Ends of its MX hosts' names; empty: the rule was taken away")
    connections: int | None = Field(description="At a time, over all workers")
    messages_per_session: int | None
    messages_per_second: int | None = Field(None, description="In any second, from each of our addresses")
    messages_per_minute: int | None = None
    messages_per_hour: int | None = None
    messages_per_day: int | None = None
    connections_per_minute: int | None = Field(description="New ones, from each of our addresses")
    together: Together
    one_site: bool
    tls: Literal["encrypted", "required"] | None
    pool: str | None = Field(description="Pool of egress IPs that its mail leaves from")
    source: str = Field(description="Where the rule was read, or `assumed`")
    place: str = Field(description="File and line where it stands; `api`: it was set here")


class ProviderRuleList(Shape):
    rules: Sequence[ProviderRule]


class TogetherRequest(Asked):
    messages_per_second: _OverTime = left_out()
    messages_per_minute: _OverTime = left_out()
    messages_per_hour: _OverTime = left_out()
    messages_per_day: _OverTime = left_out()


class ProviderRuleRequest(Asked):
    """A whole rule, as a section of a rules' file. What it does not say is not limited."""

    mx: _HostEnds = left_out()
    connections: _AtATime = left_out()
    messages_per_session: _AtATime = left_out()
    messages_per_second: _OverTime = left_out()
    messages_per_minute: _OverTime = left_out()
    messages_per_hour: _OverTime = left_out()
    messages_per_day: _OverTime = left_out()
    connections_per_minute: _AtATime = left_out()
    together: TogetherRequest = left_out()
    one_site: StrictBool = left_out()
    tls: Literal["encrypted", "required"] = left_out()
    pool: Annotated[str, Field(max_length=60, json_schema_extra={"format": "pool"})] = left_out()
    source: str = Field(
        max_length=500,
        description="Where it was read, or `assumed`",
        json_schema_extra={"format": "header-text"},
    )


_SLOWER = examples(
    slower={
        "mx": ["mx.customer.example"],
        "connections": 2,
        "messages_per_hour": 500,
        "source": "their postmaster asked for it",
    }
)


def router(
    store: Store, authenticator: Authenticator, keeper: Keeper, *, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(
        prefix="/v1", tags=["providers"], route_class=SmallBody,
        dependencies=[Depends(Caller(authenticator, api_keys.OPERATE))],
    )  # fmt: skip
    _looking(routes, store, keeper)
    _setting(routes, store, keeper, now)
    return routes


def _looking(routes: APIRouter, store: Store, keeper: Keeper) -> None:
    @routes.get(_PATH, response_model=ProviderRuleList, summary="List the rules for providers")
    def list_provider_rules() -> Response:
        """Those in force: what was set here lies over the operator's file, that over what ships."""
        return as_json(ProviderRuleList(rules=[_shown(provider) for provider in _known(store, keeper)]))

    @routes.get(_ONE, response_model=ProviderRule, summary="Get the rule for a provider")
    def get_provider_rule(name: RuleName) -> Response:
        for provider in _known(store, keeper):
            if provider.name == name:
                return as_json(_shown(provider))
        _unknown("there is no rule for such a provider")


def _setting(routes: APIRouter, store: Store, keeper: Keeper, now: Callable[[], datetime]) -> None:
    @routes.put(_ONE, response_model=ProviderRule, summary="Set the rule for a provider")
    def set_provider_rule(
        name: RuleName, request: Annotated[ProviderRuleRequest, Body(openapi_examples=_SLOWER)]
    ) -> Response:
        """As a whole, over that of the files. Workers follow within seconds, without a restart. May be
        repeated. `mx: []` takes a shipped rule away."""
        values = request.model_dump(exclude_none=True)
        provider, wrong = parse_provider(name, values, API)
        if provider is None:
            raise _invalid(wrong)
        with _contradictions():
            ownrules.put(store, name, values, check=keeper.merged, now=now())
        keeper.look()
        return as_json(_shown(provider))

    @routes.delete(_ONE, response_model=ProviderRule, summary="Remove the rule that was set for a provider")
    def remove_provider_rule(name: RuleName) -> Response:
        """The files' is in force again, if they have one."""
        with _contradictions():
            values = ownrules.remove(store, name, check=keeper.merged)
        provider = None if values is None else parse_provider(name, values, API)[0]
        if provider is None:
            _unknown("no rule was set here for such a provider")
        keeper.look()
        return as_json(_shown(provider))


def _known(store: Store, keeper: Keeper) -> Sequence[Provider]:
    """Those in force, and those of ours that only take one away."""
    keeper.look()
    rules = keeper.rules
    own = [parse_provider(name, values, API)[0] for name, values in ownrules.all_of(store).items()]
    gone = [provider for provider in own if provider and not provider.mx and provider.name != DEFAULT]
    return [*rules.providers, *([rules.default] if rules.default else []), *gone]


def _shown(provider: Provider) -> ProviderRule:
    return ProviderRule.model_validate(record_of(provider))


@contextmanager
def _contradictions() -> Iterator[None]:
    """Rules that cannot stand together, as a refused request."""
    try:
        yield
    except SiteRuleError as error:
        raise SubmissionError(Fault.CONFLICT, "; ".join(error.faults)) from None


def _invalid(wrong: Sequence[Wrong]) -> RequestValidationError:
    return RequestValidationError([_error(each) for each in wrong])


def _error(wrong: Wrong) -> Mapping[str, Any]:
    place = ("body", *wrong.at) if wrong.at else ("path", "name")
    return {"type": "value_error", "loc": place, "msg": wrong.sentence}


def _unknown(sentence: str) -> NoReturn:
    raise SubmissionError(Fault.NOT_FOUND, sentence)
