"""A migrated store on each engine, furnished."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.store import Store
from tests.support.mailroom import Mailroom


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())
