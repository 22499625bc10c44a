"""Owing a DSN: it is on record in the transaction of the change that brings it about; notices.py pays it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailer.events import NoticeKind, NoticeState
from mailer.store import dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import notice
from mailer.store.types import to_microseconds

_OWE = Hot(dialect.upsert(bare(notice)).on_conflict_do_nothing(), names_of(notice))


@dataclass(frozen=True, slots=True)
class Owed:
    """A DSN of this kind about a recipient."""

    recipient_id: int
    kind: NoticeKind
    tenant_id: int
    message_id: int


def owe(connection: Connection, owed: Sequence[Owed], *, now: datetime) -> None:
    """Puts them on record; one of a kind about a recipient, however often it is owed."""
    if not owed:
        return
    rows = [
        {
            "recipient_id": o.recipient_id,
            "kind": o.kind,
            "tenant_id": o.tenant_id,
            "message_id": o.message_id,
            "state": NoticeState.DUE,
            "reason": None,
            "sent_as": None,
            "created_at": to_microseconds(now),
        }
        for o in owed
    ]
    _OWE.many(connection, rows)
