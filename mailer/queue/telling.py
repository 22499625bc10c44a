"""Telling: an event is appended in the transaction of the change it tells of; fanout.py numbers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import event_new

_APPEND = Hot(bare(event_new).insert(), names_of(event_new, without="seq"))


def tell(connection: Connection, events: Sequence[Mapping[str, Any]]) -> None:
    """Appends rows of `event_new`, one or more, in this order: `at` in microseconds, `data` as JSON text."""
    _APPEND.many(connection, events)
