"""Bodies of the framework's routes: small ones. It would read whatever is sent, before anybody is asked who
sends it, and hold it all in memory."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 8 * 1024 * 1024  # two templates of the largest size, every character escaped, fit in half of it


class SmallBodies:
    """A layer of the application: a request with a larger body is answered 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        held = 0

        async def counted() -> Message:
            nonlocal held
            if announced.isdigit() and int(announced) > MOST_BYTES:
                raise HTTPException(413)  # the framework hands it on, from wherever it reads the body
            message = await receive()
            held += len(message.get("body", b""))
            if held > MOST_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)
