"""Tenants: who owns streams, sending domains and keys, and whose mail is counted together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.identity.names import BadName, NameTaken, Unknown, parse_name
from mailer.store import Store, dialect
from mailer.store.tables import stream, tenant

ACTIVE = "active"
SUSPENDED = "suspended"
DSN = "dsn"
EVENTS = "events"
FAILURE_NOTICES = (DSN, EVENTS)
_STREAM_KINDS = ("transactional", "broadcast")  # every tenant starts with one stream of each, named alike


@dataclass(frozen=True, slots=True)
class Tenant:
    """state: active, or suspended (nothing is accepted; what was accepted is still delivered).

    failure_notices  what its SMTP submitters hear beside events: dsn, or events for nothing
    """

    id: int
    name: str
    state: str
    created_at: datetime
    failure_notices: str = DSN


def create(
    store: Store,
    name: str,
    *,
    in_doubt: str,
    failure_notices: str = DSN,
    new_id: Callable[[], int],
    now: datetime,
    also: Callable[[Connection, int], None] | None = None,
) -> Tenant:
    """A new active tenant with a transactional and a broadcast stream. Raises BadName, NameTaken.

    in_doubt  what its streams do where the answer to the final dot was not heard: retry | give-up
    also      done in the same transaction, with its id
    """
    with store.write() as connection:
        made = ensure(connection, name, in_doubt=in_doubt, new_id=new_id, now=now)
        if not made.is_new:
            raise NameTaken(f"there is a tenant {made.tenant.name!r} already")
        if also is not None:
            also(connection, made.tenant.id)
        return _change(connection, made.tenant, failure_notices)


def set_failure_notices(store: Store, name: str, failure_notices: str) -> Tenant:
    """dsn | events, also for mail that was accepted before. Raises BadName, Unknown."""
    with store.write() as connection:
        return _change(connection, find(connection, name), failure_notices)


def _change(connection: Connection, owner: Tenant, failure_notices: str) -> Tenant:
    if failure_notices not in FAILURE_NOTICES:
        raise BadName(f"failure notices are one of {', '.join(FAILURE_NOTICES)}, not {failure_notices!r}")
    change = update(tenant).where(tenant.c.id == owner.id).values(failure_notices=failure_notices)
    connection.execute(change)
    return replace(owner, failure_notices=failure_notices)


def listed(store: Store) -> list[Tenant]:
    with store.read() as connection:
        rows = connection.execute(select(tenant).order_by(tenant.c.id)).all()
    return [_tenant(row) for row in rows]


def named(store: Store, name: str) -> Tenant:
    """Raises BadName, Unknown."""
    with store.read() as connection:
        return find(connection, name)


def suspend(store: Store, name: str) -> None:
    """It may send nothing from now on; again is no error. Raises Unknown."""
    _set_state(store, name, SUSPENDED)


def resume(store: Store, name: str) -> None:
    """It may send again. Raises Unknown."""
    _set_state(store, name, ACTIVE)


def _set_state(store: Store, name: str, state: str) -> None:
    with store.write() as connection:
        found = find(connection, name)
        connection.execute(update(tenant).where(tenant.c.id == found.id).values(state=state))


@dataclass(frozen=True, slots=True)
class Ensured:
    tenant: Tenant
    is_new: bool


def ensure(
    connection: Connection, name: str, *, in_doubt: str, new_id: Callable[[], int], now: datetime
) -> Ensured:
    """The tenant `name`, made with its streams if there is none."""
    fresh = Tenant(new_id(), parse_name(name), ACTIVE, now)
    values = {"id": fresh.id, "name": fresh.name, "state": fresh.state, "created_at": now}
    insert = dialect.insert(connection, tenant).values(values).on_conflict_do_nothing()
    if connection.execute(insert.returning(tenant.c.id)).first() is None:
        return Ensured(find(connection, fresh.name), is_new=False)
    streams = [
        {"id": new_id(), "tenant_id": fresh.id, "name": k, "kind": k, "in_doubt": in_doubt, "created_at": now}
        for k in _STREAM_KINDS
    ]
    connection.execute(stream.insert(), streams)
    return Ensured(fresh, is_new=True)


def find(connection: Connection, name: str) -> Tenant:
    """Raises Unknown."""
    row = connection.execute(select(tenant).where(tenant.c.name == parse_name(name))).first()
    if row is None:
        raise Unknown(f"there is no tenant {name!r}")
    return _tenant(row)


def _tenant(row: Any) -> Tenant:
    return Tenant(row.id, row.name, row.state, row.created_at, row.failure_notices)
