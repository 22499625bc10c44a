"""The whole HTTP application in process: real store, real intake, two tenants with keys."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mailer import clock
from mailer.accept.budget import ByteBudget
from mailer.accept.changes import Changes
from mailer.accept.committer import Committer
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.http.body import BodyLimits
from mailer.accept.intake import Intake, IntakeLimits
from mailer.accept.leaving import Leaving
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.suppressions import Lists
from mailer.bootstrap.site_rules import RulesKeeper
from mailer.compose.unsubscribe import Links
from mailer.config.load import warmup_rules
from mailer.identity import keys, tenants
from mailer.identity.api_keys import insert
from mailer.identity.keys import NewKey, PresentedKey
from mailer.identity.rights import Rights
from mailer.identity.tenants import Tenant
from mailer.identity.vault import Vault
from mailer.queue import fanout
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Means
from mailer.store import Store, dialect
from mailer.store.tables import sending_domain, stream
from tests.support.mailroom import KEYS, Mailroom
from webhooks.endpoints import Endpoints
from webhooks.urls import UrlRules

LETTER = {"from": "shop@acme.example", "to": "ada@example.org", "subject": "hello", "text": "hi"}
LIMITS = BodyLimits(request_bytes=256 * 1024)


@dataclass
class Keyring:
    """Issues keys of the mailroom's tenant (acme) and of another one (globex)."""

    room: Mailroom
    globex: Tenant

    def issue(
        self,
        *,
        to: Tenant | None = None,
        scopes: tuple[str, ...] = ("send", "read"),
        streams: tuple[str, ...] | None = None,
        domains: tuple[str, ...] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        made = keys.new_key(self.room.new_id())
        owner = to or Tenant(self.room.tenant_id, "acme", tenants.ACTIVE, clock.now())
        with self.room.store.write() as c:
            presented = PresentedKey(made.key_id, made.secret_hash)
            rights = Rights(scopes=scopes, streams=streams, domains=domains)
            insert(c, owner, "test", presented, rights=rights, expires_at=expires_at, now=clock.now())
        return made


@dataclass
class Door:
    """A client of the application, with a good key of acme unless a request brings its own."""

    client: httpx.AsyncClient
    room: Mailroom
    keyring: Keyring
    key: NewKey
    rings: list[None] = field(default_factory=list)

    async def send(self, body: Any = LETTER, **headers: str) -> httpx.Response:
        return await self.client.post("/v1/messages", json=body, headers=headers)

    async def get(self, path: str, *, key: NewKey | None = None) -> httpx.Response:
        return await self.client.get(path, headers=bearer(key) if key else {})

    def furnished_key(
        self, *, streams: tuple[str, ...] = (), domains: tuple[str, ...] = (), **rights: Any
    ) -> NewKey:
        """A key limited to streams and sending domains of acme, which are made where they are missing."""
        with self.room.store.write() as c:
            for table, names in ((stream, streams), (sending_domain, domains)):
                for name in names:
                    c.execute(
                        dialect.insert(c, table).values(self._row(name)[table]).on_conflict_do_nothing()
                    )
        return self.keyring.issue(streams=streams or None, domains=domains or None, **rights)

    def _row(self, name: str) -> dict[Any, dict[str, Any]]:
        both = {"id": self.room.new_id(), "tenant_id": self.room.tenant_id, "name": name,
                "state": "active", "created_at": clock.now()}  # fmt: skip
        return {
            stream: {**both, "kind": "broadcast", "in_doubt": "retry"},
            sending_domain: {**both, "return_path_domain": f"bounce.{name}"},
        }

    def number_events(self) -> None:
        fanout.fan_out(self.room.store)


def bearer(key: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.text}"}


@contextmanager
def copied(furnished: Path, folder: Path) -> Iterator[Store]:
    """A store of its own, of a furnished one."""
    path = folder / "mailer.sqlite3"
    shutil.copyfile(furnished, path)
    store = Store(f"sqlite:///{path}")
    try:
        yield store
    finally:
        store.close()


def two_tenants(store: Store) -> Keyring:
    room = Mailroom.furnish(store, now=clock.now())
    globex = tenants.create(store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now())
    return Keyring(room, globex)


@pytest.fixture
def store(furnished_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    with copied(furnished_sqlite, tmp_path) as store:
        yield store


@pytest.fixture
def keyring(store: Store) -> Keyring:
    return two_tenants(store)


@pytest.fixture
def rings() -> list[None]:
    return []


@pytest.fixture
def parts(keyring: Keyring, tmp_path: Path, rings: list[None]) -> Iterator[HttpParts]:
    with working_parts(keyring.room, tmp_path, ring=lambda: rings.append(None)) as working:
        yield working


@contextmanager
def working_parts(
    room: Mailroom,
    folder: Path,
    *,
    ring: Callable[[], None],
    rates: KeyRates | None = None,
    now: Callable[[], datetime] = clock.now,
    message_bytes: int = 128 * 1024,
    links: Links | None = None,
) -> Iterator[HttpParts]:
    """The parts of an application on the mailroom's store, with small limits. now: of what is accepted.
    links: None: it has no way to unsubscribe by."""
    leaving = None if links is None else Leaving(room.store, links)
    rates = rates or KeyRates(RateLimits(), clock.monotonic)
    committer = Committer(
        room.store, new_id=room.new_id, process_number=room.worker.process_number, now=now, ring=ring,
        rates=rates, keys=KEYS,
    )  # fmt: skip
    intake = Intake(
        committer, data_folder=folder, body_folder=room.store.body_folder,
        limits=IntakeLimits(
            message_bytes=message_bytes, recipients=10, free_bytes=0, rates=rates, leaving=leaving
        ),
        new_id=room.new_id, now=clock.now, monotonic=clock.monotonic,
    )  # fmt: skip
    changes = Changes(
        room.store, new_id=room.new_id, process_number=room.worker.process_number, now=clock.now, ring=ring
    )
    committer.start()
    keeper = RulesKeeper(None, room.store)
    try:
        yield HttpParts(
            store=room.store, intake=intake, changes=changes, endpoints=endpoints_in(room), now=clock.now,
            suppressions=Lists(room.store, KEYS, new_id=room.new_id, now=clock.now),
            monotonic=clock.monotonic, version="1.2.3", body_limits=LIMITS,
            budget=ByteBudget(512 * 1024), most_recipients=10, message_bytes=message_bytes,
            new_id=room.new_id, host="mailer.example.net", ring=ring, warmup_rules=warmup_rules(),
            acting=Means(room.store, room.new_id, room.worker.process_number, clock.now),
            keeper=keeper, knowledge=Knowledge(rules=keeper.rules), leaving=leaving,
        )  # fmt: skip
    finally:
        committer.stop()


def endpoints_in(room: Mailroom) -> Endpoints:
    """Kept in the mailroom's store under a secret of these tests."""
    vault = Vault(b"s" * 32)
    return Endpoints(
        room.store, seal=vault.seal, unseal=vault.open, new_id=room.new_id, now=clock.now,
        rules=UrlRules(is_live=True),
    )  # fmt: skip


@pytest.fixture
def app(parts: HttpParts) -> FastAPI:
    return create_app(parts)


@pytest.fixture
async def door(app: FastAPI, keyring: Keyring, rings: list[None]) -> AsyncIterator[Door]:
    key = keyring.issue()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://mailer.test", headers=bearer(key)
    ) as c:
        yield Door(c, keyring.room, keyring, key, rings)
