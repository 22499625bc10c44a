"""Routes of the framework with a body: it is read here, since the framework reads any size at any pace."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from mailer.accept.budget import ByteBudget
from mailer.accept.http.body import BodyLimits, read_body

MANAGING_BYTES = 64 * 1024  # of a request that manages something


def bodies_up_to(most_bytes: int) -> type[APIRoute]:
    """For `APIRouter(route_class=...)`."""
    limits = BodyLimits(request_bytes=most_bytes)

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            return handle if self.body_field is None else _bounded(handle, limits)

    return BoundedRoute


SmallBody = bodies_up_to(MANAGING_BYTES)


def _bounded(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], limits: BodyLimits
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def bounded(request: Request) -> Response:
        # A budget of its own: what may be one body only takes no room from the messages.
        with ByteBudget(limits.request_bytes).hold() as hold:
            raw = await read_body(dict(request.scope["headers"]), request.receive, hold, limits)

        async def receive() -> Message:
            return {"type": "http.request", "body": raw, "more_body": False}

        return await handle(Request(request.scope, receive))

    return bounded
