"""A running inbox in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.report.inbox import InboxServer, serve_inbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def inbox(folder: Path, tmp_path: Path) -> Iterator[InboxServer]:
    server = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls")
    yield server
    server.stop()
