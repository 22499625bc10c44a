"""A worker process as a test sees it: what it said, and signals to it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from mailer.bell import Bell

_ROOT = Path(__file__).parents[2]


class Listener:
    """Runs worker_process.py; each fact it prints is a word and the monotonic nanoseconds."""

    def __init__(self, broker_url: str, *options: str) -> None:
        script = Path(__file__).with_name("worker_process.py")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), broker_url, *options],
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._facts: queue.Queue[tuple[str, int]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def wait_for(self, word: str, *, seconds: float = 20.0) -> int:
        """The instant of the next such fact, in monotonic nanoseconds; facts before it are dropped."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                said, instant = self._facts.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the worker did not say {word!r} within {seconds} s") from None
            if said == word:
                return instant

    def until_ready(self) -> Listener:
        """Listening, and past the look for work that every start begins with."""
        self.wait_for("ready")
        self.wait_for("heard")
        return self

    def hears(self, bell: Bell, *, seconds: float = 20.0) -> bool:
        """True once a ring was heard; rings again every 100 ms, as doors under traffic do."""
        for _ in range(int(seconds * 10)):
            bell.ring()
            try:
                self.wait_for("heard", seconds=0.1)
            except AssertionError:
                continue
            return True
        return False

    def count(self, word: str) -> int:
        """How often it said so since the last wait, up to its end."""
        self._reader.join()
        return [said for said, _ in self._facts.queue].count(word)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self, *, seconds: float = 15.0) -> int:
        return self._process.wait(timeout=seconds)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                word, instant = line.split()
                self._facts.put((word, int(instant)))
