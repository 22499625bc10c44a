"""Streams and API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from mailer.client.answers.managing import Key, KeyPage, NewKey, Stream, StreamList
from mailer.client.call import Call, changing, pairs

T = TypeVar("T")

_STREAMS = "/v1/streams"
_KEYS = "/v1/keys"


def streams() -> Call[StreamList]:
    return Call(method="GET", path=_STREAMS, answer=StreamList, repeatable=True)


def stream(name: str) -> Call[Stream]:
    return Call(method="GET", path=f"{_STREAMS}/{name}", answer=Stream, repeatable=True)


def create_stream(
    name: str,
    *,
    kind: str,
    in_doubt: str,
    tls: str,
    expires_after: int,
    own_unsubscribe: str,
    role_accounts: bool,
) -> Call[Stream]:
    wanted = {
        "name": name, "kind": kind, "in_doubt": in_doubt, "tls": tls, "expires_after": expires_after,
        "own_unsubscribe": own_unsubscribe, "role_accounts": role_accounts,
    }  # fmt: skip
    return changing("POST", _STREAMS, Stream, wanted)


def change_stream(
    name: str,
    *,
    in_doubt: str | None,
    tls: str | None,
    expires_after: int | None,
    own_unsubscribe: str | None,
    role_accounts: bool | None,
) -> Call[Stream]:
    given = {
        "in_doubt": in_doubt, "tls": tls, "expires_after": expires_after, "own_unsubscribe": own_unsubscribe,
        "role_accounts": role_accounts,
    }  # fmt: skip
    wanted = {key: value for key, value in given.items() if value is not None}
    return changing("PATCH", f"{_STREAMS}/{name}", Stream, wanted, repeatable=True)


def archive_stream(name: str) -> Call[Stream]:
    return Call(method="DELETE", path=f"{_STREAMS}/{name}", answer=Stream, repeatable=True)


def restore_stream(name: str) -> Call[Stream]:
    return Call(method="POST", path=f"{_STREAMS}/{name}/restore", answer=Stream, repeatable=True)


def keys(*, cursor: str | None) -> Call[KeyPage]:
    return Call(
        method="GET",
        path=_KEYS,
        answer=KeyPage,
        params=tuple(pairs(limit=100, cursor=cursor)),
        repeatable=True,
    )


def key(key_id: str) -> Call[Key]:
    return Call(method="GET", path=f"{_KEYS}/{key_id}", answer=Key, repeatable=True)


def create_key(
    name: str,
    *,
    scopes: Sequence[str],
    streams: Sequence[str] | None,
    domains: Sequence[str] | None,
    expires_at: datetime | None,
) -> Call[NewKey]:
    """Not repeatable: it would leave a key behind that nobody knows."""
    wanted = {
        "name": name, "scopes": scopes, "streams": streams, "domains": domains, "expires_at": expires_at,
    }  # fmt: skip
    return changing("POST", _KEYS, NewKey, wanted)


def rename_key(key_id: str, name: str) -> Call[Key]:
    return changing("PATCH", f"{_KEYS}/{key_id}", Key, {"name": name}, repeatable=True)


def revoke_key(key_id: str) -> Call[Key]:
    return Call(method="DELETE", path=f"{_KEYS}/{key_id}", answer=Key, repeatable=True)


def rotate_key(key_id: str, *, overlap_seconds: int) -> Call[NewKey]:
    return changing("POST", f"{_KEYS}/{key_id}/rotate", NewKey, {"overlap_seconds": overlap_seconds})
