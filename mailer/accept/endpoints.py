"""What the doors ask of whoever keeps webhook endpoints; `webhooks.endpoints.Endpoints` is it.

Described here because the doors do not know that package, nor it them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol


class EndpointView(Protocol):
    """event_types: event words; empty means all. old_until: when the secret before this one stops signing."""

    @property
    def id(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def event_types(self) -> Sequence[str]: ...
    @property
    def state(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def old_until(self) -> datetime | None: ...


class CallbackView(Protocol):
    """One event for one endpoint; the rest of it is read by its shape."""

    @property
    def id(self) -> int: ...
    @property
    def state(self) -> str: ...


class AttemptView(Protocol):
    """One call; the rest of it is read by its shape."""

    @property
    def id(self) -> int: ...


class Endpoints(Protocol):
    """Every call is one transaction. Raises StoreUnavailable. Safe from any thread.

    None, or False, means that the tenant has no such endpoint; of `create`, that it has too many.
    """

    def fault_of_url(self, url: str) -> str | None:
        """What is wrong with it, for its owner; None if it may be called."""

    def create(
        self, tenant_id: int, *, url: str, description: str, event_types: Collection[str]
    ) -> tuple[EndpointView, str] | None:
        """The endpoint and its secret. url: one that `fault_of_url` lets pass."""

    def listed(self, tenant_id: int) -> Sequence[EndpointView]: ...

    def get(self, tenant_id: int, endpoint_id: int) -> EndpointView | None: ...

    def change(self, tenant_id: int, endpoint_id: int, values: Mapping[str, Any]) -> EndpointView | None:
        """values: new ones of url, description, event_types, state."""

    def delete(self, tenant_id: int, endpoint_id: int) -> bool: ...

    def secret(self, tenant_id: int, endpoint_id: int) -> str | None: ...

    def rotate(self, tenant_id: int, endpoint_id: int, *, overlap: timedelta) -> tuple[str, datetime] | None:
        """The new secret, and until when the one before it signs too. None also while one before that signs
        still, unless there is no overlap."""

    def test(self, tenant_id: int, endpoint_id: int) -> int | None:
        """The id of a callback that tells a test."""

    def attempts(
        self, tenant_id: int, endpoint_id: int, *, before: int | None, limit: int
    ) -> Sequence[AttemptView] | None: ...

    def callbacks(
        self, tenant_id: int, endpoint_id: int, *, state: str | None, before: int | None, limit: int
    ) -> Sequence[CallbackView] | None: ...

    def retry(self, tenant_id: int, endpoint_id: int, callback_id: int) -> CallbackView | None: ...
