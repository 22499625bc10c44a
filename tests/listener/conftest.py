"""A listener that takes everything, on each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from mailer.listener import Limits
from tests.listener.serving import Served, serving


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(request.param, limits=Limits(linger_seconds=0.3)) as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """For tables and properties: many sessions, one listener."""
    with serving() as running:
        yield running
