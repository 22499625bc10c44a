"""A migrated store on each engine, furnished."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailer import clock
from mailer.store import Store, schema
from tests.support.mailroom import Mailroom


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    schema.upgrade(opened, epoch="test-epoch")
    yield opened
    opened.close()


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())
