"""A running inbox in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.report.inbox import serve_inbox
from mailer.report.serving import Server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def inbox(folder: Path, tmp_path: Path) -> Iterator[Server]:
    server = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls")
    yield server
    server.stop()
