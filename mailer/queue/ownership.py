"""Whose a recipient is: for what is found by its token, outside the rows of a request."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import select

from mailer.store import Store
from mailer.store.tables import recipient


class Owner(NamedTuple):
    tenant_id: int
    message_id: int


def owners_of(store: Store, recipient_ids: Collection[int]) -> dict[int, Owner]:
    """Tenant and message of each; one that is not there (any more) is left out."""
    if not recipient_ids:
        return {}
    theirs = select(recipient.c.id, recipient.c.tenant_id, recipient.c.message_id)
    with store.read() as connection:
        rows = connection.execute(theirs.where(recipient.c.id.in_(list(recipient_ids))))
        return {row.id: Owner(row.tenant_id, row.message_id) for row in rows}
