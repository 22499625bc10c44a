"""Every request: it gets an id, is logged in one line and counted; and when we fail, it is answered."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailer import logs
from mailer.accept.http import exchange
from mailer.accept.http.exchange import Exchange
from mailer.accept.http.metrics import HttpMetrics

_log = structlog.get_logger(__name__)

_KEY = "mailer.visit"
_CLIENT_GONE = 499  # as nginx logs it: nobody was there to read an answer


class ClientGone(Exception):
    """The connection ended before the request was read; there is nobody to answer."""


@dataclass(slots=True)
class Visit:
    """What is known of one request; filled in as it is handled.

    route      template of the path, None where no route took it
    tenant_id  None until the key is known to be good
    fault      word of the problem answered, None if none was
    cause      what we know and the client is not told; None if nothing
    status     0 until the answer began
    exchange   the short way; None: there is none, or the request is over
    """

    request_id: str
    route: str | None = None
    tenant_id: int | None = None
    fault: str | None = None
    cause: str | None = None
    status: int = 0
    exchange: Exchange | None = None

    def mark(self) -> list[tuple[bytes, bytes]]:
        """The fields that name the request in every answer to it."""
        return [(b"x-request-id", self.request_id.encode("ascii")), (b"x-content-type-options", b"nosniff")]

    def body_at_hand(self) -> bytearray | None:
        """The whole body; None: it must be received."""
        return None if self.exchange is None else self.exchange.body_at_hand()


def visit_of(scope: Scope) -> Visit:
    visit = scope[_KEY]
    assert isinstance(visit, Visit)
    return visit


class Reception:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: HttpMetrics,
        monotonic: Callable[[], float],
        apologise: Callable[[Scope], ASGIApp],
        express: Mapping[tuple[str, str], ASGIApp],
    ) -> None:
        """What surrounds the application `app`.

        apologise  the answer to a request that made us fail
        express    (method, path) -> who answers it without the framework's layers and its search for a
                   route, a fifth of a small request's CPU
        """
        self._app = app
        self._express = express
        self._metrics = metrics
        self._monotonic = monotonic
        self._apologise = apologise
        # Unique without a clock or a draw for each request: the prefix tells processes apart.
        self._prefix = secrets.token_hex(6)
        self._serial = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(f"{self._prefix}-{next(self._serial):x}", exchange=scope.pop(exchange.KEY, None))
        scope[_KEY] = visit
        began = self._monotonic()
        answer = _signed(visit, send)
        try:
            handler = self._express.get((scope["method"], scope["path"]), self._app)
            await handler(scope, receive, answer)
        except ClientGone:
            visit.status = _CLIENT_GONE
        except Exception as error:  # the top of a request: whatever failed, the next one is served
            _log.exception("http.failed", request_id=visit.request_id, tenant_id=visit.tenant_id)
            if visit.status:  # half an answer went out: the connection must break, so that it shows
                raise
            visit.cause = type(error).__name__
            await self._apologise(scope)(scope, receive, answer)
        finally:
            visit.exchange = None  # or both would be garbage that only the collector finds
            self._record(scope, visit, self._monotonic() - began)

    def _record(self, scope: Scope, visit: Visit, seconds: float) -> None:
        route = visit.route or _template(scope)
        self._metrics.count(scope["method"], route, visit.status, seconds)
        facts = {
            "request_id": visit.request_id, "method": scope["method"], "route": route,
            "status": visit.status, "ms": round(seconds * 1000, 2), "tenant_id": visit.tenant_id,
        }  # fmt: skip
        if visit.fault is not None:
            facts["fault"] = visit.fault
        if visit.cause is not None:
            facts["cause"] = visit.cause
        logs.together_soon()
        _log.info("http.answered", **facts)


def _signed(visit: Visit, send: Send) -> Callable[[Message], Awaitable[None]]:
    """`send`, which also notes the status and names the request to the client."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            visit.status = message["status"]
            message["headers"] = [*message["headers"], *visit.mark()]
        await send(message)

    return answer


async def answer_whole(
    visit: Visit, send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    """An answer in one piece, by the short way if there is one. headers: as `Exchange.answer` takes them."""
    if visit.exchange is not None and visit.exchange.answer(status, [*headers, *visit.mark()], body):
        visit.status = status
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _template(scope: Scope) -> str:
    """Of the path, never the path itself: ids would make endless metric labels."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "none"
