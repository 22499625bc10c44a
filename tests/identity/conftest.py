"""A migrated store on each engine, a vault, and ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailer import clock
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.store import Store, schema


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    schema.upgrade(opened, epoch="test-epoch")
    yield opened
    opened.close()


@pytest.fixture
def vault() -> Vault:
    return Vault(bytes(32))


@pytest.fixture
def new_id() -> IdMaker:
    return IdMaker(7, clock.wall_ms)
