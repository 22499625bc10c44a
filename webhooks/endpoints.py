"""Where a tenant wants to be called. Every function is one transaction; another tenant's are not there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from mailer.store import Store
from mailer.store.tables import tenant, webhook_callback, webhook_endpoint
from webhooks import history, signature
from webhooks.history import Attempt, Callback
from webhooks.urls import UrlRules

MOST = 25  # a tenant; each is one more row an event
ACTIVE = "active"
DISABLED = "disabled"

Seal = Callable[[bytes, str], bytes]  # what is sealed, and the context in which alone it opens
_E = webhook_endpoint.c


def context_of(endpoint_id: int) -> str:
    """In which its secrets are sealed."""
    return f"webhook_endpoint {endpoint_id}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """event_types: event words; empty means all. old_until: when the secret before this one stops signing."""

    id: int
    url: str
    description: str
    event_types: Sequence[str]
    state: str
    created_at: datetime
    old_until: datetime | None


class Endpoints:
    """Safe from any thread. Raises StoreUnavailable.

    None, or False, means that the tenant has no such endpoint.
    """

    def __init__(
        self,
        store: Store,
        *,
        seal: Seal,
        unseal: Seal,
        new_id: Callable[[], int],
        now: Callable[[], datetime],
        rules: UrlRules,
    ) -> None:
        self._store = store
        self._seal = seal
        self._unseal = unseal
        self._new_id = new_id
        self._now = now
        self._rules = rules

    def fault_of_url(self, url: str) -> str | None:
        """What is wrong with it, for its owner; None if it may be called."""
        return self._rules.fault(url)

    def create(
        self, tenant_id: int, *, url: str, description: str, event_types: Collection[str]
    ) -> tuple[Endpoint, str] | None:
        """The endpoint and its secret; events numbered from now on are told. None: there are `MOST`.

        url  one that `fault_of_url` lets pass
        """
        secret = signature.new_secret()
        new = Endpoint(self._new_id(), url, description, sorted(set(event_types)), ACTIVE, self._now(), None)
        values = {
            "id": new.id, "tenant_id": tenant_id, "url": new.url, "description": new.description,
            "event_types": new.event_types, "state": new.state, "created_at": new.created_at,
            "secret": self._seal(secret, context_of(new.id)),
        }  # fmt: skip
        counted = select(func.count()).where(_E.tenant_id == tenant_id).select_from(webhook_endpoint)
        with self._store.write() as connection:
            # One at a time a tenant, or two could both see the last free place.
            connection.execute(
                select(tenant.c.id).where(tenant.c.id == tenant_id).with_for_update(key_share=True)
            )
            if connection.execute(counted).scalar_one() >= MOST:
                return None
            connection.execute(webhook_endpoint.insert().values(values))
        return new, signature.shown(secret)

    def listed(self, tenant_id: int) -> list[Endpoint]:
        """Oldest first."""
        mine = select(webhook_endpoint).where(_E.tenant_id == tenant_id).order_by(_E.id)
        with self._store.read() as connection:
            return [_endpoint(row) for row in connection.execute(mine)]

    def get(self, tenant_id: int, endpoint_id: int) -> Endpoint | None:
        with self._store.read() as connection:
            row = _row(connection, tenant_id, endpoint_id)
        return None if row is None else _endpoint(row)

    def change(self, tenant_id: int, endpoint_id: int, values: Mapping[str, Any]) -> Endpoint | None:
        """values: new ones of url, description, event_types, state; what is not named stays."""
        new = dict(values)
        if "event_types" in new:
            new["event_types"] = sorted(set(new["event_types"]))
        changed = update(webhook_endpoint).where(_is(tenant_id, endpoint_id))
        with self._store.write() as connection:
            if new:
                connection.execute(changed.values(new))
            row = _row(connection, tenant_id, endpoint_id)
        return None if row is None else _endpoint(row)

    def delete(self, tenant_id: int, endpoint_id: int) -> bool:
        """Nothing more is told to it. Its callbacks go next, and those that a crash left go with the sweep.

        In transactions of their own: a long backlog must not keep the doors from writing.
        """
        with self._store.write() as connection:
            if not connection.execute(delete(webhook_endpoint).where(_is(tenant_id, endpoint_id))).rowcount:
                return False
        while history.drop_callbacks(self._store, endpoint_id):
            pass
        return True

    def secret(self, tenant_id: int, endpoint_id: int) -> str | None:
        """The one that new consumers should verify with."""
        with self._store.read() as connection:
            row = _row(connection, tenant_id, endpoint_id)
        return None if row is None else signature.shown(self._unseal(row.secret, context_of(endpoint_id)))

    def rotate(self, tenant_id: int, endpoint_id: int, *, overlap: timedelta) -> tuple[str, datetime] | None:
        """A new secret, and until when the one before it signs too.

        None also while a secret before this one still signs: consumers that verify with that would be cut
        off. Without an overlap it is made all the same, and all before it sign no more.
        """
        secret, now = signature.new_secret(), self._now()
        until = now + overlap
        sealed = self._seal(secret, context_of(endpoint_id))
        values = {"secret": sealed, "old_secret": _E.secret, "old_until": until}
        changed = update(webhook_endpoint).where(_is(tenant_id, endpoint_id)).values(values)
        if overlap:
            changed = changed.where(or_(_E.old_until.is_(None), _E.old_until <= now))
        with self._store.write() as connection:
            if not connection.execute(changed).rowcount:
                return None
        return signature.shown(secret), until

    def test(self, tenant_id: int, endpoint_id: int) -> int | None:
        """The id of a callback that tells a test, whatever types the endpoint wants; due now."""
        callback_id, now = self._new_id(), self._now()
        values = {
            "id": callback_id, "tenant_id": tenant_id, "endpoint_id": endpoint_id, "event_number": 0,
            "state": "due", "due_at": now, "attempts": 0, "created_at": now,
        }  # fmt: skip
        there = select(_E.id).where(_is(tenant_id, endpoint_id)).with_for_update(read=True, key_share=True)
        with self._store.write() as connection:
            if connection.execute(there).first() is None:
                return None
            connection.execute(webhook_callback.insert().values(values))
        return callback_id

    def attempts(
        self, tenant_id: int, endpoint_id: int, *, before: int | None, limit: int
    ) -> list[Attempt] | None:
        """Newest first, of those with ids below `before`."""
        with self._store.read() as connection:
            if _row(connection, tenant_id, endpoint_id) is None:
                return None
            return history.attempts(connection, endpoint_id, before=before, limit=limit)

    def callbacks(
        self, tenant_id: int, endpoint_id: int, *, state: str | None, before: int | None, limit: int
    ) -> list[Callback] | None:
        """Newest first, of those with ids below `before`; state: only those."""
        with self._store.read() as connection:
            if _row(connection, tenant_id, endpoint_id) is None:
                return None
            return history.callbacks(connection, endpoint_id, state=state, before=before, limit=limit)

    def retry(self, tenant_id: int, endpoint_id: int, callback_id: int) -> Callback | None:
        """Due now, if it waits or was given up; one that is delivered or being called stays as it is.

        None also if the endpoint has no such callback.
        """
        with self._store.write() as connection:
            if _row(connection, tenant_id, endpoint_id) is None:
                return None
            return history.retry(connection, endpoint_id, callback_id, now=self._now())


def _is(tenant_id: int, endpoint_id: int) -> ColumnElement[bool]:
    return and_(_E.id == endpoint_id, _E.tenant_id == tenant_id)


def _row(connection: Connection, tenant_id: int, endpoint_id: int) -> Any:
    return connection.execute(select(webhook_endpoint).where(_is(tenant_id, endpoint_id))).first()


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(
        row.id, row.url, row.description, row.event_types, row.state, row.created_at, row.old_until
    )
