"""Old reports go, with what belongs to them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Table, delete, select

from mailer.store import Store
from mailer.store.tables import (
    complaint,
    dmarc_failure,
    dmarc_record,
    dmarc_report,
    tls_failure,
    tls_policy,
    tls_report,
    tls_report_sent,
)

_AT_ONCE = 20  # reports, each with up to tens of thousands of records
_OF: tuple[tuple[Table, tuple[Table, ...]], ...] = (
    (dmarc_report, (dmarc_record,)),
    (tls_report, (tls_failure, tls_policy)),
    (dmarc_failure, ()),
    (complaint, ()),
)


def drop(store: Store, *, before: datetime) -> int:
    """Drops some reports that came before then; returns how many."""
    return sum(_drop(store, table, parts, before) for table, parts in _OF)


def _drop(store: Store, table: Table, parts: tuple[Table, ...], before: datetime) -> int:
    at_once = _AT_ONCE if parts else _AT_ONCE * 50
    old = select(table.c.id).where(table.c.received_at < before).order_by(table.c.received_at).limit(at_once)
    with store.read() as connection:
        if connection.execute(old.limit(1)).first() is None:
            return 0
    with store.write() as connection:
        going = list(connection.execute(old.with_for_update(skip_locked=True)).scalars())
        for part in parts:
            connection.execute(delete(part).where(part.c.report_id.in_(going)))
        connection.execute(delete(table).where(table.c.id.in_(going)))
    return len(going)


def forget_sent(store: Store, *, before: datetime) -> int:
    """Forgets which reports of ours were sent about days before; returns how many."""
    some = select(tls_report_sent.c.day).where(tls_report_sent.c.day < before.date().isoformat()).limit(1)
    with store.read() as connection:
        day = connection.execute(some).scalar()
    if day is None:
        return 0
    with store.write() as connection:
        return connection.execute(delete(tls_report_sent).where(tls_report_sent.c.day == day)).rowcount
