"""API keys in the store: issued, listed, revoked. What a key looks like stands in keys.py."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from mailer.identity import keys, tenants
from mailer.identity.keys import NewKey, PresentedKey
from mailer.identity.names import BadName, NameTaken, Unknown, parse_name
from mailer.store import Store, dialect
from mailer.store.tables import api_key, tenant

# send: submit and change messages; read: look at messages and events; templates: write templates;
# manage: streams, keys and webhook endpoints.
SCOPES = ("send", "read", "templates", "manage")
USUAL = ("send", "read")  # what an application needs


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. expires_at: None if never. revoked_at: None while it is good."""

    id: int
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def create(
    store: Store,
    tenant_name: str,
    name: str,
    *,
    scopes: Collection[str] = USUAL,
    expires_at: datetime | None = None,
    new_id: Callable[[], int],
    now: datetime,
) -> NewKey:
    """A key of the tenant; its text is nowhere but in the answer. Raises BadName, Unknown (tenant)."""
    made = keys.new_key(new_id())
    with store.write() as connection:
        owner = tenants.find(connection, tenant_name)
        presented = PresentedKey(made.key_id, made.secret_hash)
        insert(connection, owner, name, presented, scopes=scopes, expires_at=expires_at, now=now)
    return made


def listed(store: Store, tenant_name: str | None = None) -> list[ApiKey]:
    """All keys, or those of one tenant, the revoked too."""
    found = select(api_key, tenant.c.name.label("owner")).join(tenant, tenant.c.id == api_key.c.tenant_id)
    with store.read() as connection:
        if tenant_name is not None:
            found = found.where(tenant.c.id == tenants.find(connection, tenant_name).id)
        rows = connection.execute(found.order_by(api_key.c.id)).all()
    return [
        ApiKey(r.id, r.owner, r.name, tuple(r.scopes), r.created_at, r.expires_at, r.revoked_at) for r in rows
    ]


def revoke(store: Store, key_id: int, *, now: datetime) -> None:
    """It opens no door from the next look-up on, a second at most; again is no error. Raises Unknown."""
    with store.write() as connection:
        if connection.execute(select(api_key.c.id).where(api_key.c.id == key_id)).first() is None:
            raise Unknown("there is no such API key")
        good = api_key.c.id == key_id, api_key.c.revoked_at.is_(None)
        connection.execute(update(api_key).where(*good).values(revoked_at=now))


def insert(
    connection: Connection,
    owner: tenants.Tenant,
    name: str,
    presented: PresentedKey,
    *,
    scopes: Collection[str] = USUAL,
    expires_at: datetime | None = None,
    now: datetime,
) -> None:
    """Stores a key's hash; does nothing if this very key is the tenant's already.

    Raises BadName (a scope is none), NameTaken (the id belongs to another secret or tenant).
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise BadName(f"scopes are one or more of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")
    values = {
        "id": presented.key_id, "tenant_id": owner.id, "name": parse_name(name),
        "secret_hash": presented.secret_hash, "scopes": sorted(set(scopes)),
        "created_at": now, "expires_at": expires_at,
    }  # fmt: skip
    new = dialect.insert(connection, api_key).values(values).on_conflict_do_nothing()
    if connection.execute(new.returning(api_key.c.id)).first() is None:
        row = connection.execute(select(api_key).where(api_key.c.id == presented.key_id)).one()
        if row.tenant_id != owner.id or not hmac.compare_digest(row.secret_hash, presented.secret_hash):
            raise NameTaken("another API key has this id already")


def is_good(store: Store, presented: PresentedKey, *, now: datetime) -> bool:
    """True if it opens doors now: known, not revoked, not expired."""
    with store.read() as connection:
        row = connection.execute(select(api_key).where(api_key.c.id == presented.key_id)).first()
    if row is None or not hmac.compare_digest(row.secret_hash, presented.secret_hash):
        return False
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)
