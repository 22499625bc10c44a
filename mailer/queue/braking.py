"""What became of streams' mail, hour by hour: written as it is settled, judged by brake.py.

Every process counts in rows of its own, so counting waits for nobody: one statement a settled batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from mailer.events import EventType
from mailer.policy.bounceclass import Blame
from mailer.policy.brake import Counts, hour_of
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import brake_count

StreamKey = tuple[int, int]  # tenant id, stream id

HEARD_AFTERWARDS = 0  # the row of what is heard of mail that has left; it is little, and anybody's
_KEY = ("tenant_id", "stream_id", "hour", "process_number")
_COUNTERS = ("delivered", "bounced", "complained")
_HARD = ("5.1.", "5.2.")  # enhanced statuses that a DSN blames the recipient by (RFC 3463 §3.2, §3.3)


def _adding() -> Hot:
    row = bare(brake_count)
    new = dialect.upsert(row)
    grown = {name: row.c[name] + new.excluded[name] for name in _COUNTERS}
    return Hot(new.on_conflict_do_update(index_elements=list(_KEY), set_=grown), names_of(brake_count))


_ADD = _adding()


def count(
    connection: Connection, counts: Mapping[StreamKey, Counts], *, process_number: int, now: datetime
) -> None:
    """Adds to this process's rows of the hour of `now`."""
    hour = hour_of(now)
    rows = [
        {
            "tenant_id": key[0], "stream_id": key[1], "hour": hour, "process_number": process_number,
            "delivered": n.delivered, "bounced": n.bounced, "complained": n.complained,
        }
        for key, n in sorted(counts.items(), key=lambda item: item[0])
    ]  # fmt: skip
    if rows:
        _ADD.many(connection, rows)


def heard(
    connection: Connection, key: StreamKey, kind: EventType, facts: Mapping[str, Any], *, now: datetime
) -> None:
    """Counts what was heard of a stream's recipient after it left: a complaint, or a hard bounce by a DSN.

    key  tenant id, stream id
    """
    is_hard = kind is EventType.BOUNCED and _blames_recipient(facts)
    if kind is not EventType.COMPLAINED and not is_hard:
        return
    heard_now = Counts(bounced=int(is_hard), complained=int(not is_hard))
    count(connection, {key: heard_now}, process_number=HEARD_AFTERWARDS, now=now)


def _blames_recipient(facts: Mapping[str, Any]) -> bool:
    """By the classifier; by the status where nobody asked it."""
    if "blame" in facts:
        return bool(facts["blame"] == Blame.RECIPIENT)
    return str(facts.get("status", "")).startswith(_HARD)


def hours_of(connection: Connection, key: StreamKey, *, after: int) -> dict[int, Counts]:
    """A stream's counts by hour, of the hours after one."""
    found = select(brake_count).where(
        brake_count.c.tenant_id == key[0], brake_count.c.stream_id == key[1], brake_count.c.hour > after
    )
    hours: dict[int, Counts] = {}
    for row in connection.execute(found):
        hours[row.hour] = hours.get(row.hour, Counts()) + Counts(row.delivered, row.bounced, row.complained)
    return hours


def forget(store: Store, *, before: datetime, most: int = 1000) -> int:
    """Drops the counts of hours before then; returns how many rows."""
    old = select(*(brake_count.c[name] for name in _KEY)).where(brake_count.c.hour < hour_of(before))
    with store.read() as connection:
        hours = sorted({row.hour for row in connection.execute(old.limit(most))})
    if not hours:
        return 0
    with store.write() as connection:
        return connection.execute(delete(brake_count).where(brake_count.c.hour.in_(hours))).rowcount
