"""httpx over the guarded connect: HTTP/1.1, no proxy, no redirect, and errors that say what failed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from mailer.outward.guard import Guard, GuardedConnect, Resolve, system_addresses

_IDLE_SECONDS = 5.0


class TlsFailed(httpx.ConnectError):
    """The host is there but TLS with it failed: its certificate, its name, or its protocol."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """Give it to an httpx.AsyncClient, with trust_env=False and redirects off.

    NotAllowed and NotFound pass through; everything else is httpx's.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        connections: int,
        resolve: Resolve = system_addresses,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """connections: open at once, at most. tls: None trusts what this machine trusts."""
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE_SECONDS,
            http2=False,
            network_backend=GuardedConnect(guard, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = await self._pool.handle_async_request(asked)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error)) from error
    except httpcore.ConnectError as error:
        if _is_of_tls(error):
            raise TlsFailed(str(error)) from error
        if type(error) is httpcore.ConnectError:
            raise httpx.ConnectError(str(error)) from error
        raise
    except httpcore.NetworkError as error:
        raise httpx.NetworkError(str(error)) from error
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.ProtocolError(str(error)) from error


def _is_of_tls(error: BaseException | None) -> bool:
    """The handshake's error lies somewhere below the one that httpcore and anyio made of it."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
