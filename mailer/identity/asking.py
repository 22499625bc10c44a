"""Who asks for a change of a tenant's own: one of its keys, judged inside the transaction that changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mailer.identity import api_keys
from mailer.identity.api_keys import ApiKey
from mailer.identity.names import Limited, NotAllowed
from mailer.identity.rights import Rights, excess
from mailer.store.tables import api_key, tenant

SCOPE = "manage"


@dataclass(frozen=True, slots=True)
class Asker:
    """A key of the tenant that a door found good; what it may do is looked up anew."""

    tenant_id: int
    key_id: int


def admitted(connection: Connection, asker: Asker, *, now: datetime) -> ApiKey:
    """The asking key. Until the transaction ends, no other change of this tenant's own is made.

    One at a time, because two keys that revoke each other at once would leave nobody who can manage.
    Raises NotAllowed: it was revoked since the door looked.
    """
    lock = select(tenant.c.id).where(tenant.c.id == asker.tenant_id)
    # Not the whole row's lock: inserts that refer to the tenant need not wait.
    connection.execute(lock.with_for_update(key_share=True))
    mine = api_keys.rows().where(api_key.c.id == asker.key_id, api_key.c.tenant_id == asker.tenant_id)
    row = connection.execute(mine).first()
    if row is not None:
        key = api_keys.shown(row)
        if key.state(now) == api_keys.ACTIVE and SCOPE in key.rights.scopes:
            return key
    raise NotAllowed(f"the API key that asks is no longer good for {SCOPE}")


def rights_of(connection: Connection, asker: Asker) -> Rights:
    """What the key may do beside its scopes, which never changes; of one that is gone, nothing."""
    mine = api_keys.rows().where(api_key.c.id == asker.key_id, api_key.c.tenant_id == asker.tenant_id)
    row = connection.execute(mine).first()
    return Rights(scopes=(), streams=(), domains=()) if row is None else api_keys.shown(row).rights


def require(held: Rights, asked: Rights, *, is_written: bool = False) -> None:
    """Raises NotAllowed, Limited: `asked` goes beyond what the asking key has itself.

    is_written  what goes beyond stands in what was asked, and can be pointed at
    """
    more = excess(asked, held)
    if more is not None:
        kind = NotAllowed if more.field == "scopes" else Limited
        raise kind(more.sentence, at=(more.field,) if is_written else ())
