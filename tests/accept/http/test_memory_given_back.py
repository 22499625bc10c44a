"""A refusal keeps nothing of the request: the garbage collector counts objects, and would come too late."""

from __future__ import annotations

import base64
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailer.accept.budget import ByteBudget
from mailer.accept.http.app import create_app
from mailer.accept.http.body import BodyLimits
from tests.accept.http.conftest import LETTER, Keyring, bearer, working_parts

MB = 1 << 20
FILE = base64.b64encode(bytes(15 * MB)).decode()  # 20 MB of a request
REPEATS = 5


@pytest.fixture
async def wide_door(keyring: Keyring, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that takes large requests."""
    with working_parts(keyring.room, tmp_path, ring=lambda: None, message_bytes=36 * MB) as parts:
        wide = replace(parts, body_limits=BodyLimits(request_bytes=40 * MB), budget=ByteBudget(80 * MB))
        transport = httpx.ASGITransport(app=create_app(wide))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://mailer.test", headers=bearer(keyring.issue())
        ) as client:
            yield client


@contextmanager
def nothing_collected() -> Iterator[None]:
    """What is given back inside is given back by itself."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


async def answers(client: httpx.AsyncClient, path: str, body: bytes) -> list[int]:
    headers = {"Content-Type": "application/json"}
    return [(await client.post(path, content=body, headers=headers)).status_code for _ in range(REPEATS)]


def letter(**change: Any) -> dict[str, Any]:
    return {**LETTER, "attachments": [{"filename": "a.bin", "content": FILE}], **change}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/messages", letter(to="nobody"), 422),
        ("/v1/messages", letter(attachments=[{"filename": "a.bin", "content": FILE + "?"}]), 422),
        ("/v1/messages", letter(**{"from": "ceo@globex.example"}), 403),
        ("/v1/messages", letter(tags=["a b"]), 422),
        ("/v1/messages/validate", letter(to="nobody"), 200),
        ("/v1/messages/batch", {"messages": [letter(to="nobody")]}, 200),
        ("/v1/messages/batch", {"messages": [letter(**{"from": "ceo@globex.example"})]}, 200),
        ("/v1/messages/raw", {"message": FILE + "?", "rcpt_to": ["ada@example.org"]}, 422),
    ],
)
async def test_a_refused_request_of_20_mb_gives_its_memory_back(
    wide_door: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    octets = json.dumps(body).encode()
    with nothing_collected():
        before, _ = tracemalloc.get_traced_memory()

        answered = await answers(wide_door, path, octets)

        held = tracemalloc.get_traced_memory()[0] - before

    assert answered == [status] * REPEATS
    # A thread may not yet have let go of the last one.
    assert held < 2 * len(octets)
