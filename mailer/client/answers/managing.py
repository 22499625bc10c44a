"""What the management routes answer: streams and keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Stream(Struct, frozen=True, kw_only=True):
    """kind: transactional or broadcast. in_doubt: retry or give-up. state: active or archived.

    tls: opportunistic, encrypted or required. expires_after: seconds that its mail is of use; 0: no limit.
    own_unsubscribe: keep or refuse, of messages that bring a List-Unsubscribe.
    role_accounts: broadcast mail goes to addresses of tasks, such as postmaster@, too.
    """

    name: str
    kind: str
    in_doubt: str
    state: str
    tls: str = "opportunistic"
    expires_after: int = 0
    own_unsubscribe: str = "keep"
    role_accounts: bool = False
    created_at: datetime


class StreamList(Struct, frozen=True, kw_only=True):
    streams: Sequence[Stream]


class Key(Struct, frozen=True, kw_only=True):
    """An API key without its secret. streams, domains: the only ones it may use; None: any."""

    id: str
    name: str
    scopes: Sequence[str]
    state: str
    created_at: datetime
    streams: Sequence[str] | None = None
    domains: Sequence[str] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKey(Key, frozen=True, kw_only=True):
    """api_key: the key itself, shown this once."""

    api_key: str


class KeyPage(Struct, frozen=True, kw_only=True):
    keys: Sequence[Key]
    next_cursor: str | None = None
