"""Waiting for signals without polling."""

from __future__ import annotations

import os
import select
import signal
from types import TracebackType
from typing import Self

STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Signals:
    """While entered, SIGTERM, SIGINT, SIGHUP and SIGCHLD are heard by `wait` and do nothing else."""

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Under nohup SIGHUP is ignored, and stays so.
        wanted = {*STOPS, signal.SIGCHLD} - {one for one in (signal.SIGHUP,) if _is_ignored(one)}
        self._before = {one: signal.signal(one, _heard) for one in wanted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float | None) -> frozenset[signal.Signals]:
        """The signals that arrived, as soon as one did; none after `seconds` (None: for ever)."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        numbers = os.read(self._read, 4096) if ready else b""
        return frozenset(signal.Signals(number) for number in numbers)


def _heard(_number: int, _frame: object) -> None:
    """The wake-up descriptor has the number already."""


def _is_ignored(one: signal.Signals) -> bool:
    return signal.getsignal(one) is signal.SIG_IGN
