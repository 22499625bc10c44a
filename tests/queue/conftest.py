"""A migrated store on each engine, and short ways to put mail into it."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.store import Store
from tests.support.mailroom import Mailroom


@pytest.fixture
def room(store: Store) -> Mailroom:
    """A tenant with a stream, and one live worker."""
    return Mailroom.furnish(store, now=clock.now())
