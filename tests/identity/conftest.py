"""A migrated store on each engine, a vault, and ids."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.identity.vault import Vault
from mailer.ids import IdMaker


@pytest.fixture
def vault() -> Vault:
    return Vault(bytes(32))


@pytest.fixture
def new_id() -> IdMaker:
    return IdMaker(7, clock.wall_ms)
