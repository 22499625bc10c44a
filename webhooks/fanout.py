"""A callback for every event and endpoint that wants it, in the transaction that numbers the event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, literal_column, select

from mailer.store import dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import webhook_callback, webhook_endpoint
from mailer.store.types import to_microseconds

_ENDPOINT = bare(webhook_endpoint)
# KEY SHARE: an endpoint that is being deleted waits for these rows, and so finds them.
_WANTING = Hot(
    select(_ENDPOINT.c.tenant_id, _ENDPOINT.c.id, _ENDPOINT.c.event_types)
    .where(
        dialect.OneOf(_ENDPOINT.c.tenant_id, "tenants"),
        _ENDPOINT.c.state == literal_column("'active'"),
    )
    .order_by(_ENDPOINT.c.id)
    .with_for_update(read=True, key_share=True)
)
_NEW = Hot(bare(webhook_callback).insert(), names_of(webhook_callback))


class FanOut:
    """For mailer.queue.fanout, which calls it with the rows it has just numbered."""

    def __init__(self, new_id: Callable[[], int], now: Callable[[], datetime]) -> None:
        self._new_id = new_id
        self._now = now

    def __call__(self, connection: Connection, numbered: Sequence[Mapping[str, Any]]) -> None:
        """Tenants without an endpoint cost one question for the whole batch."""
        tenants = {event["tenant_id"] for event in numbered}
        found = _WANTING.rows(connection, {"tenants": dialect.listed(connection, sorted(tenants))})
        if not found:
            return
        wanting: dict[int, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        for tenant_id, endpoint_id, event_types in found:
            wanting[tenant_id].append((endpoint_id, _words(event_types)))
        now = to_microseconds(self._now())
        rows = [
            self._row(event, endpoint_id, now)
            for event in numbered
            for endpoint_id, types in wanting.get(event["tenant_id"], ())
            if not types or event["type"] in types
        ]
        if rows:
            _NEW.many(connection, rows)

    def _row(self, event: Mapping[str, Any], endpoint_id: int, now: int) -> dict[str, Any]:
        return {
            "id": self._new_id(), "tenant_id": event["tenant_id"], "endpoint_id": endpoint_id,
            "event_number": event["number"], "state": "due", "due_at": now, "holder": None, "attempts": 0,
            "created_at": now, "settled_at": None,
        }  # fmt: skip


@lru_cache(maxsize=1024)
def _words(event_types: str) -> frozenset[str]:
    """Of the stored JSON list."""
    return frozenset(msgspec.json.decode(event_types, type=list[str]))
