"""MTA-STS policies that were fetched, shared by all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from mailer.store import Store, dialect
from mailer.store.tables import sts_policy

_DROPPED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """A row of `sts_policy` without its domain."""

    policy_id: str
    mode: str
    mx: tuple[str, ...]
    max_age: int
    lines: tuple[str, ...]
    fetched_at: datetime


def since(store: Store, at: datetime) -> dict[str, StoredPolicy]:
    """Policies by domain that were fetched then or later."""
    with store.read() as connection:
        return {
            row.domain: StoredPolicy(
                policy_id=row.policy_id,
                mode=row.mode,
                mx=tuple(row.mx),
                max_age=row.max_age,
                lines=tuple(row.lines),
                fetched_at=row.fetched_at,
            )
            for row in connection.execute(select(sts_policy).where(sts_policy.c.fetched_at >= at))
        }


def keep(store: Store, policies: Mapping[str, StoredPolicy]) -> None:
    """The policy that was fetched last stays."""
    if not policies:
        return
    rows = [
        {
            "domain": domain,
            "policy_id": p.policy_id,
            "mode": p.mode,
            "mx": list(p.mx),
            "max_age": p.max_age,
            "lines": list(p.lines),
            "fetched_at": p.fetched_at,
        }
        for domain, p in sorted(policies.items())
    ]
    with store.write() as connection:
        new = dialect.insert(connection, sts_policy)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["domain"],
                set_={name: new.excluded[name] for name in rows[0] if name != "domain"},
                where=sts_policy.c.fetched_at <= new.excluded.fetched_at,
            ),
            rows,
        )


def drop(store: Store, *, before: datetime) -> int:
    """Drops some that were fetched before; returns how many. `before`: longer ago than any policy lives."""
    old = select(sts_policy.c.domain).where(sts_policy.c.fetched_at < before).limit(_DROPPED_AT_ONCE)
    with store.write() as connection:
        gone = delete(sts_policy).where(sts_policy.c.domain.in_(old), sts_policy.c.fetched_at < before)
        return connection.execute(gone).rowcount
