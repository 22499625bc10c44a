"""A store on each engine with a tenant, and endpoints that want its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from mailer import clock
from mailer.queue import fanout, incarnations
from mailer.queue.incarnations import Fenced, Registration
from mailer.store import Store
from mailer.store.tables import webhook_attempt, webhook_callback, webhook_endpoint
from tests.support.mailroom import Mailroom, register
from webhooks import claims
from webhooks.claims import Claimed, Hold, Settled
from webhooks.endpoints import Endpoints
from webhooks.fanout import FanOut
from webhooks.urls import UrlRules

URL = "https://hooks.example.net/mail"
SECRET = b"0123456789abcdef0123456789abcdef"


def seal(plain: bytes, context: str) -> bytes:
    """Visible, and bound to its context as the vault's is."""
    return context.encode() + b"|" + plain


def unseal(sealed: bytes, context: str) -> bytes:
    head, _, plain = sealed.partition(b"|")
    assert head == context.encode()
    return plain


def holding(me: int) -> Hold:
    def hold(connection: Connection) -> bool:
        try:
            incarnations.hold_live(connection, me)
        except Fenced:
            return False
        return True

    return hold


@dataclass
class Switchboard:
    """The mailroom's tenant with its endpoints, and one live caller."""

    room: Mailroom
    caller: Registration
    endpoints: Endpoints

    @property
    def store(self) -> Store:
        return self.room.store

    def endpoint(self, url: str = URL, *types: str, tenant_id: int | None = None) -> int:
        made = self.endpoints.create(
            self.room.tenant_id if tenant_id is None else tenant_id,
            url=url,
            description="",
            event_types=types,
        )
        assert made is not None
        return made[0].id

    def tell(self, events: int = 1) -> None:
        """So many acceptances happen and are numbered."""
        self.room.accept(*(self.room.message() for _ in range(events)))
        self.fan_out()

    def fan_out(self) -> int:
        return fanout.fan_out(self.store, also=FanOut(self.room.new_id, clock.now))

    def claim(
        self, *endpoints: int, most: int = 100, by: Registration | None = None, now: datetime | None = None
    ) -> list[Claimed]:
        me = (by or self.caller).id
        quotas = dict.fromkeys(endpoints, most)
        return claims.claim(self.store, me, holding(me), quotas, now=now or clock.now())

    def settle(self, ended: Sequence[Settled], *, by: Registration | None = None) -> int:
        me = (by or self.caller).id
        return claims.settle(self.store, me, holding(me), ended, new_id=self.room.new_id)

    def callbacks(self) -> list[Any]:
        with self.store.read() as c:
            return list(c.execute(select(webhook_callback).order_by(webhook_callback.c.id)))

    def attempts(self) -> list[Any]:
        with self.store.read() as c:
            return list(c.execute(select(webhook_attempt).order_by(webhook_attempt.c.id)))

    def row(self, endpoint_id: int) -> Any:
        with self.store.read() as c:
            return c.execute(select(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id)).one()

    def another_caller(self) -> Registration:
        return register(self.store, role="caller")


def ended(claimed: Claimed, status: int | None = 204, *, due_in: timedelta | None = None) -> Settled:
    now = clock.now()
    good = status is not None and 200 <= status < 300
    return Settled(
        claimed=claimed, at=now, duration_ms=12, status=status, cause=None if good else "answered so",
        due_at=None if due_in is None else now + due_in, gone=status == 410,
    )  # fmt: skip


def switchboard(room: Mailroom) -> Switchboard:
    endpoints = Endpoints(
        room.store, seal=seal, unseal=unseal, new_id=room.new_id, now=clock.now, rules=UrlRules(is_live=True)
    )
    return Switchboard(room, register(room.store, role="caller"), endpoints)


@pytest.fixture
def board(store: Store) -> Switchboard:
    return switchboard(Mailroom.furnish(store, now=clock.now()))
