"""TLS reports of ours: which are owed, taken by one host each, and what became of them.

A row is made for every domain with results of a day, once for all hosts, and is taken by moving its time:
whoever moved it tries it, and if that process dies the time comes again. A report by mail is accepted in the
transaction that marks it as sent; one by HTTPS may be sent again, under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.ids import IdMaker
from mailer.queue import enqueue
from mailer.queue.enqueue import LaneBook, NewMessage
from mailer.store import Store, dialect
from mailer.store.tables import tls_report_sent, tls_result

DUE, NONE, SENT, FAILED = "due", "none", "sent", "failed"
_AT_ONCE = 500
_S = tls_report_sent.c


@dataclass(frozen=True, slots=True)
class Owed:
    """tries: with this one. sent_as: the mail that was sent already; only HTTPS is left."""

    day: str
    domain: str
    tries: int
    sent_as: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepting:
    """What a process accepts mail with."""

    new_id: IdMaker
    process_number: int
    lanes: LaneBook = field(default_factory=LaneBook)


def plan(store: Store, day: str, due_at: Callable[[], datetime]) -> int:
    """Every domain with results of that day is owed a report; returns how many are new.

    due_at: drawn for each, so that they do not all come at once (RFC 8460 §4.1)
    """
    new, last = 0, ""
    while True:
        some = (
            select(tls_result.c.domain)
            .where(tls_result.c.day == day, tls_result.c.domain > last)
            .distinct()
            .order_by(tls_result.c.domain)
            .limit(_AT_ONCE)
        )
        with store.read() as connection:
            found = list(connection.execute(some).scalars())
        if not found:
            return new
        last = found[-1]
        rows = [
            {"day": day, "domain": domain, "state": DUE, "due_at": due_at(), "tries": 0} for domain in found
        ]
        with store.write() as connection:
            insert = dialect.insert(connection, tls_report_sent).values(rows).on_conflict_do_nothing()
            new += len(connection.execute(insert.returning(_S.domain)).all())


def take(store: Store, *, most: int, now: datetime, lease: timedelta) -> list[Owed]:
    """Those whose time has come; they come again after `lease` unless something becomes of them."""
    due = (
        select(_S.day, _S.domain, _S.tries, _S.sent_as)
        .where(_S.state == DUE, _S.due_at <= now)
        .order_by(_S.due_at)
        .limit(most)
    )
    with store.read() as connection:
        if connection.execute(due.limit(1)).first() is None:
            return []
    with store.write() as connection:
        rows = connection.execute(due.with_for_update(skip_locked=True)).all()
        for row in rows:
            taken = update(tls_report_sent).where(_S.day == row.day, _S.domain == row.domain)
            connection.execute(taken.values(due_at=now + lease, tries=row.tries + 1))
    return [Owed(row.day, row.domain, row.tries + 1, row.sent_as) for row in rows]


def send(
    store: Store,
    owed: Owed,
    carrier: NewMessage,
    *,
    accepting: Accepting,
    is_all: bool,
    now: datetime,
) -> bool:
    """Accepts the mail that bears it; False if another host was first.

    is_all: with that nothing is left to do
    """
    with store.write() as connection:
        first = (_S.day == owed.day, _S.domain == owed.domain, _S.state == DUE, _S.sent_as.is_(None))
        values: dict[str, Any] = {"sent_as": carrier.id, "state": SENT if is_all else DUE}
        if connection.execute(update(tls_report_sent).where(*first).values(values)).rowcount != 1:
            return False
        made = enqueue.insert_messages(
            connection,
            [carrier],
            lanes=accepting.lanes,
            new_id=accepting.new_id,
            process_number=accepting.process_number,
            now=now,
        )
    accepting.lanes.remember(made)
    return True


def settle(store: Store, owed: Owed, state: str, *, reason: str | None = None) -> None:
    """It is over: sent, failed, or nobody wants it."""
    _note(store, owed, {"state": state, "reason": _cut(reason)})


def put_off(store: Store, owed: Owed, until: datetime, *, reason: str) -> None:
    """It is tried again then."""
    _note(store, owed, {"due_at": until, "reason": _cut(reason)})


def state_of(connection: Connection, day: str) -> Sequence[Any]:
    """All of a day, by domain."""
    return connection.execute(select(tls_report_sent).where(_S.day == day).order_by(_S.domain)).all()


def _note(store: Store, owed: Owed, values: dict[str, Any]) -> None:
    with store.write() as connection:
        still = (_S.day == owed.day, _S.domain == owed.domain, _S.state == DUE)
        connection.execute(update(tls_report_sent).where(*still).values(values))


def _cut(reason: str | None) -> str | None:
    return None if reason is None else reason.replace("\0", "?")[:500]
