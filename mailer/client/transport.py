"""Making calls over HTTP, in both ways that Python knows; the only code here that waits."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

import httpx

from mailer import clock
from mailer.client.call import Call, Patience, failure_of
from mailer.client.errors import ConnectionFailed

T = TypeVar("T")

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Steps:
    """What to do after each try of a call: return, raise, or wait and try again. One for each call."""

    def __init__(self, patience: Patience, call: Call[T]) -> None:
        self._patience = patience
        self._call = call
        self._tried = 0

    def after_break(self, error: httpx.TransportError) -> float:
        """Seconds to wait before the next try. Raises ConnectionFailed when there is none."""
        self._tried += 1
        pause = self._patience.after_break(
            self._call, tried=self._tried, was_sent=not isinstance(error, _NOT_SENT), draw=clock.draw()
        )
        if pause is None:
            what = f"{self._call.method} {self._call.path}"
            raise ConnectionFailed(f"{what}: {error or type(error).__name__}") from error
        return pause

    def after_answer(self, response: httpx.Response) -> float:
        """The same for an answer other than 2xx. Raises ApiError."""
        self._tried += 1
        error = failure_of(response.status_code, response.headers, response.content)
        pause = self._patience.after_answer(self._call, error, tried=self._tried, draw=clock.draw())
        if pause is None:
            raise error
        return pause


class Wires:
    """Calls on an httpx.Client. Safe to share between threads."""

    def __init__(self, http: httpx.Client, patience: Patience) -> None:
        self._http = http
        self._patience = patience

    def make(self, call: Call[T]) -> T:
        """Raises MailerError."""
        return call.decode(self.content(call))

    def content(self, call: Call[T]) -> bytes:
        """The octets of a 2xx. Raises MailerError."""
        steps = Steps(self._patience, call)
        while True:
            try:
                response = self._http.send(_request(self._http, call))
            except httpx.TransportError as error:
                pause = steps.after_break(error)
            else:
                if response.is_success:
                    return response.content
                pause = steps.after_answer(response)
            time.sleep(pause)

    def close(self) -> None:
        self._http.close()


class AsyncWires:
    """Calls on an httpx.AsyncClient, on one event loop."""

    def __init__(self, http: httpx.AsyncClient, patience: Patience) -> None:
        self._http = http
        self._patience = patience

    async def make(self, call: Call[T]) -> T:
        """Raises MailerError."""
        return call.decode(await self.content(call))

    async def content(self, call: Call[T]) -> bytes:
        """The octets of a 2xx. Raises MailerError."""
        steps = Steps(self._patience, call)
        while True:
            try:
                response = await self._http.send(_request(self._http, call))
            except httpx.TransportError as error:
                pause = steps.after_break(error)
            else:
                if response.is_success:
                    return response.content
                pause = steps.after_answer(response)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        await self._http.aclose()


def _request(http: httpx.Client | httpx.AsyncClient, call: Call[T]) -> httpx.Request:
    timeout = httpx.Timeout(http.timeout)
    if call.wait:
        timeout.read = (timeout.read or 0.0) + call.wait
    return http.build_request(
        call.method,
        call.path,
        params=list(call.params) or None,
        headers=dict(call.headers),
        content=call.body,
        timeout=timeout,
    )


def with_key(api_key: str) -> dict[str, str]:
    """Header fields of every call."""
    return {
        "Authorization": f"Bearer {api_key}",
        "User-Agent": "ecm-mailer-python",
        "Accept": "application/json",
    }
