"""DMARC failure reports, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailer.queue.reports.span import Page, Span, page
from mailer.store import Store
from mailer.store.tables import dmarc_failure, stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A message that failed; texts are empty where the report does not say.

    stream, message_id  of the message, where it is one of ours that is known
    """

    id: int
    stream: str | None
    message_id: int | None
    source_ip: str
    failures: Sequence[str]
    delivery: str
    mail_from: str
    recipient: str
    rfc_message_id: str
    subject: str
    results: str
    reporter: str
    incidents: int
    arrived_at: datetime
    via: str
    signed_by: str | None
    received_at: datetime


def failures(store: Store, span: Span, *, limit: int, position: int | None = None) -> Page:
    """The latest to come first; of messages that came to the receiver in that time."""
    f = dmarc_failure.c
    plain = [f[name] for name in Failure.__slots__ if name != "stream"]
    wanted = (
        select(stream.c.name.label("stream"), *plain)
        .select_from(dmarc_failure.outerjoin(stream, stream.c.id == f.stream_id))
        .where(*span.covers(f.domain_id, f.arrived_at))
    )
    with store.read() as connection:
        found = page(connection, wanted, f.id, limit=limit, position=position)
    rows = [dict(row._mapping) for row in found.found]
    return Page([Failure(**row | {"signed_by": row["signed_by"] or None}) for row in rows], found.position)
