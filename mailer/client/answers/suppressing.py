"""What the routes of the suppression list answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Suppression(Struct, frozen=True, kw_only=True):
    """Somebody who is not sent to.

    target      an address, a domain, or "*." and a domain; None: erased
    stream      None: all of the tenant's
    cause       reply, report, link, api, import or operator
    note        the peer's words, or of who added it
    """

    id: str
    target: str | None
    stream: str | None
    reason: str
    cause: str
    recipient_id: str | None = None
    attempt_id: str | None = None
    report_id: str | None = None
    note: str | None = None
    added_by: str | None = None
    created_at: datetime
    expires_at: datetime | None = None


class SuppressionPage(Struct, frozen=True, kw_only=True):
    suppressions: Sequence[Suppression]
    next_cursor: str | None = None


class Removed(Struct, frozen=True, kw_only=True):
    """sent_again: recipients that it had stopped, and that are accepted anew within seconds."""

    sent_again: int


class RowFault(Struct, frozen=True, kw_only=True):
    line: int
    detail: str


class Imported(Struct, frozen=True, kw_only=True):
    """added: new entries. known: those that stood already. refused: rows with a fault; the first are
    named."""

    added: int
    known: int
    refused: int
    faults: Sequence[RowFault] = ()
