"""Workers in processes of their own, on each of the brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailer.bell import Bell, make_app, url
from tests.bell.listener import Listener
from tests.bell.tap import Tap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the embedded bell hangs; not made yet."""
    return tmp_path / "bell"


@pytest.fixture(params=["bell", "rabbitmq", "redis_server"])
def broker_url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "bell":
        return url(folder)
    return str(request.getfixturevalue(request.param).url)


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    """Starts workers; ends those that still run."""
    with ExitStack() as stack:
        yield lambda broker_url: stack.enter_context(Listener(broker_url))


@pytest.fixture
def bell_at() -> Iterator[Callable[[str], Bell]]:
    with ExitStack() as stack:

        def make(broker_url: str) -> Bell:
            bell = Bell(make_app(broker_url))
            stack.callback(bell.close)
            return bell

        yield make


@pytest.fixture
def tap_at() -> Iterator[Callable[[str], Tap]]:
    with ExitStack() as stack:
        yield lambda broker_url: stack.enter_context(Tap(broker_url))
