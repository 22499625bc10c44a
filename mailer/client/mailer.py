"""The two clients: one that waits, one for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from mailer.client import (
    parts,
    parts_async,
    parts_operating,
    parts_operating_async,
    parts_reports,
    parts_reports_async,
    parts_returning,
    parts_returning_async,
    parts_suppressing,
    parts_suppressing_async,
)
from mailer.client.call import USUAL, Patience
from mailer.client.transport import AsyncWires, Wires, with_key

_LOCAL = "http://127.0.0.1:8025"
_SECONDS = 30.0


class Mailer:
    """The API of one server, with one key. Safe to share between threads; close it, or use `with`."""

    def __init__(
        self,
        api_key: str,
        base_url: str = _LOCAL,
        *,
        timeout: float = _SECONDS,
        patience: Patience = USUAL,
        http: httpx.Client | None = None,
    ) -> None:
        """http: a client of your own, say for a proxy or a test, with its own base_url and timeout."""
        made = http or httpx.Client(base_url=base_url, timeout=timeout)
        made.headers.update(with_key(api_key))
        self._wires = Wires(made, patience)
        self.messages = parts.Messages(self._wires)
        self.events = parts.Events(self._wires)
        self.templates = parts.Templates(self._wires)
        self.streams = parts.Streams(self._wires)
        self.keys = parts.Keys(self._wires)
        self.suppressions = parts_suppressing.Suppressions(self._wires)
        self.webhook_endpoints = parts.WebhookEndpoints(self._wires)
        self.queue = parts.Queue(self._wires)
        self.inbox = parts.Inbox(self._wires)
        self.reports = parts_reports.Reports(self._wires)
        self.egress_ips = parts_operating.EgressIps(self._wires)
        self.pools = parts_operating.Pools(self._wires)
        self.warmups = parts_operating.Warmups(self._wires)
        self.brake = parts_operating.Brake(self._wires)
        self.limits = parts_operating.Limits(self._wires)
        self.provider_rules = parts_operating.ProviderRules(self._wires)
        self.returned = parts_returning.Returned(self._wires)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wires.close()


class AsyncMailer:
    """The same on one event loop; close it, or use `async with`."""

    def __init__(
        self,
        api_key: str,
        base_url: str = _LOCAL,
        *,
        timeout: float = _SECONDS,
        patience: Patience = USUAL,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """http: a client of your own, say for a proxy or a test, with its own base_url and timeout."""
        made = http or httpx.AsyncClient(base_url=base_url, timeout=timeout)
        made.headers.update(with_key(api_key))
        self._wires = AsyncWires(made, patience)
        self.messages = parts_async.Messages(self._wires)
        self.events = parts_async.Events(self._wires)
        self.templates = parts_async.Templates(self._wires)
        self.streams = parts_async.Streams(self._wires)
        self.keys = parts_async.Keys(self._wires)
        self.suppressions = parts_suppressing_async.Suppressions(self._wires)
        self.webhook_endpoints = parts_async.WebhookEndpoints(self._wires)
        self.queue = parts_async.Queue(self._wires)
        self.inbox = parts_async.Inbox(self._wires)
        self.reports = parts_reports_async.Reports(self._wires)
        self.egress_ips = parts_operating_async.EgressIps(self._wires)
        self.pools = parts_operating_async.Pools(self._wires)
        self.warmups = parts_operating_async.Warmups(self._wires)
        self.brake = parts_operating_async.Brake(self._wires)
        self.limits = parts_operating_async.Limits(self._wires)
        self.provider_rules = parts_operating_async.ProviderRules(self._wires)
        self.returned = parts_returning_async.Returned(self._wires)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._wires.close()
