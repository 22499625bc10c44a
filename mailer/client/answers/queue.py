"""What the queue's routes answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct


class QueueRow(Struct, frozen=True, kw_only=True):
    """A site, domain or tenant. in_use, granted, limit: connections; of sites, for operators."""

    name: str
    queued: int
    deferred: int
    leased: int
    is_partial: bool
    ended: int
    outcomes: Mapping[str, int]
    oldest_at: datetime | None = None
    in_use: int | None = None
    granted: int | None = None
    limit: int | None = None


class QueueOverview(Struct, frozen=True, kw_only=True):
    """The queue at a glance, the largest backlog first."""

    at: datetime
    by: str
    window_seconds: float
    rows: Sequence[QueueRow]
    totals: QueueRow


class Waiting(Struct, frozen=True, kw_only=True):
    """Recipients that wait; more that a worker has in hand; both by state."""

    recipients: int
    under_way: int
    states: Mapping[str, int]


class Hold(Struct, frozen=True, kw_only=True):
    """What is held, why, and until when. A condition that is None is none. owner: operator or tenant."""

    id: str
    owner: str
    placed_by: str
    reason: str
    placed_at: datetime
    until: datetime | None = None
    tenant_id: str | None = None
    stream: str | None = None
    domain: str | None = None
    site: str | None = None
    message_id: str | None = None
    recipient_id: str | None = None


class PlacedHold(Hold, frozen=True, kw_only=True):
    """recipients: that are held now. under_way: more, that a worker has in hand and sends."""

    recipients: int
    under_way: int


class HoldList(Struct, frozen=True, kw_only=True):
    holds: Sequence[Hold]


class Acted(Struct, frozen=True, kw_only=True):
    """recipients: that were changed. has_more: repeat it."""

    action_id: str
    recipients: int
    under_way: int
    has_more: bool


class Action(Struct, frozen=True, kw_only=True):
    """Who did what to mail that waits.

    kind: hold, release, lapse, requeue, move, bounce; of the brake: warn, override, clear.
    """

    id: str
    at: datetime
    kind: str
    done_by: str
    wanted: Mapping[str, str]
    reason: str
    recipients: int
    hold_id: str | None = None
    until: datetime | None = None
    status: str | None = None
    target: str | None = None


class ActionPage(Struct, frozen=True, kw_only=True):
    actions: Sequence[Action]
    next_cursor: str | None = None
