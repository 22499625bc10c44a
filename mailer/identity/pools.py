"""Pools of egress IPs, and which streams' mail leaves from which.

A pool is transactional or broadcast: broadcast mail never leaves from a transactional pool, neither by
mapping nor by overflow. A dedicated pool is one tenant's alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from mailer.identity import egress, tenants
from mailer.identity.names import BadName, NameTaken, NotNow, Unknown
from mailer.policy.egress import BROADCAST, TRANSACTIONAL
from mailer.store import Store, dialect
from mailer.store.tables import egress_ip, ip_pool, pool_member, pool_use, stream, tenant

NAME_PATTERN = "[a-z0-9][a-z0-9-]{0,59}"
KINDS = (TRANSACTIONAL, BROADCAST)
MOST_WEIGHT = 1000
_ALL_STREAMS = 0


@dataclass(frozen=True, slots=True)
class Member:
    """address: the IP's first. weight: share of the pool's mail; 0: only what the others cannot take."""

    egress_id: int
    address: str
    weight: int


@dataclass(frozen=True, slots=True)
class Pool:
    """owner: the only tenant that may use it, by name; None: any. overflow: name of a pool; None: mail waits.

    is_default  of the streams of its kind that nothing else maps
    """

    id: int
    name: str
    kind: str
    owner: str | None
    overflow: str | None
    is_default: bool
    created_at: datetime
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """Whose mail leaves from a pool. stream: None: all of the tenant's without a pool of their own."""

    tenant: str
    stream: str | None
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPool:
    """What a pool is made of; kind and owner are never changed."""

    name: str
    kind: str = TRANSACTIONAL
    owner: str | None = None
    overflow: str | None = None
    is_default: bool = False


def listed(store: Store) -> list[Pool]:
    with store.read() as connection:
        return _read(connection)


def one(store: Store, name: str) -> Pool:
    """Raises Unknown."""
    with store.read() as connection:
        return _find(connection, name)


def create(store: Store, new: NewPool, *, new_id: Callable[[], int], now: datetime) -> Pool:
    """Without members. Raises BadName, NameTaken, Unknown (owner, overflow)."""
    if not re.fullmatch(NAME_PATTERN, new.name):
        raise BadName("a pool's name has 1 to 60 of a-z, 0-9 and -", at=("name",))
    if new.kind not in KINDS:
        raise BadName(f"a pool is {' or '.join(KINDS)}, not {new.kind!r}", at=("kind",))
    with store.write() as connection:
        owner = None if new.owner is None else tenants.find(connection, new.owner).id
        values = {
            "id": new_id(), "name": new.name, "kind": new.kind, "tenant_id": owner, "overflow_id": None,
            "is_default": False, "created_at": now,
        }  # fmt: skip
        insert = dialect.insert(connection, ip_pool).values(values).on_conflict_do_nothing()
        if connection.execute(insert.returning(ip_pool.c.id)).first() is None:
            raise NameTaken(f"there is a pool {new.name!r} already", at=("name",))
        made = _find(connection, new.name)
        if new.overflow is not None:
            _set_overflow(connection, made, new.overflow)
        if new.is_default:
            _make_default(connection, made)
        return _find(connection, new.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChange:
    """What is to be other than before. overflow: "" takes it away; None: as it was."""

    overflow: str | None = None
    is_default: bool | None = None


def change(store: Store, name: str, changed: PoolChange) -> Pool:
    """From the next attempt on. Raises BadName, Unknown."""
    with store.write() as connection:
        pool = _find(connection, name)
        if changed.overflow is not None:
            _set_overflow(connection, pool, changed.overflow)
        if changed.is_default is True:
            _make_default(connection, pool)
        elif changed.is_default is False:
            connection.execute(update(ip_pool).where(ip_pool.c.id == pool.id).values(is_default=False))
        return _find(connection, name)


def _set_overflow(connection: Connection, pool: Pool, name: str) -> None:
    overflow_id = None
    if name:
        to = _find(connection, name)
        if to.id == pool.id:
            raise BadName("a pool cannot overflow into itself", at=("overflow",))
        if pool.kind == BROADCAST and to.kind == TRANSACTIONAL:
            raise BadName(
                f"{name} is transactional: broadcast mail does not overflow there", at=("overflow",)
            )
        if to.owner is not None and to.owner != pool.owner:
            raise BadName(f"{name} is dedicated to the tenant {to.owner}", at=("overflow",))
        overflow_id = to.id
    connection.execute(update(ip_pool).where(ip_pool.c.id == pool.id).values(overflow_id=overflow_id))


def _make_default(connection: Connection, pool: Pool) -> None:
    if pool.owner is not None:
        raise BadName("a dedicated pool cannot be the default one", at=("is_default",))
    others = update(ip_pool).where(ip_pool.c.kind == pool.kind, ip_pool.c.id != pool.id)
    connection.execute(others.values(is_default=False))
    connection.execute(update(ip_pool).where(ip_pool.c.id == pool.id).values(is_default=True))


def remove(store: Store, name: str) -> Pool:
    """Raises Unknown, NotNow: mail is mapped to it, or overflows into it."""
    with store.write() as connection:
        pool = _find(connection, name)
        used = [u for u in _uses(connection) if u.pool == name]
        if used:
            raise NotNow(f"mail of the tenant {used[0].tenant} is mapped to the pool {name}")
        feeding = [p.name for p in _read(connection) if p.overflow == name]
        if feeding:
            raise NotNow(f"the pool {feeding[0]} overflows into {name}")
        connection.execute(delete(pool_member).where(pool_member.c.pool_id == pool.id))
        connection.execute(delete(ip_pool).where(ip_pool.c.id == pool.id))
        return pool


def put_member(store: Store, name: str, wanted: int | str, *, weight: int = 1) -> Pool:
    """The IP (id or address) is in the pool with this weight. Raises BadName, Unknown."""
    if not 0 <= weight <= MOST_WEIGHT:
        raise BadName(f"a weight is a number from 0 to {MOST_WEIGHT}", at=("weight",))
    with store.write() as connection:
        pool, ip = _find(connection, name), egress.find(connection, wanted)
        values = {"pool_id": pool.id, "egress_id": ip.id, "weight": weight}
        new = dialect.insert(connection, pool_member).values(values)
        connection.execute(
            new.on_conflict_do_update(index_elements=["pool_id", "egress_id"], set_={"weight": weight})
        )
        return _find(connection, name)


def drop_member(store: Store, name: str, wanted: int | str) -> Pool:
    """The IP is no longer in the pool; again is no error. Raises Unknown."""
    with store.write() as connection:
        pool, ip = _find(connection, name), egress.find(connection, wanted)
        mine = pool_member.c.pool_id == pool.id, pool_member.c.egress_id == ip.id
        connection.execute(delete(pool_member).where(*mine))
        return _find(connection, name)


def uses(store: Store) -> list[Use]:
    """By tenant and stream."""
    with store.read() as connection:
        return _uses(connection)


def use(store: Store, tenant_name: str, stream_name: str | None, pool_name: str | None) -> list[Use]:
    """A stream's mail leaves from a pool from the next attempt on, or all of a tenant's (None).

    pool_name  None: nothing is mapped any more. Raises BadName, Unknown.
    """
    with store.write() as connection:
        owner = tenants.find(connection, tenant_name)
        kind, stream_id = _stream(connection, owner.id, stream_name)
        mine = pool_use.c.tenant_id == owner.id, pool_use.c.stream_id == stream_id
        if pool_name is None:
            connection.execute(delete(pool_use).where(*mine))
            return _uses(connection)
        pool = _find(connection, pool_name)
        if pool.owner not in (None, owner.name):
            raise BadName(f"the pool {pool.name} is dedicated to another tenant", at=("pool",))
        if kind == BROADCAST and pool.kind == TRANSACTIONAL:
            raise BadName(f"{pool.name} is transactional, and the stream is broadcast", at=("pool",))
        new = dialect.insert(connection, pool_use).values(
            tenant_id=owner.id, stream_id=stream_id, pool_id=pool.id
        )
        changed = {"pool_id": pool.id}
        connection.execute(new.on_conflict_do_update(index_elements=["tenant_id", "stream_id"], set_=changed))
        return _uses(connection)


def _stream(connection: Connection, tenant_id: int, name: str | None) -> tuple[str | None, int]:
    """Kind and id; of a whole tenant no kind: streams that may not use its pool are passed over."""
    if name is None:
        return None, _ALL_STREAMS
    mine = select(stream.c.kind, stream.c.id).where(stream.c.tenant_id == tenant_id, stream.c.name == name)
    row = connection.execute(mine).first()
    if row is None:
        raise Unknown(f"the tenant has no stream {name!r}")
    return row.kind, row.id


def _uses(connection: Connection) -> list[Use]:
    rows = (
        select(tenant.c.name, stream.c.name, ip_pool.c.name)
        .select_from(pool_use)
        .join(tenant, tenant.c.id == pool_use.c.tenant_id)
        .join(ip_pool, ip_pool.c.id == pool_use.c.pool_id)
        .outerjoin(stream, stream.c.id == pool_use.c.stream_id)
        .order_by(tenant.c.name, pool_use.c.stream_id)
    )
    return [Use(*row) for row in connection.execute(rows)]


def _find(connection: Connection, name: str) -> Pool:
    found = _read(connection, name)
    if not found:
        raise Unknown(f"there is no pool {name!r}")
    return found[0]


def _read(connection: Connection, name: str | None = None) -> list[Pool]:
    into = ip_pool.alias("into")
    rows = (
        select(ip_pool, tenant.c.name.label("owner"), into.c.name.label("overflow"))
        .outerjoin(tenant, tenant.c.id == ip_pool.c.tenant_id)
        .outerjoin(into, into.c.id == ip_pool.c.overflow_id)
        .order_by(ip_pool.c.id)
    )
    found = connection.execute(rows if name is None else rows.where(ip_pool.c.name == name)).all()
    members = _members(connection)
    return [_shown(row, tuple(members[row.id])) for row in found]


def _shown(row: Any, members: tuple[Member, ...]) -> Pool:
    return Pool(
        row.id, row.name, row.kind, row.owner, row.overflow, bool(row.is_default), row.created_at, members
    )


def _members(connection: Connection) -> dict[int, list[Member]]:
    rows = select(pool_member, egress_ip.c.ipv4, egress_ip.c.ipv6).join(
        egress_ip, egress_ip.c.id == pool_member.c.egress_id
    )
    found: dict[int, list[Member]] = defaultdict(list)
    for row in connection.execute(rows.order_by(pool_member.c.egress_id)):
        found[row.pool_id].append(Member(row.egress_id, row.ipv4 or row.ipv6, row.weight))
    return found
