"""POST /reports/tls and /reports/xarf: reports from strangers, who have no key.

Nothing that comes here changes the state of any mail, and no answer tells which domains are here: what can be
read is 201 (RFC 8460 §5.4), whether it was kept or not. Bodies are small, few are taken of one network in a
minute, fewer at once than would be felt by who sends messages, and they are read in a thread of their own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.accept.budget import ByteBudget
from mailer.accept.http import problems
from mailer.accept.http.body import BodyLimits, read_body
from mailer.accept.http.peers import Network, peer_of
from mailer.accept.submission import Fault, SubmissionError
from mailer.listener import network_of

TLS_PATH = "/reports/tls"
XARF_PATH = "/reports/xarf"
_TLS_TYPES = ("application/tlsrpt+gzip", "application/tlsrpt+json")  # RFC 8460 §6.4, §6.5
_XARF_TYPES = ("application/json", "application/xarf+json")
_OCTETS = {TLS_PATH: 256 * 1024, XARF_PATH: 2 * 1024 * 1024}
_AT_ONCE = 4
_A_MINUTE = 30  # of one network
_ALL_A_MINUTE = 300
_MOST_NETWORKS = 10_000

Take = Callable[[bytes], str | None]  # why it cannot be read; None: it was taken. Raises StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTakers:
    """xarf_token: what reporters show; None: XARF is not taken by HTTP. proxies: of the servers before us."""

    tls: Take
    xarf: Take
    xarf_token: str | None = None
    proxies: Sequence[Network] = ()


class _Rates:
    """How many came in this minute, of every network and in all. Lives on one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._minute = -1
        self._counts: dict[str, int] = {}
        self._all = 0

    def count(self, network: str) -> bool:
        """Whether it may come in. Those that may not are not counted in the whole: they keep nobody out."""
        minute = int(self._monotonic() // 60)
        if minute != self._minute:
            self._minute, self._counts, self._all = minute, {}, 0
        known = self._counts.get(network, 0)
        if known >= _A_MINUTE or self._all >= _ALL_A_MINUTE or len(self._counts) >= _MOST_NETWORKS:
            return False
        self._counts[network] = known + 1
        self._all += 1
        return True


class ReportDoor:
    def __init__(self, takers: ReportTakers, monotonic: Callable[[], float]) -> None:
        self._takers = takers
        self._rates = _Rates(monotonic)
        self._reading = ThreadPoolExecutor(1, "reports")
        self._under_way = 0

    def routes(self) -> list[Route]:
        routes = [Route(TLS_PATH, self._tls, methods=["POST"])]
        if self._takers.xarf_token is not None:
            for path in (XARF_PATH, f"{XARF_PATH}/{{token}}"):
                routes.append(Route(path, self._xarf, methods=["POST"]))
        return routes

    async def _tls(self, request: Request) -> Response:
        self._let_in(request)
        return await self._take(request, TLS_PATH, _TLS_TYPES, self._takers.tls)

    async def _xarf(self, request: Request) -> Response:
        self._let_in(request)  # first, so that tokens are not guessed at any pace
        if not self._shows_token(request):
            detail = "reports are taken from those who show the token that they were given"
            return problems.problem(request.scope, Fault.UNAUTHENTICATED, detail)
        return await self._take(request, XARF_PATH, _XARF_TYPES, self._takers.xarf)

    def _let_in(self, request: Request) -> None:
        """Raises SubmissionError: not now."""
        network = network_of(peer_of(request.scope, self._takers.proxies))
        if not self._rates.count(network) or self._under_way >= _AT_ONCE:
            raise SubmissionError(Fault.TOO_MANY_REPORTS, "too many reports came; send this one later")

    def _shows_token(self, request: Request) -> bool:
        shown = request.path_params.get("token", "")
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        if not shown and scheme.lower() == "bearer":
            shown = said.strip()
        return hmac.compare_digest(shown.encode(), (self._takers.xarf_token or "").encode())

    async def _take(self, request: Request, path: str, types: Collection[str], take: Take) -> Response:
        """Raises SubmissionError, StoreUnavailable, ClientGone: the application answers."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in types:
            headers = {"Accept": ", ".join(types)}
            detail = f"a report comes as {' or '.join(types)}"
            return problems.problem(request.scope, Fault.UNSUPPORTED_MEDIA_TYPE, detail, headers=headers)
        self._under_way += 1
        try:
            limits = BodyLimits(request_bytes=_OCTETS[path], grace_seconds=15.0)
            with ByteBudget(limits.request_bytes).hold() as hold:
                headers_of = dict(request.scope["headers"])
                content = bytes(await read_body(headers_of, request.receive, hold, limits))
            loop = asyncio.get_running_loop()
            why = await loop.run_in_executor(self._reading, take, content)
        finally:
            self._under_way -= 1
        if why is not None:
            raise SubmissionError(Fault.MALFORMED_REQUEST, f"the report cannot be read: {why}")
        return Response(status_code=201, headers={"Cache-Control": "no-store"})
