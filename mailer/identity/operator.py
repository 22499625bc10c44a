"""The operator: the tenant and sending domain that notices to submitters come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailer.identity import custody, domains, provision, tenants
from mailer.identity.domains import NewDomain
from mailer.identity.names import NameTaken
from mailer.identity.vault import Vault
from mailer.store import Store
from mailer.store.tables import sending_domain, stream, tenant

NAME = "operator"
_STREAM = "transactional"


@dataclass(frozen=True, slots=True)
class Operator:
    """Whose stream carries notices, and whose domain signs them."""

    tenant_id: int
    stream_id: int
    domain_id: int
    domain: str
    return_path_domain: str


def ensure(
    store: Store,
    vault: Vault,
    domain: str,
    *,
    return_path_prefix: str,
    new_id: Callable[[], int],
    now: datetime,
) -> None:
    """The tenant `operator` has this domain, which can sign; what was there already stays as it was.

    One transaction, and any number of processes may do it at once. Raises NameTaken: the domain is another
    tenant's.
    """
    spare = provision.spare_keys(store, domain, (), now)
    with store.write() as connection:
        owner = tenants.ensure(connection, NAME, in_doubt="retry", new_id=new_id, now=now).tenant
        new = NewDomain(name=domain, return_path_prefix=return_path_prefix)
        made = domains.ensure(connection, owner, new, new_id=new_id, now=now).domain
        if made.tenant != owner.name:
            raise NameTaken(
                f"the domain {made.name} belongs to the tenant {made.tenant!r}: notices of failure need one"
                " of their own, set MAILER_OPERATOR_DOMAIN"
            )
        missing = provision.missing_keys(connection, made, (), spare)
        custody.take_in(connection, vault, made.id, missing, new_id=new_id, now=now)


def find(store: Store, domain: str | None) -> Operator | None:
    """Who can send notices from this domain now; None: nobody, it is not there or was revoked."""
    if domain is None:
        return None
    wanted = (
        select(
            sending_domain.c.tenant_id,
            stream.c.id,
            sending_domain.c.id,
            sending_domain.c.name,
            sending_domain.c.return_path_domain,
        )
        .join(tenant, tenant.c.id == sending_domain.c.tenant_id)
        .join(stream, stream.c.tenant_id == tenant.c.id)
        .where(
            sending_domain.c.name == domain,
            sending_domain.c.state == domains.ACTIVE,
            tenant.c.name == NAME,
            stream.c.name == _STREAM,
        )
    )
    with store.read() as connection:
        row = connection.execute(wanted).first()
    return None if row is None else Operator(*row)
