"""Usage per tenant and day. Every process counts in rows of its own, so counting waits for nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection

from mailer.store import dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.tables import usage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = ("tenant_id", "day", "process_number")
_COUNTERS = [name for name in names_of(usage) if name not in _KEY]


def _adding() -> Hot:
    row = bare(usage)
    new = dialect.upsert(row)
    grown = {name: row.c[name] + new.excluded[name] for name in _COUNTERS}
    return Hot(new.on_conflict_do_update(index_elements=list(_KEY), set_=grown), names_of(usage))


_ADD = _adding()


class _Counted(Protocol):
    """A message with its tenant and recipients."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def recipients(self) -> tuple[object, ...]: ...


def count_accepted(
    connection: Connection, messages: Iterable[_Counted], *, process_number: int, now: datetime
) -> None:
    """Adds the recipients of `messages` to what their tenants had accepted today."""
    totals: dict[int, dict[str, int]] = defaultdict(lambda: {"accepted": 0})
    for m in messages:
        totals[m.tenant_id]["accepted"] += len(m.recipients)
    add(connection, totals, process_number=process_number, now=now)


def add(
    connection: Connection, totals: Mapping[int, Mapping[str, int]], *, process_number: int, now: datetime
) -> None:
    """Adds counts (column name to number) per tenant to this process's rows of the UTC day of `now`."""
    day = (now - _EPOCH).days
    rows = [
        {"tenant_id": tenant_id, "day": day, "process_number": process_number}
        | {name: totals[tenant_id].get(name, 0) for name in _COUNTERS}
        for tenant_id in sorted(totals)
        if any(totals[tenant_id].values())
    ]
    if rows:
        _ADD.many(connection, rows)
