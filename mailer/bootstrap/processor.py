"""Which processor a role's threads run on.

Of a process's threads one at a time runs Python. To hand that right over between two processors costs tens of
microseconds, more than most of what is done in a turn, and more on a virtual machine; on one processor it is
a switch of threads. So a busy role keeps its threads on one processor, each role on another as
far as there are any. Measured on two virtual processors: a quarter less CPU for a message, a third more
messages.

Threads that sign one message after the other are let go: they are outside the interpreter for most of their
time. Those that sign by the eight (`mailer.rsabatch`) hardly are, and stay: let go, they took the door's
processor and its caches from it. Since they stay, an eighth more messages and 8 % less CPU; where they sign
one by one, staying would cost an eighth of the messages.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


def stay_on_one(number: int, data_dir: Path) -> None:
    """The calling thread, and those that it starts from now on, run on one of the processors we may use.

    number    of the role on this host, from 0: neighbours get other processors
    data_dir  tells installations on one machine apart, so that they do not all begin at the first
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        return
    first = zlib.crc32(bytes(data_dir.resolve()))
    _run_on({allowed[(first + number) % len(allowed)]})


def run_anywhere() -> None:
    """The calling thread may use every processor again."""
    # The kernel takes away those that the process may not use (sched_setaffinity(2)).
    _run_on(set(range(os.cpu_count() or 1)))


def _run_on(processors: set[int]) -> None:
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:  # a processor was taken away, or a sandbox forbids it: it is only for speed
        _log.warning("processor.not_chosen", error=str(error))
