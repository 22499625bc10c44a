"""An inbox with mail in it, its pages in this process, and the same pages behind a real server."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from mailer.report.maildir import Delivery, Maildir
from mailer.report.trace import Arrival, trace_fields
from mailer.web.inbox import inbox_router
from tests.support.served import served

NOON_MS = 1_795_348_800_000
ARRIVAL = Arrival(
    peer_name="mailer.example",
    peer_address="127.0.0.1",
    host="inbox.localhost",
    is_esmtp=True,
    is_tls=True,
    is_utf8=False,
    at=datetime.fromtimestamp(NOON_MS / 1000, UTC),
)

Put = Callable[..., str]


@dataclass
class Books:
    """Stands for our database of DKIM keys: name to TXT record, and what was asked."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)

    def lookup(self, name: bytes) -> bytes | None:
        self.asked.append(name)
        return self.records.get(name)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def put(folder: Path) -> Put:
    """Keeps a message as the inbox would and returns its key."""
    maildir = Maildir(folder, keep=1000, wall_ms=itertools.count(NOON_MS, 1000).__next__)

    def put(
        content: bytes, recipient: str = "b@receiver.example", reverse_path: str = "bounce@sender.example"
    ) -> str:
        key = maildir.new_key()
        maildir.deliver([Delivery(key, trace_fields(ARRIVAL, reverse_path, recipient, key) + content)])
        return key

    return put


@pytest.fixture
async def pages(folder: Path, books: Books) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(inbox_router(folder, books.lookup))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
        yield client


@dataclass
class Site:
    """The pages on a loopback port. heard: the path of every request, in order."""

    url: str
    heard: list[str]


@pytest.fixture
def site(folder: Path, books: Books) -> Iterator[Site]:
    app, heard = FastAPI(), list[str]()

    @app.middleware("http")
    async def hear(request: Request, answer: Callable[[Request], object]) -> Response:
        heard.append(request.url.path)
        return await answer(request)  # type: ignore[misc, no-any-return]

    app.include_router(inbox_router(folder, books.lookup))
    with served(app) as url:
        yield Site(url, heard)
