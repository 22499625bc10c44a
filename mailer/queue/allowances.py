"""What tenants and streams may send over time, held by the claim (metering.py), and how much of a tenant's
mail is accepted over time, held by the doors (tallying.py): set by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from mailer.policy.limits import Rate, as_values, meter, read_rates, tally
from mailer.queue import metering
from mailer.queue.metering import Standing
from mailer.store import Store, dialect
from mailer.store.tables import sending_limit, stream, tenant

Subject = Literal["tenant", "stream", "newcomer", "accept"]


def limit_of(subject: Subject, subject_id: int) -> str:
    """The name under which it is counted."""
    return f"{subject}:{subject_id}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """rates: at least one; all of them hold."""

    subject: Subject
    subject_id: int
    rates: Sequence[Rate]


def allow(store: Store, subject: Subject, subject_id: int, rates: Sequence[Rate], *, now: datetime) -> None:
    """Sets what a tenant or stream may send, or (accept) what of a tenant is accepted; no rates: anything.

    Workers follow within seconds, doors with their next transaction.
    """
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
    is_accepting  what is accepted of it, beside what it may send
    """

    tenant: str
    stream: str | None
    at: Sequence[Standing]
    is_newcomers: bool = False
    is_accepting: bool = False


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
                metering.standings(
                    connection,
                    {limit_of(subject, i): read_rates(rates)},
                    now=now,
                    of=tally if subject == "accept" else meter,
                ),
                subject == "newcomer",
                subject == "accept",
            )
            for subject, i, rates, owner, part in rows
        ]
    return sorted(found, key=lambda held: (held.tenant, held.stream or "", held.is_accepting))
