"""Webhook endpoints."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.client.answers.webhooks import (
    Callback,
    CallbackPage,
    Endpoint,
    EndpointAttemptPage,
    EndpointList,
    NewEndpoint,
    Secret,
    Tested,
)
from mailer.client.call import Call, changing, pairs

_PATH = "/v1/webhook-endpoints"


def listed() -> Call[EndpointList]:
    return Call(method="GET", path=_PATH, answer=EndpointList, repeatable=True)


def get(endpoint_id: str) -> Call[Endpoint]:
    return Call(method="GET", path=f"{_PATH}/{endpoint_id}", answer=Endpoint, repeatable=True)


def create(url: str, *, description: str | None, event_types: Sequence[str] | None) -> Call[NewEndpoint]:
    wanted = {"url": url, "description": description, "event_types": event_types}
    return changing("POST", _PATH, NewEndpoint, wanted)


def change(
    endpoint_id: str,
    *,
    url: str | None,
    description: str | None,
    event_types: Sequence[str] | None,
    state: str | None,
) -> Call[Endpoint]:
    wanted = {"url": url, "description": description, "event_types": event_types, "state": state}
    return changing("PATCH", f"{_PATH}/{endpoint_id}", Endpoint, wanted, repeatable=True)


def delete(endpoint_id: str) -> Call[None]:
    return Call(method="DELETE", path=f"{_PATH}/{endpoint_id}", answer=None)


def secret(endpoint_id: str) -> Call[Secret]:
    return Call(method="GET", path=f"{_PATH}/{endpoint_id}/secret", answer=Secret, repeatable=True)


def rotate_secret(endpoint_id: str, *, overlap_seconds: int) -> Call[Secret]:
    path = f"{_PATH}/{endpoint_id}/secret/rotate"
    return changing("POST", path, Secret, {"overlap_seconds": overlap_seconds})


def test(endpoint_id: str) -> Call[Tested]:
    return Call(method="POST", path=f"{_PATH}/{endpoint_id}/test", answer=Tested)


def attempts(endpoint_id: str, *, cursor: str | None, limit: int) -> Call[EndpointAttemptPage]:
    return Call(
        method="GET",
        path=f"{_PATH}/{endpoint_id}/attempts",
        answer=EndpointAttemptPage,
        params=tuple(pairs(cursor=cursor, limit=limit)),
        repeatable=True,
    )


def callbacks(endpoint_id: str, *, state: str | None, cursor: str | None, limit: int) -> Call[CallbackPage]:
    return Call(
        method="GET",
        path=f"{_PATH}/{endpoint_id}/callbacks",
        answer=CallbackPage,
        params=tuple(pairs(state=state, cursor=cursor, limit=limit)),
        repeatable=True,
    )


def retry(endpoint_id: str, callback_id: str) -> Call[Callback]:
    path = f"{_PATH}/{endpoint_id}/callbacks/{callback_id}/retry"
    return Call(method="POST", path=path, answer=Callback, repeatable=True)
