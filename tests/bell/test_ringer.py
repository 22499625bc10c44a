"""A bell that cannot be heard is counted and told once, and nobody who rings notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailer.bell import Bell, fifo, make_app, url
from mailer.bell.app import QUEUE


@pytest.fixture
def no_folder(folder: Path) -> Path:
    """A file where the folder should be: every ring fails until it is removed."""
    folder.write_text("in the way")
    return folder


@pytest.fixture
def bell(folder: Path) -> Iterator[Bell]:
    with closing(Bell(make_app(url(folder)))) as bell:
        yield bell


def test_rings_nobody_takes_are_counted_and_told_once(no_folder: Path, bell: Bell) -> None:
    with capture_logs() as logs:
        _ring_until(bell, failures=2)

    assert [(entry["event"], entry["cause"]) for entry in logs] == [("bell.unheard", "NotADirectoryError")]


def test_the_end_of_a_silence_is_told_with_its_length(no_folder: Path, bell: Bell) -> None:
    with capture_logs() as logs:
        _ring_until(bell, failures=1)
        no_folder.unlink()
        with closing(fifo.Ear(no_folder, QUEUE.name)) as ear:
            bell.ring()
            bell.close()
            rung = ear.hear()

    assert rung is not None
    assert logs[-1]["event"] == "bell.heard"
    assert logs[-1]["unheard"] == bell.failures


def test_a_broker_that_refuses_costs_a_ringer_nothing() -> None:
    with closing(Bell(make_app("redis://127.0.0.1:1/0"))) as bell:
        began = time.monotonic()
        bell.ring()
        took = time.monotonic() - began
        _ring_until(bell, failures=1)

    assert took < 0.05
    assert bell.failures >= 1


def _ring_until(bell: Bell, *, failures: int) -> None:
    deadline = time.monotonic() + 10
    while bell.failures < failures and time.monotonic() < deadline:
        bell.ring()
        time.sleep(0.01)
