"""The HTTP application, put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from mailer.accept.budget import ByteBudget
from mailer.accept.changes import Changes
from mailer.accept.credentials import Authenticator
from mailer.accept.crowd import Doorway, Workshop
from mailer.accept.endpoints import Endpoints
from mailer.accept.http import (
    batching,
    braking,
    changing,
    docs,
    egress,
    endpoints,
    health,
    keys,
    limiting,
    listing,
    openapi,
    problems,
    provider_rules,
    queueing,
    raw,
    reading,
    reported,
    returning,
    sending,
    streams,
    suppressing,
    templating,
    validating,
    warming,
)
from mailer.accept.http.batching import BatchRoute
from mailer.accept.http.body import BodyLimits
from mailer.accept.http.examining import Examiner
from mailer.accept.http.health import Check
from mailer.accept.http.metrics import CallbackMetrics, HttpMetrics, QueueMetrics
from mailer.accept.http.metrics_brake import BrakeMetrics
from mailer.accept.http.metrics_egress import WarmupMetrics
from mailer.accept.http.metrics_returns import ReturnsMetrics
from mailer.accept.http.raw import Arrivals, RawRoute
from mailer.accept.http.reportdoor import ReportDoor, ReportTakers
from mailer.accept.http.sending import SendRoute
from mailer.accept.http.submitting import LookUp, SendParts
from mailer.accept.http.templating import TemplateParts
from mailer.accept.http.validating import ValidateRoute
from mailer.accept.http.visits import Reception
from mailer.accept.leaving import Leaving
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, SubmissionError
from mailer.accept.suppressions import Lists
from mailer.accept.waiting import WaitingMail
from mailer.ids import IdMaker
from mailer.policy.warmplan import WarmupRules
from mailer.queue import callbacks, enqueue, overriding, read, returned_list
from mailer.queue import warming as queue_warming
from mailer.queue.enqueue import Earlier
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Means
from mailer.store import Store, StoreUnavailable

_COMPOSING = 2  # threads; more would only contend for the interpreter
# FastAPI would hand request bodies to whatever exporter the environment names; content stays here.
_NO_TELEMETRY: Any = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParts:
    """What the application is made of.

    now, monotonic     mailer.clock's, or a test's
    acting             for what is done to mail that waits
    ring               tells the workers that there is work
    body_limits        of one request
    budget             of all messages that are being received, by whatever door
    most_recipients    of one message
    message_bytes      of one message as sent, at most
    host               our name in Received
    new_id             numbers messages and other rows
    readiness          further conditions of /health/ready by name, beside that the database answers
    routers            further pages, such as the inbox of the sandbox; not part of the API document
    warmup_rules       plans of warm-up; None: there is no warm-up
    apis               further routes of the API, each made with the application's authenticator
    knowledge          of sites, for explanations
    keeper             of the rules for providers; None: they cannot be set
    reports            take reports of strangers; None: they are not taken by HTTP
    leaving            fills in URLs to unsubscribe by, as the intake does; None: nobody does
    """

    store: Store
    intake: Doorway
    changes: Changes
    acting: Means
    endpoints: Endpoints
    suppressions: Lists
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    ring: Callable[[], None]
    version: str
    body_limits: BodyLimits
    budget: ByteBudget
    new_id: IdMaker
    host: str
    most_recipients: int = 1000
    message_bytes: int = 36 * 1024 * 1024
    readiness: Mapping[str, Check] = field(default_factory=dict)
    routers: Sequence[APIRouter] = ()
    apis: Sequence[Callable[[Authenticator], APIRouter]] = ()
    knowledge: Knowledge = field(default_factory=Knowledge)
    warmup_rules: WarmupRules | None = None
    keeper: provider_rules.Keeper | None = None
    reports: ReportTakers | None = None
    leaving: Leaving | None = None


def create_app(parts: HttpParts) -> FastAPI:
    """Serve it with one event loop per application; the caller starts and stops the parts."""
    app = FastAPI(
        title="ECM Mailer API", version=parts.version, description=openapi.DESCRIPTION, openapi_url=None,
        docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY,
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    metrics = HttpMetrics()
    authenticator = Authenticator(parts.store, monotonic=parts.monotonic, now=parts.now)
    budget = parts.budget
    stationery = Stationery(parts.store, monotonic=parts.monotonic)
    metrics.add(
        QueueMetrics(
            lambda: read.gauges(parts.store, now=parts.now()), lambda: budget.held_bytes, parts.monotonic
        )
    )
    metrics.add(CallbackMetrics(lambda: callbacks.gauges(parts.store, now=parts.now()), parts.monotonic))
    metrics.add(ReturnsMetrics(lambda: returned_list.waiting(parts.store), parts.monotonic))
    metrics.add(BrakeMetrics(lambda: overriding.standing(parts.store, now=parts.now()), parts.monotonic))
    express = _sending_routes(parts, authenticator, stationery)
    app.router.routes += [Route(path, route, methods=["POST"]) for path, route in express.items()]
    app.include_router(listing.router(parts.store, authenticator))
    app.include_router(reading.router(parts.store, authenticator, knowledge=parts.knowledge, now=parts.now))
    app.include_router(reported.router(parts.store, authenticator, now=parts.now))
    app.include_router(changing.router(parts.changes, authenticator))
    waiting = WaitingMail(parts.acting, parts.knowledge, ring=parts.ring)
    app.include_router(queueing.router(waiting, authenticator))
    app.include_router(braking.router(parts.acting, authenticator, ring=parts.ring))
    for managing in (streams.router, keys.router, egress.router):
        app.include_router(managing(parts.store, authenticator, new_id=parts.new_id, now=parts.now))
    app.include_router(
        templating.router(TemplateParts(parts.store, stationery, authenticator, parts.new_id, parts.now))
    )
    app.include_router(endpoints.router(parts.endpoints, authenticator))
    app.include_router(suppressing.router(parts.suppressions, authenticator))
    app.include_router(
        health.router({"database": health.store_check(parts.store), **parts.readiness}, metrics)
    )
    if parts.warmup_rules is not None:
        _add_warmup(app, parts, parts.warmup_rules, authenticator, metrics)
    app.include_router(limiting.router(parts.store, authenticator, parts.knowledge.rules, now=parts.now))
    app.include_router(returning.router(parts.store, authenticator))
    if parts.keeper is not None:
        app.include_router(provider_rules.router(parts.store, authenticator, parts.keeper, now=parts.now))
    if parts.reports is not None:
        app.router.routes += ReportDoor(parts.reports, parts.monotonic).routes()
    for api in parts.apis:
        app.include_router(api(authenticator))
    for router in parts.routers:
        app.include_router(router, include_in_schema=False)
    problems.install(app)
    _publish(app)
    app.add_middleware(
        Reception, metrics=metrics, monotonic=parts.monotonic, apologise=_apology,
        express={("POST", path): route for path, route in express.items()},
    )  # fmt: skip
    return app


def _add_warmup(
    app: FastAPI, parts: HttpParts, rules: WarmupRules, authenticator: Authenticator, metrics: HttpMetrics
) -> None:
    app.include_router(warming.router(parts.store, authenticator, rules=rules, now=parts.now))
    levels = partial(queue_warming.listed, parts.store, rules=rules)
    metrics.add(WarmupMetrics(lambda: levels(now=parts.now()), parts.monotonic))


def _sending_routes(
    parts: HttpParts, authenticator: Authenticator, stationery: Stationery
) -> dict[str, ASGIApp]:
    """The routes that take messages, by path; all are POST."""
    sending_parts = SendParts(
        intake=parts.intake, authenticator=authenticator, budget=parts.budget, limits=parts.body_limits,
        stationery=stationery, look_up=_look_up(parts.store), most_recipients=parts.most_recipients,
        workshop=Workshop(ThreadPoolExecutor(_COMPOSING, "compose"), parts.monotonic), now=parts.now,
    )  # fmt: skip
    examiner = _examiner(parts, stationery)
    return {
        sending.PATH: SendRoute(sending_parts),
        batching.PATH: BatchRoute(sending_parts),
        raw.PATH: RawRoute(sending_parts, Arrivals(parts.host, parts.new_id, parts.now)),
        validating.PATH: ValidateRoute(examiner, authenticator, parts.budget, parts.body_limits),
    }


def _look_up(store: Store) -> LookUp:
    def look_up(tenant_id: int, keys: Sequence[str]) -> Mapping[str, Earlier]:
        try:
            return enqueue.earlier(store, tenant_id, keys)
        except StoreUnavailable as error:
            raise SubmissionError(Fault.UNAVAILABLE, "the database did not answer; try again") from error

    return look_up


def _examiner(parts: HttpParts, stationery: Stationery) -> Examiner:
    return Examiner(
        parts.store,
        stationery,
        most_recipients=parts.most_recipients,
        message_bytes=parts.message_bytes,
        new_id=parts.new_id,
        now=parts.now,
        leaving=parts.leaving,
    )


def _publish(app: FastAPI) -> None:
    """The API's document, for programs and for people; made at the first request for it."""
    document = cache(lambda: openapi.document(app))
    encoded = cache(lambda: json.dumps(document(), separators=(",", ":")).encode())

    @app.get("/openapi.json", include_in_schema=False)
    def openapi_document() -> Response:
        return Response(encoded(), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    def docs_page(request: Request) -> Response:
        return docs.render(document(), str(request.base_url).rstrip("/"))


def _apology(scope: Scope) -> ASGIApp:
    return problems.problem(
        scope, Fault.INTERNAL, "the server failed; it has logged this under the request id"
    )
