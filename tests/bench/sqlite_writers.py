"""Five processes accept into one SQLite file: what the kernel lock does to the slowest commits.

Each process commits one message at a time (the worst case: no group shares the fsync), first at a fixed
rate, counted from the moment each was due so that waiting counts, then as fast as it can. SQLite's own
busy_timeout sleeps and polls, so that under contention an unlucky writer waits far longer than the others;
the lock (mailer/store/dialect.py) lets them pass in the kernel's order.

    python -m tests.bench.sqlite_writers [--processes 5] [--seconds 10] [--rate 60]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailer import clock
from mailer.ids import IdMaker
from mailer.queue.enqueue import LaneBook
from mailer.store import Store, StoreUnavailable, schema
from tests.support.mailroom import Mailroom, register

Results = Any  # a queue of what `_accept` returns; multiprocessing names no type for it
_BODY = b"0123456789abcdef" * 300 + b"\r\n"  # as large as the reference message of the bench kit


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all processes together.

    rate    commits a second that each process tries; 0: as many as it can
    failed  commits that gave up (SQLITE_BUSY after the timeout)
    """

    kernel_lock: bool
    rate: float
    processes: int
    commits: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run of all processes tries."""

    kernel_lock: bool
    rate: float
    processes: int
    seconds: float


def _accept(room: Mailroom, trial: Trial, began: float) -> tuple[list[float], int]:
    """One process: seconds of each commit, and how many failed."""
    store = Store(room.store.url, kernel_lock=trial.kernel_lock)
    me = register(store, role="http")
    new_id = IdMaker(me.process_number, clock.wall_ms)
    mine = Mailroom(store, room.tenant_id, room.stream_id, room.domain_id, me, new_id, LaneBook())
    took, failed = [], 0
    for due in _moments(trial, began):
        try:
            mine.accept(mine.message(body=_BODY))
            took.append(time.perf_counter() - due)
        except StoreUnavailable:
            failed += 1
    store.close()
    return took, failed


def _moments(trial: Trial, began: float) -> Iterator[float]:
    """When each commit is due; waits for it."""
    for number in itertools.count():
        now = time.perf_counter()
        due = began + number / trial.rate if trial.rate else now
        if max(due, now) > began + trial.seconds:
            return
        time.sleep(max(0.0, due - now))
        yield due


def _process(room: Mailroom, trial: Trial, began: float, results: Results) -> None:
    results.put(_accept(room, trial, began))


def measure(folder: Path, trial: Trial) -> Figures:
    path = folder / f"{trial.kernel_lock}-{trial.rate:g}.sqlite3"
    store = Store(f"sqlite:///{path}", kernel_lock=trial.kernel_lock)
    schema.upgrade(store, epoch="bench")
    room = Mailroom.furnish(store, now=clock.now())
    store.close()
    context = multiprocessing.get_context("fork")
    results: Results = context.Queue()
    began = time.perf_counter() + 0.5
    writers = [
        context.Process(target=_process, args=(room, trial, began, results)) for _ in range(trial.processes)
    ]
    for writer in writers:
        writer.start()
    parts = [results.get() for _ in writers]
    for writer in writers:
        writer.join()
    return _figures(trial, [one for took, _ in parts for one in took], sum(failed for _, failed in parts))


def _figures(trial: Trial, took: Sequence[float], failed: int) -> Figures:
    cuts = [round(c * 1000, 2) for c in statistics.quantiles(took, n=1000)]
    return Figures(
        kernel_lock=trial.kernel_lock,
        rate=trial.rate,
        processes=trial.processes,
        commits=len(took),
        failed=failed,
        per_second=round(len(took) / trial.seconds),
        p50_ms=cuts[499],
        p99_ms=cuts[989],
        p999_ms=cuts[998],
        max_ms=round(max(took) * 1000, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sqlite-writers-") as folder:
        for rate, kernel_lock in itertools.product((options.rate, 0.0), (False, True)):
            figures = measure(Path(folder), Trial(kernel_lock, rate, options.processes, options.seconds))
            print(json.dumps({name: getattr(figures, name) for name in Figures.__slots__}))


if __name__ == "__main__":
    main()
