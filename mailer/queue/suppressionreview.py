"""What the operator decides about entries that a storm held up: they are made after all, or forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Target, What
from mailer.queue import suppressionentries as entries
from mailer.queue.suppressionentries import Entry
from mailer.store import Store
from mailer.store.tables import suppression_review, suppression_storm

_AT_ONCE = 500
_SAME = (
    "tenant_id",
    "stream_id",
    "reason",
    "cause",
    "recipient_id",
    "attempt_id",
    "report_id",
    "site",
    "words",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A site whose entries wait. answered, invalid: of the hour judged last. usual: its share else."""

    site: str
    waiting: int
    since: datetime | None
    answered: int
    invalid: int
    usual: float


def cases(store: Store) -> list[Case]:
    storm, review = suppression_storm.c, suppression_review.c
    found = (
        select(review.site, func.count(), storm.since, storm.answered, storm.invalid, storm.baseline_ppm)
        .select_from(suppression_review)
        .outerjoin(suppression_storm, storm.site == review.site)
        .group_by(review.site, storm.since, storm.answered, storm.invalid, storm.baseline_ppm)
        .order_by(review.site)
    )
    with store.read() as connection:
        return [
            Case(site, n, since, answered or 0, invalid or 0, (ppm or 0) / 1_000_000)
            for site, n, since, answered, invalid, ppm in connection.execute(found)
        ]


def decide(store: Store, site: str, *, suppress: bool, by: str, new_id: IdMaker, now: datetime) -> int:
    """Makes the site's entries, or forgets them, some hundred at once; how many it was about.

    by  who decides: it is their entry from then on, which no storm takes back
    """
    done = 0
    while True:
        with store.write() as connection:
            rows = _some(connection, site)
            if not rows:
                return done
            if suppress:
                entries.own(connection, sorted({row.tenant_id for row in rows}))
                entries.add(connection, [_entry(row, by, new_id(), now) for row in rows], new_id)
            gone = delete(suppression_review).where(suppression_review.c.site == site)
            connection.execute(gone.where(suppression_review.c.id.in_([row.id for row in rows])))
            done += len(rows)


def _some(connection: Connection, site: str) -> Sequence[Any]:
    found = select(suppression_review).where(suppression_review.c.site == site)
    return connection.execute(found.order_by(suppression_review.c.id).limit(_AT_ONCE).with_for_update()).all()


def _entry(row: Any, by: str, entry_id: int, now: datetime) -> Entry:
    target = Target(What(row.what), row.key_hash, row.address, row.domain or "")
    return Entry(
        target=target, id=entry_id, created_at=now, expires_at=row.expires_at, added_by=by,
        **{name: getattr(row, name) for name in _SAME},
    )  # fmt: skip
