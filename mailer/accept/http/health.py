"""What a supervisor, a load balancer and Prometheus ask: without a key, so nothing of a tenant is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import text

from mailer.accept.http import metrics
from mailer.accept.http.metrics import HttpMetrics
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

Check = Callable[[], str | None]  # None: ready; else the reason why not, for operators. Runs in a thread
_CHECK_SECONDS = 3.0


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Readiness(BaseModel):
    """Whether requests should be sent here. reasons: check -> what is wrong; empty when ready."""

    status: Literal["ready", "not-ready"]
    reasons: dict[str, str] = {}


def store_check(store: Store) -> Check:
    """The database answers."""

    def check() -> str | None:
        try:
            with store.read() as connection:
                connection.execute(text("SELECT 1"))
        except StoreUnavailable as error:
            _log.warning("http.store_unavailable", error=str(error))
            return "the database does not answer"
        return None

    return check


def router(checks: Mapping[str, Check], counted: HttpMetrics) -> APIRouter:
    routes = APIRouter(tags=["operation"])

    @routes.get("/health/live", summary="Is the process alive?")
    async def live() -> Live:
        """200 as long as the process answers at all, whatever it depends on: a restart mends nothing else."""
        return Live()

    @routes.get(
        "/health/ready", summary="Should requests be sent here?", response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not now; the reasons say why"}},
    )  # fmt: skip
    async def ready() -> JSONResponse:
        """200 when messages can be accepted, else 503 with the reasons."""
        answers = await asyncio.gather(*(_ask(check) for check in checks.values()))
        reasons = {name: why for name, why in zip(checks, answers, strict=True) if why is not None}
        found = Readiness(status="not-ready" if reasons else "ready", reasons=reasons)
        return JSONResponse(found.model_dump(), 503 if reasons else 200, {"Cache-Control": "no-store"})

    @routes.get(
        "/metrics", summary="Metrics for Prometheus", response_class=Response,
        responses={200: {"description": "Text format 0.0.4", "content": {"text/plain": {}}}},
    )  # fmt: skip
    def scrape() -> Response:
        """`mailer_unaccounted_recipients` must be 0: anything else means that mail was lost or doubled."""
        return Response(counted.text(), media_type=metrics.MEDIA_TYPE)

    return routes


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await asyncio.to_thread(check)
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} seconds"
