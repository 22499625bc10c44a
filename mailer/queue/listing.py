"""A tenant's messages as a list, newest first, in pages. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from mailer.queue import finding
from mailer.queue.finding import MOST_LOOKED, Wanted
from mailer.store import Store, dialect
from mailer.store.tables import message, recipient, stream

ALL = Wanted()


@dataclass(frozen=True, slots=True)
class Summary:
    """A message in a list. states: state of recipients -> how many are in it."""

    id: int
    header_from: str
    subject: str
    stream: str
    tags: Sequence[str]
    metadata: Mapping[str, str]
    accepted_at: datetime
    due_at: datetime
    size_bytes: int
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """position: where the next page begins; None: there is nothing more."""

    messages: Sequence[Summary]
    position: int | None


def page(
    store: Store,
    tenant_id: int,
    wanted: Wanted = ALL,
    *,
    limit: int,
    position: int | None = None,
    most_looked: int = MOST_LOOKED,
) -> Page:
    """Up to `limit` of the tenant's messages below `position`. Less, or none, is not the end."""
    with store.read() as connection:
        found = finding.find(
            connection, tenant_id, wanted, limit=limit, position=position, most_looked=most_looked
        )
        return Page(_summaries(connection, found.ids), found.position)


def every(store: Store, tenant_id: int, wanted: Wanted = ALL) -> Iterator[Summary]:
    """All of them, newest first, page by page; for commands."""
    position: int | None = None
    while True:
        found = page(store, tenant_id, wanted, limit=100, position=position)
        yield from found.messages
        if found.position is None:
            return
        position = found.position


def _summaries(connection: Connection, ids: Sequence[int]) -> list[Summary]:
    if not ids:
        return []
    listed = {"ids": dialect.listed(connection, ids)}
    of_recipients = _of_recipients(connection, listed)
    m = message.c
    shown = (
        select(
            m.id, m.header_from, m.subject, stream.c.name, m.tags, m.metadata, m.accepted_at, m.due_at
        )
        .join(stream, stream.c.id == m.stream_id)
        .where(dialect.OneOf(m.id, "ids"))
        .order_by(m.id.desc())
    )  # fmt: skip
    return [
        Summary(
            row.id, row.header_from, row.subject, row.name, row.tags, row.metadata, row.accepted_at,
            row.due_at, *of_recipients[row.id],
        )
        for row in connection.execute(shown, listed)
        if row.id in of_recipients  # else retention dropped it between the two statements
    ]  # fmt: skip


def _of_recipients(
    connection: Connection, listed: Mapping[str, Any]
) -> Mapping[int, tuple[int, Mapping[str, int]]]:
    """Octets of the message, and how many recipients are in which state.

    The size stands in `content` as well, but SQLite reads past the whole body to come to it there.
    """
    r = recipient.c
    counted = (
        select(r.message_id, r.state, func.count(), func.max(r.size_bytes))
        .where(dialect.OneOf(r.message_id, "ids"))
        .group_by(r.message_id, r.state)
    )
    found: dict[int, tuple[int, dict[str, int]]] = {}
    for message_id, state, n, size_bytes in connection.execute(counted, listed):
        found.setdefault(message_id, (size_bytes, {}))[1][state] = n
    return found
