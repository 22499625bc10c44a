"""API keys in the store: issued, listed, revoked by the operator. What a key looks like: keys.py.

What a tenant does with its own keys, by one of them, stands in own_keys.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from mailer.identity import keys, tenants
from mailer.identity.keys import NewKey, PresentedKey
from mailer.identity.names import BadName, NameTaken, Unknown, parse_domain, parse_name
from mailer.identity.rights import USUAL_SCOPES, Rights, in_order
from mailer.store import Store, dialect
from mailer.store.tables import api_key, sending_domain, stream, tenant

# send: submit and change messages; read: look at messages and events; templates: write templates;
# manage: streams, keys and webhook endpoints, and mail that waits.
SCOPES = ("send", "read", "templates", "manage")
# Looks at and acts on the mail of all tenants. Only the command makes a key with it, and none has it unasked.
OPERATE = "operate"
USUAL = USUAL_SCOPES
ACTIVE, EXPIRED, REVOKED = "active", "expired", "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. expires_at: None if never. revoked_at: None while it is good."""

    id: int
    tenant: str
    name: str
    rights: Rights
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """active | expired | revoked."""
        if self.revoked_at is not None:
            return REVOKED
        return EXPIRED if self.expires_at is not None and self.expires_at <= now else ACTIVE


def create(
    store: Store,
    tenant_name: str,
    name: str,
    *,
    rights: Rights = Rights(),  # noqa: B008 - frozen
    expires_at: datetime | None = None,
    new_id: Callable[[], int],
    now: datetime,
) -> NewKey:
    """A key of the tenant; its text is nowhere but in the answer. Raises BadName, Unknown (tenant)."""
    made = keys.new_key(new_id())
    with store.write() as connection:
        owner = tenants.find(connection, tenant_name)
        presented = PresentedKey(made.key_id, made.secret_hash)
        insert(connection, owner, name, presented, rights=rights, expires_at=expires_at, now=now)
    return made


def listed(store: Store, tenant_name: str | None = None) -> list[ApiKey]:
    """All keys, or those of one tenant, the revoked too."""
    with store.read() as connection:
        found = rows()
        if tenant_name is not None:
            found = found.where(tenant.c.id == tenants.find(connection, tenant_name).id)
        return [shown(row) for row in connection.execute(found.order_by(api_key.c.id))]


def revoke(store: Store, key_id: int, *, now: datetime) -> None:
    """It opens no door from the next look-up on, a second at most; again is no error. Raises Unknown."""
    with store.write() as connection:
        if connection.execute(select(api_key.c.id).where(api_key.c.id == key_id)).first() is None:
            raise Unknown("there is no such API key")
        end(connection, key_id, now=now)


def is_good(store: Store, presented: PresentedKey, *, now: datetime) -> bool:
    """True if it opens doors now: known, not revoked, not expired."""
    with store.read() as connection:
        row = connection.execute(select(api_key).where(api_key.c.id == presented.key_id)).first()
    if row is None or not hmac.compare_digest(row.secret_hash, presented.secret_hash):
        return False
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


# ---- inside a transaction of the caller's


def rows() -> Select[*tuple[Any, ...]]:
    """All keys with their tenants' names; for `shown`."""
    return select(api_key, tenant.c.name.label("owner")).join(tenant, tenant.c.id == api_key.c.tenant_id)


def shown(row: Any) -> ApiKey:
    def names(value: Sequence[str] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(value)

    rights = Rights(scopes=tuple(row.scopes), streams=names(row.streams), domains=names(row.domains))
    return ApiKey(row.id, row.owner, row.name, rights, row.created_at, row.expires_at, row.revoked_at)


def insert(
    connection: Connection,
    owner: tenants.Tenant,
    name: str,
    presented: PresentedKey,
    *,
    rights: Rights = Rights(),  # noqa: B008 - frozen
    expires_at: datetime | None = None,
    now: datetime,
) -> None:
    """Stores a key's hash; does nothing if this very key is the tenant's already.

    Raises BadName (a scope, stream or domain is none), NameTaken (the id is another secret's or tenant's).
    """
    good = checked(connection, owner.id, rights)
    values = {
        "id": presented.key_id, "tenant_id": owner.id, "name": parse_name(name),
        "secret_hash": presented.secret_hash, "scopes": good.scopes, "streams": good.streams,
        "domains": good.domains, "created_at": now, "expires_at": expires_at,
    }  # fmt: skip
    new = dialect.insert(connection, api_key).values(values).on_conflict_do_nothing()
    if connection.execute(new.returning(api_key.c.id)).first() is None:
        row = connection.execute(select(api_key).where(api_key.c.id == presented.key_id)).one()
        if row.tenant_id != owner.id or not hmac.compare_digest(row.secret_hash, presented.secret_hash):
            raise NameTaken("another API key has this id already")


def checked(connection: Connection, tenant_id: int, rights: Rights) -> Rights:
    """The same in order, domains as A-labels; what it names exists, lest a typing error shut the key out.

    Raises BadName.
    """
    unknown = sorted(set(rights.scopes) - {*SCOPES, OPERATE})
    if unknown or not rights.scopes:
        raise BadName(
            f"scopes are one or more of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}",
            at=("scopes",),
        )
    own_streams = select(stream.c.name).where(stream.c.tenant_id == tenant_id)
    own_domains = select(sending_domain.c.name).where(sending_domain.c.tenant_id == tenant_id)
    domains = rights.domains and tuple(_domain(name, ("domains", n)) for n, name in enumerate(rights.domains))
    return Rights(
        scopes=in_order(rights.scopes),
        streams=_existing(connection, own_streams, rights.streams, "streams"),
        domains=_existing(connection, own_domains, domains, "domains"),
    )


def _domain(name: str, at: tuple[str | int, ...]) -> str:
    try:
        return parse_domain(name)
    except BadName as error:
        raise BadName(str(error), at=at) from None


def _existing(
    connection: Connection, own: Select[str], names: tuple[str, ...] | None, field: str
) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not names:
        raise BadName(f"a key limited to certain {field} names one at least", at=(field,))
    there = set(connection.execute(own).scalars())
    for n, name in enumerate(names):
        if name not in there:
            raise BadName(f"{name!r} is none of the tenant's {field}", at=(field, n))
    return in_order(names)


def end(connection: Connection, key_id: int, *, now: datetime) -> None:
    """Revoked from `now` on; what was revoked before keeps its time."""
    good = api_key.c.id == key_id, api_key.c.revoked_at.is_(None)
    connection.execute(update(api_key).where(*good).values(revoked_at=now))
