"""Rings from this process reach workers in others, over the embedded bell, RabbitMQ and Redis."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.bell import QUEUE, Bell, make_app, url
from tests.bell.listener import Listener
from tests.bell.tap import Tap

Listen = Callable[[str], Listener]
BellAt = Callable[[str], Bell]
TapAt = Callable[[str], Tap]


def test_a_ring_starts_work_in_another_process(
    broker_url: str, listen: Listen, bell_at: BellAt, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = listen(broker_url).until_ready()
    bell = bell_at(broker_url)
    bell.ring()
    worker.wait_for("heard")  # the first one dials
    latencies = [_latency_ms(bell, worker) for _ in range(50)]
    with capsys.disabled():
        print(f"\n  ring to work: median {latencies[25]:.1f} ms, worst {max(latencies):.1f} ms", end=" ")

    assert bell.failures == 0


def test_a_worker_that_starts_late_looks_by_itself(broker_url: str, listen: Listen, bell_at: BellAt) -> None:
    bell_at(broker_url).ring()
    worker = listen(broker_url)

    worker.wait_for("ready")
    worker.wait_for("heard")


def test_rings_with_no_worker_cost_nothing_and_do_not_pile_up(broker_url: str, bell_at: BellAt) -> None:
    bell = bell_at(broker_url)
    longest = max(_seconds_to_ring(bell) for _ in range(2000))
    bell.close()

    assert longest < 0.05
    assert _waiting(broker_url) <= 1
    assert bell.failures == 0


def test_a_burst_of_rings_is_few_bells(broker_url: str, listen: Listen, bell_at: BellAt) -> None:
    worker = listen(broker_url).until_ready()
    bell = bell_at(broker_url)
    for _ in range(5000):
        bell.ring()
    bell.close()
    worker.wait_for("heard")
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.count("heard") < 100


def test_a_ring_before_closing_is_heard(broker_url: str, listen: Listen, bell_at: BellAt) -> None:
    worker = listen(broker_url).until_ready()
    bell = bell_at(broker_url)
    bell.ring()
    bell.close()

    worker.wait_for("heard")


def test_a_ring_after_closing_is_ignored(folder: Path, bell_at: BellAt) -> None:
    bell = bell_at(url(folder))
    bell.close()
    bell.ring()

    assert bell.failures == 0


def test_every_worker_hears_the_embedded_bell(folder: Path, listen: Listen, bell_at: BellAt) -> None:
    left, right = listen(url(folder)).until_ready(), listen(url(folder)).until_ready()
    bell_at(url(folder)).ring()

    left.wait_for("heard")
    right.wait_for("heard")


def test_of_two_workers_each_hears_some(broker_url: str, listen: Listen, bell_at: BellAt) -> None:
    left, right = listen(broker_url).until_ready(), listen(broker_url).until_ready()
    bell = bell_at(broker_url)

    assert left.hears(bell)
    assert right.hears(bell)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_worker_leaves_when_asked(folder: Path, listen: Listen, name: str) -> None:
    worker = listen(url(folder)).until_ready()
    asked = time.monotonic()
    worker.send(signal.Signals[name])
    worker.wait_for("stopping")
    worker.wait_for("stopped")

    assert worker.exit_code() == 0
    assert time.monotonic() - asked < 2.0
    assert list(folder.iterdir()) == []


def test_a_worker_leaves_any_broker_when_asked(broker_url: str, listen: Listen) -> None:
    worker = listen(broker_url).until_ready()
    worker.send(signal.SIGTERM)
    worker.wait_for("stopping")
    worker.wait_for("stopped")

    assert worker.exit_code() == 0


def test_a_pull_that_fails_does_not_end_the_worker(folder: Path, bell_at: BellAt) -> None:
    with Listener(url(folder), "fail-first") as worker:
        worker.wait_for("ready")

        assert worker.hears(bell_at(url(folder)))


def test_a_killed_worker_does_not_silence_the_others(
    broker_url: str, listen: Listen, bell_at: BellAt
) -> None:
    doomed, other = listen(broker_url).until_ready(), listen(broker_url).until_ready()
    bell = bell_at(broker_url)
    doomed.send(signal.SIGKILL)
    doomed.exit_code()

    assert other.hears(bell)
    assert bell.failures == 0


def test_a_stopped_worker_does_not_silence_the_others(
    broker_url: str, listen: Listen, bell_at: BellAt
) -> None:
    stopped, other = listen(broker_url).until_ready(), listen(broker_url).until_ready()
    bell = bell_at(broker_url)
    stopped.send(signal.SIGSTOP)

    assert other.hears(bell)
    assert max(_seconds_to_ring(bell) for _ in range(100)) < 0.05


@pytest.mark.parametrize("fixture", ["rabbitmq", "redis_server"])
def test_a_broker_that_dies_and_comes_back_is_found_again(
    request: pytest.FixtureRequest, fixture: str, listen: Listen, bell_at: BellAt
) -> None:
    broker = request.getfixturevalue(fixture)
    worker = listen(broker.url).until_ready()
    bell = bell_at(broker.url)
    assert worker.hears(bell)
    broker.stop()
    try:
        longest = max(_seconds_to_ring(bell) for _ in range(100))
        _until(lambda: bell.failures > 0)
    finally:
        broker.start()

    assert longest < 0.05
    assert worker.hears(bell, seconds=40)
    assert worker.runs


@pytest.mark.parametrize("fixture", ["rabbitmq", "redis_server"])
def test_a_worker_whose_broker_is_away_waits_for_it_and_leaves_when_asked(
    request: pytest.FixtureRequest, fixture: str, listen: Listen
) -> None:
    broker = request.getfixturevalue(fixture)
    broker.stop()
    try:
        patient, hasty = listen(broker.url), listen(broker.url)
        hasty.wait_for("unreachable")
        hasty.send(signal.SIGTERM)
        code = hasty.exit_code()
    finally:
        broker.start()

    assert code == 0
    patient.wait_for("ready", seconds=40)


@pytest.mark.parametrize("fixture", ["rabbitmq", "redis_server"])
def test_a_broker_that_went_silent_holds_nobody(
    request: pytest.FixtureRequest, fixture: str, listen: Listen, bell_at: BellAt, tap_at: TapAt
) -> None:
    tap = tap_at(request.getfixturevalue(fixture).url)
    worker = listen(tap.url).until_ready()
    bell = bell_at(tap.url)
    assert worker.hears(bell)
    tap.shut()
    longest = max(_seconds_to_ring(bell) for _ in range(100))
    _until(lambda: bell.failures > 0)
    worker.send(signal.SIGTERM)

    assert longest < 0.05
    assert worker.exit_code() == 0


def _latency_ms(bell: Bell, worker: Listener) -> float:
    rung = time.monotonic_ns()
    bell.ring()
    return (worker.wait_for("heard") - rung) / 1e6


def _seconds_to_ring(bell: Bell) -> float:
    began = time.monotonic()
    bell.ring()
    return time.monotonic() - began


def _waiting(broker_url: str) -> Any:
    with make_app(broker_url).connection_for_read() as connection:
        return QUEUE.queue_declare(channel=connection.default_channel)[1]


def _until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
