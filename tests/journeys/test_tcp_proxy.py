"""The proxy loses exactly the commits that it was told to lose, and the server knows which those were."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.servers import Postgres
from tests.support.tcp_proxy import CommitThief, Cut, commit_thief


@pytest.fixture
def thief(postgres: Postgres) -> Iterator[CommitThief]:
    with psycopg.connect(postgres.url) as direct:
        direct.execute("CREATE TABLE IF NOT EXISTS stolen (n integer)")
        direct.execute("TRUNCATE stolen")
    with commit_thief("127.0.0.1", postgres.port) as running:
        yield running
