"""Sending domains: whose name may stand in From, and what the world must find in the DNS about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from mailer.identity import custody, tenants
from mailer.identity.custody import KeyPair, PublishedKey
from mailer.identity.names import BadName, NameTaken, Unknown, parse_domain
from mailer.identity.vault import Vault
from mailer.store import Store, dialect
from mailer.store.tables import sending_domain, tenant

ACTIVE = "active"
REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Domain:
    """name, return_path_domain: A-labels. state: active | revoked. tenant: the owner's name."""

    id: int
    tenant: str
    name: str
    return_path_domain: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomain:
    """name: as people write it. keys: empty: an RSA and an Ed25519 key are made."""

    name: str
    return_path_prefix: str
    keys: tuple[KeyPair, ...] = ()


def create(
    store: Store,
    vault: Vault,
    tenant_name: str,
    new: NewDomain,
    *,
    new_id: Callable[[], int],
    now: datetime,
) -> Domain:
    """The tenant may send from the new domain, signed by its keys.

    A domain that this tenant had revoked becomes active again with the keys it had and these.
    Raises BadName, NameTaken, Unknown (tenant).
    """
    pairs = new.keys or custody.generate((), now)
    with store.write() as connection:
        owner = tenants.find(connection, tenant_name)
        made = ensure(connection, owner, new, new_id=new_id, now=now)
        if not made.is_new:
            if made.domain.tenant != owner.name or made.domain.state == ACTIVE:
                raise NameTaken(f"the domain {made.domain.name} is in use already")
            revive = update(sending_domain).where(sending_domain.c.id == made.domain.id)
            connection.execute(revive.values(state=ACTIVE))
        known = {key.selector for key in custody.published(connection, made.domain.id)}
        fresh = [pair for pair in pairs if pair.selector not in known]
        custody.take_in(connection, vault, made.domain.id, fresh, new_id=new_id, now=now)
        return find(connection, made.domain.name)


def listed(store: Store, tenant_name: str | None = None) -> list[Domain]:
    """All domains, or those of one tenant."""
    with store.read() as connection:
        found = _SELECT.order_by(sending_domain.c.id)
        if tenant_name is not None:
            found = found.where(tenant.c.id == tenants.find(connection, tenant_name).id)
        return [Domain(*row) for row in connection.execute(found)]


def revoke(store: Store, name: str) -> None:
    """Nothing more is accepted from it; what waits is held, for it may no longer sign. Raises Unknown."""
    with store.write() as connection:
        found = find(connection, name)
        connection.execute(
            update(sending_domain).where(sending_domain.c.id == found.id).values(state=REVOKED)
        )


def described(store: Store, name: str) -> tuple[Domain, list[PublishedKey]]:
    """A domain and its keys as the DNS must show them. Raises BadName, Unknown."""
    with store.read() as connection:
        found = find(connection, name)
        return found, custody.published(connection, found.id)


def is_owner(store: Store, tenant_id: int, name: str) -> bool:
    """Whether the domain (A-labels, lower case) is an active one of this tenant."""
    mine = select(sending_domain.c.id).where(
        sending_domain.c.name == name,
        sending_domain.c.tenant_id == tenant_id,
        sending_domain.c.state == ACTIVE,
    )
    with store.read() as connection:
        return connection.execute(mine).first() is not None


def owned(store: Store, tenant_id: int, name: str) -> int | None:
    """The id of the tenant's domain, revoked or not; None: it has none of that name."""
    try:
        known = sending_domain.c.name == parse_domain(name)
    except BadName:
        return None
    with store.read() as connection:
        found = select(sending_domain.c.id).where(known, sending_domain.c.tenant_id == tenant_id)
        return connection.execute(found).scalar()


@dataclass(frozen=True, slots=True)
class Ensured:
    domain: Domain
    is_new: bool


def ensure(
    connection: Connection,
    owner: tenants.Tenant,
    new: NewDomain,
    *,
    new_id: Callable[[], int],
    now: datetime,
) -> Ensured:
    """The domain of that name, made without keys for `owner` if there is none; else as it is, anybody's."""
    name = parse_domain(new.name)
    values = {
        "id": new_id(), "tenant_id": owner.id, "name": name, "state": ACTIVE, "created_at": now,
        "return_path_domain": parse_domain(f"{new.return_path_prefix}.{name}"),
    }  # fmt: skip
    insert = dialect.insert(connection, sending_domain).values(values).on_conflict_do_nothing()
    is_new = connection.execute(insert.returning(sending_domain.c.id)).first() is not None
    return Ensured(find(connection, name), is_new)


def find(connection: Connection, name: str) -> Domain:
    """Raises BadName, Unknown."""
    row = connection.execute(_SELECT.where(sending_domain.c.name == parse_domain(name))).first()
    if row is None:
        raise Unknown(f"there is no sending domain {name!r}")
    return Domain(*row)


_SELECT = select(
    sending_domain.c.id,
    tenant.c.name,
    sending_domain.c.name,
    sending_domain.c.return_path_domain,
    sending_domain.c.state,
    sending_domain.c.created_at,
).join(tenant, tenant.c.id == sending_domain.c.tenant_id)
