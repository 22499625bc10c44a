"""Entries of suppression lists: made, renewed, and found again.

An entry that stands is left as it is, with what caused it; one that is over, or ends sooner than the new
one, is renewed, and so is one that was made of bounces by a complaint, which must stay when those prove
wrong. Whoever writes one leaves the sweeper a task: to stop what waits for its recipients, at once and once
more half a minute later, when whatever was being accepted meanwhile has been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, literal_column, or_

from mailer.ids import IdMaker
from mailer.policy.suppression import OF_BOUNCES, Reason
from mailer.policy.suppressionkey import Target
from mailer.store import dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import suppression, suppression_owner, suppression_task
from mailer.store.types import to_microseconds

REPLY, REPORT, LINK = (
    "reply",
    "report",
    "link",
)  # causes: a peer's reply, a returned mail, an unsubscribe link
API, IMPORT, OPERATOR = "api", "import", "operator"
STOP, AGAIN = "stop", "again"
SECOND_LOOK = timedelta(seconds=30)
WORDS_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One that is to be made (columns of `suppression`). created_at: also what its end is compared with."""

    target: Target
    tenant_id: int
    stream_id: int
    id: int
    reason: str
    cause: str
    created_at: datetime
    expires_at: datetime | None = None
    recipient_id: int | None = None
    attempt_id: int | None = None
    report_id: int | None = None
    site: str | None = None
    words: str | None = None
    added_by: str | None = None


_ENTRY = bare(suppression)
_KEY = ("key_hash", "tenant_id", "stream_id")


def _adding() -> Hot:
    new = dialect.upsert(_ENTRY)
    renewed = {name: new.excluded[name] for name in names_of(suppression) if name not in _KEY}
    lasts_longer = or_(new.excluded.expires_at.is_(None), new.excluded.expires_at > _ENTRY.c.expires_at)
    weighs_more = and_(
        new.excluded.reason == literal_column(f"'{Reason.COMPLAINT}'"),
        _ENTRY.c.reason.in_([literal_column(f"'{reason}'") for reason in OF_BOUNCES]),
    )
    return Hot(
        new.on_conflict_do_update(
            index_elements=list(_KEY),
            set_=renewed,
            where=or_(and_(_ENTRY.c.expires_at.is_not(None), lasts_longer), weighs_more),
        ),
        names_of(suppression),
    )


_ADD = _adding()
_OWN = Hot(dialect.upsert(bare(suppression_owner)).on_conflict_do_nothing(), names_of(suppression_owner))
_TASK = Hot(bare(suppression_task).insert(), names_of(suppression_task))


def own(connection: Connection, tenant_ids: Iterable[int]) -> None:
    """Recipients of these tenants are looked up from now on. tenant_ids: sorted."""
    _OWN.many(connection, [{"tenant_id": tenant_id} for tenant_id in tenant_ids])


def add(connection: Connection, made: Sequence[Entry], new_id: IdMaker) -> int:
    """Makes or renews entries; returns how many. Their tenants are owners (`own`).

    In the order of their keys, so that two transactions never wait for each other in a circle.
    """
    changed = 0
    for entry in sorted(made, key=lambda e: (e.target.key_hash, e.tenant_id, e.stream_id)):
        if _ADD.many(connection, [values(entry)]):
            changed += 1
            order(
                connection, STOP, entry.tenant_id, (entry.id, entry.id), new_id=new_id, now=entry.created_at,
                twice=True,
            )  # fmt: skip
    return changed


def values(entry: Entry) -> dict[str, Any]:
    """As the columns of `suppression` hold them, in their order."""
    target = entry.target
    return {
        "key_hash": target.key_hash,
        "tenant_id": entry.tenant_id,
        "stream_id": entry.stream_id,
        "id": entry.id,
        "what": target.what,
        "address": target.address,
        "domain": target.domain or None,
        "reason": entry.reason,
        "cause": entry.cause,
        "recipient_id": entry.recipient_id,
        "attempt_id": entry.attempt_id,
        "report_id": entry.report_id,
        "site": entry.site,
        "words": None if entry.words is None else entry.words[:WORDS_CHARS],
        "added_by": entry.added_by,
        "created_at": to_microseconds(entry.created_at),
        "expires_at": None if entry.expires_at is None else to_microseconds(entry.expires_at),
    }


def order(
    connection: Connection,
    kind: str,
    tenant_id: int,
    among: tuple[int, int],
    *,
    new_id: IdMaker,
    now: datetime,
    twice: bool = False,
) -> None:
    """Leaves the sweeper a task about the tenant's entries with ids from and to, due now.

    twice  and once more, when whatever was being accepted as they were made has been
    """
    dues = [now, now + SECOND_LOOK] if twice else [now]
    rows = [
        {
            "id": new_id(),
            "kind": kind,
            "tenant_id": tenant_id,
            "first_id": among[0],
            "last_id": among[1],
            "created_at": to_microseconds(now),
            "due_at": to_microseconds(due),
        }
        for due in dues
    ]
    _TASK.many(connection, rows)
