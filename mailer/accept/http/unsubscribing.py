"""/u/TOKEN: how the recipients of mail leave a stream, without a key, a cookie or a script.

A mail reader's button posts here (RFC 8058 §3.2); a link in the body leads people to a page that asks. Only
the POST does something, with `List-Unsubscribe=One-Click` in it: what opens links before people do (scanners
of receivers, previews) sends GET and HEAD. There is nothing to redirect to, nobody to log in, and no repeat
is an error. It is no operation of the API: whoever has the link has all that there is to know.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from fastapi import APIRouter, Request, Response

from mailer import ids
from mailer.accept.budget import ByteBudget
from mailer.accept.http import page, problems
from mailer.accept.http.body import BodyLimits, read_body
from mailer.accept.http.clickform import ONE_CLICK_FIELD, fields_of
from mailer.accept.http.peers import Network, Turnstile, peer_of
from mailer.accept.http.unsubscribe_words import Words, chosen
from mailer.accept.submission import Fault
from mailer.compose.subscriber import Subscriber, read_token
from mailer.compose.unsubscribe import PATH
from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Keys
from mailer.queue import unsubscribing
from mailer.queue.unsubscribing import Way
from mailer.store import Store

_log = structlog.get_logger(__name__)

_BODY = BodyLimits(request_bytes=8 * 1024, grace_seconds=10.0)
_METHODS = "GET, HEAD, OPTIONS, POST"
# A receiver's POSTs come from few addresses, a guesser's too: that one pays for what it does not know.
_BURST, _PER_SECOND = 300.0, 10.0
_WRONG_TURNS = 20.0
_POLICY = "; ".join(
    (
        "default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'self'",
        "frame-ancestors 'none'",
    )
)  # fmt: skip
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # the address of the page is the token
    "X-Robots-Tag": "noindex, nofollow",
    "Vary": "Accept-Language, Accept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeParts:
    """secrets: of the tokens, all that were ever used. keys: by what entries of suppression lists are found.
    proxies: of the servers before us."""

    store: Store
    secrets: Sequence[bytes]
    keys: Keys
    proxies: Sequence[Network]
    new_id: IdMaker
    now: Callable[[], datetime]
    monotonic: Callable[[], float]


def router(parts: UnsubscribeParts) -> APIRouter:
    """Not part of the API's document."""
    pages = _Pages(parts, Turnstile(parts.monotonic, burst=_BURST, per_second=_PER_SECOND))
    routes = APIRouter(include_in_schema=False)
    path = PATH + "{token}"
    routes.add_api_route(path, pages.ask, methods=["GET", "HEAD"], response_model=None)
    routes.add_api_route(path, pages.leave, methods=["POST"], response_model=None)
    routes.add_api_route(path, _options, methods=["OPTIONS"], response_model=None)
    return routes


def _options() -> Response:
    """No other site's script needs it: nothing is said of cross-origin requests."""
    return Response(status_code=204, headers={"Allow": _METHODS, "Cache-Control": "no-store"})


@dataclass(frozen=True, slots=True)
class _Pages:
    parts: UnsubscribeParts
    turnstile: Turnstile

    async def ask(self, token: str, request: Request) -> Response:
        """The page that asks. Changes nothing, however often it is opened."""
        answer = _Answer(request)
        if (wait := self._wait(request)) > 0:
            return answer.busy(wait)
        subscriber = self._subscriber(token, request)
        if subscriber is None:
            return answer.unknown()
        name = await asyncio.to_thread(unsubscribing.stream_of, self.parts.store, subscriber)
        return answer.unknown() if name is None else answer.question(name, subscriber.address)

    async def leave(self, token: str, request: Request) -> Response:
        """Raises SubmissionError, ClientGone."""
        answer = _Answer(request)
        if (wait := self._wait(request)) > 0:
            return answer.busy(wait)
        subscriber = self._subscriber(token, request)
        if subscriber is None:
            return answer.unknown()
        # A budget of its own: what may be one body only takes no room from the messages.
        with ByteBudget(_BODY.request_bytes).hold() as hold:
            raw = await read_body(dict(request.scope["headers"]), request.receive, hold, _BODY)
        said = fields_of(bytes(raw), request.headers.get("content-type", ""))
        if said.get(ONE_CLICK_FIELD, "").lower() != "one-click":
            return answer.unclear()
        way = Way.PAGE if said.get("by") == "page" else Way.ONE_CLICK
        name = await asyncio.to_thread(self._unsubscribe, subscriber, way)
        return answer.unknown() if name is None else answer.done(name, subscriber.address)

    def _unsubscribe(self, subscriber: Subscriber, way: Way) -> str | None:
        """Name of the stream that was left."""
        parts = self.parts
        is_new = unsubscribing.unsubscribe(
            parts.store, subscriber, way, keys=parts.keys, new_id=parts.new_id, now=parts.now()
        )
        if is_new is None:
            return None
        _log.info(
            "unsubscribe.heard",
            recipient_id=ids.show("rcpt", subscriber.recipient_id),
            tenant_id=subscriber.tenant_id,
            reason=str(way),
            is_new=is_new,
        )
        return unsubscribing.stream_of(parts.store, subscriber)

    def _wait(self, request: Request) -> float:
        peer = peer_of(request.scope, self.parts.proxies)
        wait = self.turnstile.wait(peer)
        if wait == 0:
            self.turnstile.charge(peer)
        return wait

    def _subscriber(self, token: str, request: Request) -> Subscriber | None:
        subscriber = read_token(token, self.parts.secrets)
        if subscriber is None:
            self.turnstile.charge(peer_of(request.scope, self.parts.proxies), _WRONG_TURNS)
        return subscriber


class _Answer:
    """To one request: a page in its language, or for who reads no pages a problem document."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._words = chosen(request.headers.get("accept-language", ""))
        self._reads_pages = "text/html" in request.headers.get("accept", "")

    def question(self, stream: str, address: str) -> Response:
        words = self._words
        text = words.question.format(stream=stream, address=_hinted(address))
        return _page(words, words.asks, text, button=words.button)

    def done(self, stream: str, address: str) -> Response:
        words = self._words
        return _page(words, words.done_title, words.done.format(stream=stream, address=_hinted(address)))

    def unknown(self) -> Response:
        words = self._words
        return self._refusal(
            Fault.NOT_FOUND, "there is nobody to unsubscribe by this link", words.unknown_title, words.unknown
        )

    def unclear(self) -> Response:
        words = self._words
        return self._refusal(
            Fault.MALFORMED_REQUEST,
            "the body must say List-Unsubscribe=One-Click (RFC 8058 §3.2); nothing was changed",
            words.unclear_title,
            words.unclear,
        )

    def busy(self, wait: float) -> Response:
        words = self._words
        return self._refusal(
            Fault.TOO_MANY_REQUESTS,
            "too many requests from this address; nothing was changed",
            words.busy_title,
            words.busy,
            {"Retry-After": str(math.ceil(wait))},
        )

    def _refusal(
        self, fault: Fault, detail: str, title: str, text: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        fields = {**_HEADERS, **(headers or {})}
        problem = problems.problem(self._request.scope, fault, detail, headers=fields)
        if not self._reads_pages:
            return problem
        return _page(self._words, title, text, status=problem.status_code, headers=headers)


def _page(
    words: Words,
    title: str,
    text: str,
    *,
    button: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    made = page.text("unsubscribe.html", language=words.language, title=title, text=text, button=button)
    fields = {**_HEADERS, "Content-Language": words.language, **(headers or {})}
    return Response(made, status, fields, "text/html; charset=utf-8")


def _hinted(address: str) -> str:
    """Enough for its owner to know it by; a link that is passed on tells nobody else."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"
