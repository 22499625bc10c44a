"""How soon work starts in another process after a ring, and what listening costs while nothing rings.

    python -m tests.bench.bell_latency [BROKER_URL ...] [--rings 300] [--idle-seconds 10]

Measures the embedded bell, kombu's polling filesystem transport at 5 and 10 ms, and the brokers named,
all through the product's own `Bell` and `run_worker`; first the two kernel primitives that an embedded
bell could stand on, without Celery. The figures in mailer/bell/__init__.py come from here.
"""

from __future__ import annotations

import argparse
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from mailer.bell import Bell, fifo, make_app, url
from mailer.tasks import run_worker

_ROOT = Path(__file__).parents[2]
_SPREAD_SECONDS = (0.015, 0.040)  # between rings: longer than the bell's pause, so none is coalesced


@dataclass(frozen=True, slots=True)
class Measured:
    """One candidate's figures: `latencies_ms` from ring to work, `idle` as a share of one core."""

    name: str
    latencies_ms: list[float]  # fewer than asked: the listener ended by itself
    ring_us: float  # CPU of the ringing process per ring
    idle: float | None  # None: not measured

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.latencies_ms, n=100)
        idle = "" if self.idle is None else f"{self.idle:8.2%}"
        line = f"{self.name:<22}{cuts[49]:8.2f}{cuts[94]:8.2f}{max(self.latencies_ms):8.2f}"
        return f"{line}{self.ring_us:9.0f}{len(self.latencies_ms):7}{idle}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("brokers", nargs="*", metavar="BROKER_URL")
    parser.add_argument("--rings", type=int, default=300)
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument("--listen", choices=["pipe", "datagram", "worker"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.listen:
        _LISTENERS[asked.listen](*asked.brokers)
        return
    print(f"{'':<22}{'p50 ms':>8}{'p95 ms':>8}{'max ms':>8}{'ring us':>9}{'rings':>7}{'idle':>8}")
    for measured in _all(asked.brokers, asked.rings, asked.idle_seconds):
        print(measured, flush=True)
    print("load average", os.getloadavg())


def _all(brokers: list[str], rings: int, idle_seconds: float) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as made:
        yield _pipe(Path(made), rings)
        yield _datagram(Path(made), rings)
        yield _celery("celery, bell", [url(Path(made, "bell"))], rings, idle_seconds)
        for interval in ("0.005", "0.010"):
            folder = Path(made, interval)
            folder.mkdir()
            options = ["filesystem://", interval, str(folder)]
            yield _celery(f"celery, files {interval}", options, rings, idle_seconds)
    for broker in brokers:
        yield _celery(f"celery, {broker.partition(':')[0]}", [broker], rings, idle_seconds)


def _pipe(folder: Path, rings: int) -> Measured:
    with _listener("pipe", str(folder)) as (_pid, heard):
        latencies, ring_us = _measure(lambda: fifo.ring(folder, "raw", b"look"), heard, rings)
    return Measured("named pipe", latencies, ring_us, None)


def _datagram(folder: Path, rings: int) -> Measured:
    path = str(folder / "socket")
    with (
        _listener("datagram", path) as (_pid, heard),
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ringer,
    ):
        ringer.setblocking(False)
        latencies, ring_us = _measure(lambda: ringer.sendto(b"look", path), heard, rings)
    return Measured("unix datagram", latencies, ring_us, None)


def _celery(name: str, broker: list[str], rings: int, idle_seconds: float) -> Measured:
    with _listener("worker", *broker) as (pid, heard):
        heard()  # the look with which every worker starts
        bell = Bell(_app(*broker))
        bell.ring()
        heard()
        idle = _idle(pid, idle_seconds)
        latencies, ring_us = _measure(bell.ring, heard, rings)
        bell.close()
    return Measured(name, latencies, ring_us, idle)


def _measure(
    ring: Callable[[], object], heard: Callable[[], int | None], rings: int
) -> tuple[list[float], float]:
    latencies = []
    cpu = time.process_time()
    for _ in range(rings):
        time.sleep(random.uniform(*_SPREAD_SECONDS))
        rung = time.monotonic_ns()
        ring()
        instant = heard()
        if instant is None:
            break
        latencies.append((instant - rung) / 1e6)
    return latencies, (time.process_time() - cpu) / rings * 1e6


@contextmanager
def _listener(kind: str, *options: str) -> Iterator[tuple[int, Callable[[], int | None]]]:
    """A process that prints the monotonic nanoseconds of each ring it hears, after an empty first line."""
    command = [sys.executable, "-m", "tests.bench.bell_latency", "--listen", kind, *options]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = process.stdout
            lines.readline()
            yield process.pid, lambda: int(lines.readline() or 0) or None
        finally:
            process.terminate()


def _listen_pipe(folder: str) -> None:
    ear = fifo.Ear(Path(folder), "raw")
    _listen_raw(ear, ear.hear)


def _listen_datagram(path: str) -> None:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(path)
    _listen_raw(receiver, lambda: receiver.recv(4096))


def _listen_raw(end: fifo.Ear | socket.socket, read: Callable[[], object]) -> None:
    selector = selectors.PollSelector()
    selector.register(end, selectors.EVENT_READ)
    print(flush=True)
    while selector.select():
        heard = time.monotonic_ns()
        read()
        print(heard, flush=True)


def _listen_worker(*broker: str) -> None:
    run_worker(
        _app(*broker),
        lambda: print(time.monotonic_ns(), flush=True),
        on_ready=lambda: print(flush=True),
    )


_LISTENERS: dict[str, Callable[..., None]] = {
    "pipe": _listen_pipe,
    "datagram": _listen_datagram,
    "worker": _listen_worker,
}


def _app(broker_url: str, interval: str = "", folder: str = "") -> Celery:
    app = make_app(broker_url)
    if interval:
        folders = {f"data_folder_{way}": folder for way in ("in", "out")} | {"control_folder": folder}
        app.conf.broker_transport_options = {"polling_interval": float(interval), **folders}
    return app


def _idle(pid: int, seconds: float) -> float:
    began = _cpu_seconds(pid)
    time.sleep(seconds)
    return (_cpu_seconds(pid) - began) / seconds


def _cpu_seconds(pid: int) -> float:
    """Time on a core of all threads, to the nanosecond (proc/schedstat), unlike stat's ticks of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


if __name__ == "__main__":
    main()
