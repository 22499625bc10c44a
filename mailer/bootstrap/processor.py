"""Which processor a role's threads run on.

Of a process's threads one at a time runs Python. To hand that right over between two processors costs tens of
microseconds, more than most of what is done in a turn, and more on a virtual machine; on one processor it is
a switch of threads. So a busy role keeps its threads on one processor, each role on another as
far as there are any. Measured on two virtual processors: a quarter less CPU for a message, a third more
messages.

Threads that sign one message after the other are let go: they are outside the interpreter for most of their
time. Those that sign by the eight (`mailer.signbatch`) hardly are, and stay: let go, they took the door's
processor and its caches from it. Since they stay, an eighth more messages and 8 % less CPU; where they sign
one by one, staying would cost an eighth of the messages. The door's processor is left to it by all others,
since callers wait for it.

And the door is batch work (sched(7), SCHED_BATCH): a thread that wakes up, mostly because another of it let
go of the interpreter, takes no processor from it but waits until it has done its piece. A few more messages
for 6 % less CPU. Not the worker: its mail would arrive later where there is little of it (by a tenth).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_DOOR = 0


def stay_on_one(number: int, data_dir: Path) -> None:
    """The calling thread, and those that it starts from now on, run on one of the processors we may use.

    number    of the role on this host, 0 for the door: neighbours get other processors
    data_dir  tells installations on one machine apart, so that they do not all begin at the first
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) > 1:
        _run_on({_processor_of(number, data_dir, allowed)})


def leave_the_door(data_dir: Path) -> None:
    """The calling thread, and those that it starts from now on, keep off the door's processor."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) > 1:
        _run_on({*allowed} - {_processor_of(_DOOR, data_dir, allowed)})


def _processor_of(number: int, data_dir: Path, allowed: Sequence[int]) -> int:
    return allowed[(zlib.crc32(bytes(data_dir.resolve())) + number) % len(allowed)]


def run_anywhere() -> None:
    """The calling thread may use every processor again."""
    # The kernel takes away those that the process may not use (sched_setaffinity(2)).
    _run_on(set(range(os.cpu_count() or 1)))


def _run_on(processors: set[int]) -> None:
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:  # a processor was taken away, or a sandbox forbids it: it is only for speed
        _log.warning("processor.not_chosen", error=str(error))


def work_in_pieces() -> None:
    """The calling thread, and those that it starts from now on, do not interrupt others."""
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # likewise
        _log.warning("processor.not_in_pieces", error=str(error))
