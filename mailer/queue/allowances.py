"""What tenants and streams may send over time: set by rows, held by the claim (metering.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from mailer.policy.limits import Rate, as_values, read_rates
from mailer.queue import metering
from mailer.queue.metering import Standing
from mailer.store import Store, dialect
from mailer.store.tables import sending_limit, stream, tenant

Subject = Literal["tenant", "stream", "newcomer"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """rates: at least one; all of them hold."""

    subject: Subject
    subject_id: int
    rates: Sequence[Rate]


def allow(store: Store, subject: Subject, subject_id: int, rates: Sequence[Rate], *, now: datetime) -> None:
    """Sets what a tenant or stream may send; no rates: anything. Workers follow within seconds."""
    with store.write() as connection:
        put(connection, subject, subject_id, rates, now=now)


def put(
    connection: Connection, subject: Subject, subject_id: int, rates: Sequence[Rate], *, now: datetime
) -> None:
    """The body of `allow`."""
    if not rates:
        own = (sending_limit.c.subject == subject) & (sending_limit.c.subject_id == subject_id)
        connection.execute(delete(sending_limit).where(own))
        return
    row = {"subject": subject, "subject_id": subject_id, "rates": as_values(rates), "changed_at": now}
    new = dialect.insert(connection, sending_limit).values(row)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["subject", "subject_id"],
            set_={"rates": new.excluded.rates, "changed_at": new.excluded.changed_at},
        )
    )


def all_of(store: Store) -> list[Allowance]:
    """Every allowance; few tenants and streams have one."""
    with store.read() as connection:
        rows = connection.execute(
            select(sending_limit.c.subject, sending_limit.c.subject_id, sending_limit.c.rates)
        ).all()
    return [Allowance(subject, subject_id, read_rates(rates)) for subject, subject_id, rates in rows]


def of(store: Store, subject: Subject, ids: Sequence[int]) -> Mapping[int, Sequence[Rate]]:
    """What those of the subjects that have an allowance may send."""
    wanted = select(sending_limit.c.subject_id, sending_limit.c.rates).where(
        sending_limit.c.subject == subject, sending_limit.c.subject_id.in_(list(ids))
    )
    with store.read() as connection:
        return {subject_id: read_rates(rates) for subject_id, rates in connection.execute(wanted)}


@dataclass(frozen=True, slots=True)
class Held:
    """An allowance by names, and how its limits stand. stream: None: all of the tenant's.

    is_newcomers  the cap of a new tenant, which grows by itself
    """

    tenant: str
    stream: str | None
    at: Sequence[Standing]
    is_newcomers: bool = False


def standing(store: Store, *, now: datetime) -> list[Held]:
    """All allowances, by tenant and then stream."""
    names = (
        select(
            sending_limit.c.subject,
            sending_limit.c.subject_id,
            sending_limit.c.rates,
            tenant.c.name,
            stream.c.name,
        )
        .outerjoin(
            stream, (sending_limit.c.subject == "stream") & (stream.c.id == sending_limit.c.subject_id)
        )
        .join(tenant, tenant.c.id == func.coalesce(stream.c.tenant_id, sending_limit.c.subject_id))
    )
    with store.read() as connection:
        rows = connection.execute(names).all()
        found = [
            Held(
                owner,
                part,
                metering.standings(connection, {f"{subject}:{i}": read_rates(rates)}, now=now),
                subject == "newcomer",
            )
            for subject, i, rates, owner, part in rows
        ]
    return sorted(found, key=lambda held: (held.tenant, held.stream or ""))
