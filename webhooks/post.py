"""One callback on the wire: signed, posted, and what was heard."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import structlog

from mailer.outward import GuardedTransport, NotAllowed, NotFound, TlsFailed
from mailer.shown import Event
from webhooks import payload, signature
from webhooks.claims import Claimed
from webhooks.endpoints import Seal, context_of

_log = structlog.get_logger(__name__)

_SWALLOWED_BYTES = 64 * 1024  # of an answer's body, so that its connection can be used again


class Cause(enum.StrEnum):
    """Why a call got no answer, or none that counts: for the endpoint's owner, so nothing of our inside."""

    NOT_FOUND = "the host name has no address"
    NOT_ALLOWED = "the host's address may not be called"
    NOT_REACHED = "nobody took the connection"
    TLS_FAILED = "TLS failed: the certificate, its name, or the protocol"
    TIMED_OUT = "no answer in time"
    BROKEN = "the connection broke before the answer"
    REDIRECTED = "redirects are not followed"
    DROPPED = "the event is older than the retention"
    INTERNAL = "internal error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of one call. at: when it began.

    status       of the answer; None without one
    cause        None for a 2xx
    retry_after  the header field as it came
    """

    claimed: Claimed
    at: datetime
    duration_ms: int
    status: int | None = None
    cause: str | None = None
    retry_after: str | None = None


class Poster:
    """Lives on one event loop. One client for all endpoints; it keeps no cookies and follows nothing."""

    def __init__(
        self,
        transport: GuardedTransport,
        *,
        unseal: Seal,
        user_agent: str,
        seconds: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """seconds: that one call may take in all, from the name to the end of the answer's head."""
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113 - one deadline for the whole call stands below
            follow_redirects=False,
            trust_env=False,
        )
        self._unseal = unseal
        self._seconds = seconds
        self._now = now
        self._monotonic = monotonic

    async def close(self) -> None:
        await self._client.aclose()

    async def post(self, claimed: Claimed) -> Heard:
        """Nothing the endpoint or the network does raises."""
        at, began = self._now(), self._monotonic()
        answer = _Answer()
        if claimed.event is None:
            answer.cause = Cause.DROPPED
        else:
            try:
                await self._exchange(claimed, self._request(claimed, claimed.event, at), answer)
            except Exception:  # noqa: BLE001 - our own bug with this one callback must not stop the others
                _log.exception("callback.failed", callback_id=claimed.id)
                answer.cause = Cause.INTERNAL
        spent = round((self._monotonic() - began) * 1000)
        return Heard(
            claimed=claimed, at=at, duration_ms=spent, status=answer.status, cause=answer.cause,
            retry_after=answer.retry_after,
        )  # fmt: skip

    def _request(self, claimed: Claimed, event: Event, now: datetime) -> httpx.Request:
        body, name = payload.body_of(event), payload.webhook_id(event)
        keys = [claimed.secret]
        if claimed.old_secret is not None and claimed.old_until is not None and claimed.old_until > now:
            keys.append(claimed.old_secret)
        clear = [self._unseal(key, context_of(claimed.endpoint_id)) for key in keys]
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature.sign(clear, callback=name, timestamp=timestamp, body=body),
        }
        return self._client.build_request("POST", claimed.url, content=body, headers=headers)

    async def _exchange(self, claimed: Claimed, request: httpx.Request, answer: _Answer) -> None:
        """Once the answer's head is there, it counts, whatever becomes of its body."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._client.send(request, stream=True)
                try:
                    answer.hear(response)
                    await _swallow(response)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            answer.fail(Cause.TIMED_OUT)
        except NotAllowed as error:
            # What the name led to is for the operator; told to its owner it would map our inside for him.
            _log.warning("callback.not_allowed", callback_id=claimed.id, reason=str(error))
            answer.fail(Cause.NOT_ALLOWED)
        except NotFound:
            answer.fail(Cause.NOT_FOUND)
        except TlsFailed:
            answer.fail(Cause.TLS_FAILED)
        except httpx.ConnectError:
            answer.fail(Cause.NOT_REACHED)
        except httpx.TransportError:
            answer.fail(Cause.BROKEN)


@dataclass(slots=True)
class _Answer:
    status: int | None = None
    cause: str | None = None
    retry_after: str | None = None

    def hear(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.retry_after = response.headers.get("retry-after")
        if response.is_redirect:
            self.cause = Cause.REDIRECTED
        elif not response.is_success:
            self.cause = f"answered {response.status_code}"

    def fail(self, cause: Cause) -> None:
        if self.status is None:
            self.cause = cause


async def _swallow(response: httpx.Response) -> None:
    """Reads a short body, so that the connection can be used again; a long one ends it."""
    read = 0
    async for piece in response.aiter_raw():
        read += len(piece)
        if read > _SWALLOWED_BYTES:
            return
