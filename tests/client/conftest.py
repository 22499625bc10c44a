"""The application over real HTTP, and clients with keys of two tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mailer import clock
from mailer.accept.budget import ByteBudget
from mailer.accept.http.app import create_app
from mailer.accept.http.body import BodyLimits
from mailer.client import AsyncMailer, Mailer
from mailer.identity import tenants
from mailer.identity.api_keys import SCOPES
from mailer.store import Store, schema
from tests.accept.http.conftest import Keyring, working_parts
from tests.support.mailroom import Mailroom
from tests.support.served import served


@dataclass(frozen=True)
class Api:
    url: str
    keyring: Keyring
    key: str


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("client")
    store = Store(f"sqlite:///{folder}/mailer.sqlite3")
    schema.upgrade(store, epoch="test-epoch")
    room = Mailroom.furnish(store, now=clock.now())
    globex = tenants.create(store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now())
    keyring = Keyring(room, globex)
    with working_parts(room, folder, ring=lambda: None) as parts:
        roomy = replace(parts, body_limits=BodyLimits(request_bytes=1 << 24), budget=ByteBudget(1 << 28))
        with served(create_app(roomy)) as url:
            yield Api(url, keyring, keyring.issue(scopes=SCOPES).text)
    store.close()


@pytest.fixture
def mailer(api: Api) -> Iterator[Mailer]:
    with Mailer(api.key, api.url) as client:
        yield client


@pytest.fixture
async def async_mailer(api: Api) -> AsyncIterator[AsyncMailer]:
    async with AsyncMailer(api.key, api.url) as client:
        yield client


@pytest.fixture
def letter(tmp_path: Path) -> dict[str, str]:
    return {"from_": "Shop <shop@acme.example>", "to": "ada@example.org", "subject": "hello", "text": "hi"}
