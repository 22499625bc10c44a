"""What the API answers about returned mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct


class ReturnedMail(Struct, frozen=True, kw_only=True):
    """A mail that came to an address of ours. is_verified: it proves whose it is; what does not changed
    nothing. bounce_class: None until it was read. findings: what it says, and what followed."""

    id: str
    received_at: datetime
    kind: str
    address: str
    reverse_path: str
    size_bytes: int
    state: str
    findings: Mapping[str, Any]
    bounce_class: str | None = None
    matched_by: str | None = None
    is_verified: bool | None = None
    message_id: str | None = None
    recipient_id: str | None = None


class ReturnedPage(Struct, frozen=True, kw_only=True):
    """Newest first. next_cursor: None: there are no more."""

    returned: Sequence[ReturnedMail]
    next_cursor: str | None = None
