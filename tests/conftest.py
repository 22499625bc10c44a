"""What every stage's tests may ask for: real servers, and a fresh database on each engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest

from mailer.store import Store, schema
from tests.support.servers import Postgres, RabbitMQ, Redis

_JOURNEYS = Path(__file__).parent / "journeys"
# They run programs of others, or many processes of ours: `make test` has the time, `make check` has not.
_SLOW = {
    "test_backlog_plans.py", "test_browser.py", "test_containers.py", "test_listing_plans.py",
    "test_name_server.py", "test_returned_plans.py", "test_suppression_plans.py",
    "test_openapi_schemathesis.py",
    "test_ringing.py", "test_supervisor.py", "test_systemd.py",
}  # fmt: skip

# Two busy cores make any deadline a coin toss; in CI the same examples are drawn every time, so that a red
# run can be repeated.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=15)  # make check
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

# Settings of whoever runs the tests are not the tests' business, and unknown ones are errors.
for _name in [name for name in os.environ if name.startswith("MAILER_")]:
    del os.environ[_name]


_SERVERS = {"postgres", "durable_postgres", "redis_server", "rabbitmq"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make check` leaves to `make test`."""
    for item in items:
        if _servers_of(item):
            item.add_marker("servers")
        if item.path.is_relative_to(_JOURNEYS):
            item.add_marker("journey")
        if item.path.name in _SLOW:
            item.add_marker("slow")


def _servers_of(item: pytest.Item) -> set[str]:
    """By its fixtures, and by the parameters that name one (database_url[postgres])."""
    fixtures = set(getattr(item, "fixturenames", ()))
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return _SERVERS & (fixtures | {value for value in parameters.values() if isinstance(value, str)})


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the run; it does not wait for the disk."""
    with closing(Postgres()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[Postgres]:
    """One server for the journeys that crash things: commits reach the disk."""
    with closing(Postgres(durable=True)) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with closing(Redis()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    with closing(RabbitMQ()) as server:
        server.start()
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path / 'mailer.sqlite3'}"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    """A database of its own, dropped afterwards: empty, or with the schema if the test asks for `store`."""
    like = request.getfixturevalue("furnished_postgres") if "store" in request.fixturenames else None
    url = postgres.new_database(like=like)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database on each engine."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
def furnished_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its schema, to be copied: to make one takes as long as twenty copies."""
    path = tmp_path_factory.mktemp("furnished") / "mailer.sqlite3"
    _furnish(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def furnished_postgres(postgres: Postgres) -> str:
    """Likewise, on the server of the run; its URL."""
    url = postgres.new_database()
    _furnish(url)
    return url


def _furnish(url: str) -> None:
    made = Store(url)
    schema.upgrade(made, epoch="test-epoch")
    made.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, database_url: str) -> Iterator[Store]:
    """A database with its schema and nothing else, on each engine."""
    if database_url.startswith("sqlite:"):
        shutil.copyfile(request.getfixturevalue("furnished_sqlite"), database_url.removeprefix("sqlite:///"))
    opened = Store(database_url)
    yield opened
    opened.close()
