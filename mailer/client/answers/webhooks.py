"""Webhook endpoints, and how the calls of them went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Endpoint(Struct, frozen=True, kw_only=True):
    """event_types: only these are told, empty: all. state: active or disabled."""

    id: str
    url: str
    description: str
    event_types: Sequence[str]
    state: str
    created_at: datetime
    old_until: datetime | None = None


class NewEndpoint(Endpoint, frozen=True, kw_only=True):
    """secret: what its callbacks are signed with (Standard Webhooks)."""

    secret: str


class EndpointList(Struct, frozen=True, kw_only=True):
    endpoints: Sequence[Endpoint]


class Secret(Struct, frozen=True, kw_only=True):
    """old_until: until when callbacks bear a signature of the secret before, too; after a rotation."""

    secret: str
    old_until: datetime | None = None


class Callback(Struct, frozen=True, kw_only=True):
    """One event for one endpoint. state: due, held, delivered or given_up."""

    id: str
    state: str
    attempt_count: int
    created_at: datetime
    event_number: int | None = None
    due_at: datetime | None = None
    settled_at: datetime | None = None


class CallbackPage(Struct, frozen=True, kw_only=True):
    callbacks: Sequence[Callback]
    next_cursor: str | None = None


class EndpointAttempt(Struct, frozen=True, kw_only=True):
    """One call of an endpoint. status: of HTTP, None without an answer; cause: None for a 2xx."""

    id: str
    callback_id: str
    state: str
    at: datetime
    duration_ms: int
    event_number: int | None = None
    status: int | None = None
    cause: str | None = None


class EndpointAttemptPage(Struct, frozen=True, kw_only=True):
    attempts: Sequence[EndpointAttempt]
    next_cursor: str | None = None


class Tested(Struct, frozen=True, kw_only=True):
    callback_id: str
