"""Routes of the framework with a body: it is read here, since the framework reads any size at any pace."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from mailer.accept.budget import ByteBudget
from mailer.accept.http.body import BodyLimits, read_body

MOST_BYTES = 64 * 1024
_LIMITS = BodyLimits(request_bytes=MOST_BYTES)


class SmallBody(APIRoute):
    """For `APIRouter(route_class=...)`: bodies of requests that manage something, 64 KiB at most."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def bounded(request: Request) -> Response:
            # A budget of its own: what may be one body only takes no room from the messages.
            with ByteBudget(MOST_BYTES).hold() as hold:
                raw = await read_body(dict(request.scope["headers"]), request.receive, hold, _LIMITS)

            async def receive() -> Message:
                return {"type": "http.request", "body": raw, "more_body": False}

            return await handle(Request(request.scope, receive))

        return bounded
