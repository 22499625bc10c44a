"""Usage per tenant and day. Every process counts in rows of its own, so counting waits for nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection

from mailer.store import dialect
from mailer.store.tables import usage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    for tenant_id in sorted(totals):
        counts = {name: n for name, n in totals[tenant_id].items() if n}
        if not counts:
            continue
        row = {"tenant_id": tenant_id, "day": day, "process_number": process_number, **counts}
        new = dialect.insert(connection, usage).values(**row)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["tenant_id", "day", "process_number"],
                set_={name: usage.c[name] + new.excluded[name] for name in counts},
            )
        )
