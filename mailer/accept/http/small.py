"""Routes of the framework that take a short JSON body, refused like everything else when it is not that.

FastAPI reads a body whole, before it asks who calls, and its own limit answers in plain text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

_MOST_BYTES = 64 * 1024
_SECONDS = 30.0


class SmallBodyRoute(APIRoute):
    """Give it to a router as its route_class."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(_Bounded(request.scope, request.receive))

        return bounded


class _Bounded(Request):
    async def body(self) -> bytes:
        """Raises HTTPException, which FastAPI lets pass where it would make a 400 of any other error."""
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(_SECONDS):
                    self._body = await self._read()
            except TimeoutError:
                raise HTTPException(408) from None
        return self._body

    async def _read(self) -> bytes:
        read = bytearray()
        async for chunk in self.stream():
            read += chunk
            if len(read) > _MOST_BYTES:
                raise HTTPException(413)
        return bytes(read)
