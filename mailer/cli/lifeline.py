"""How a child ends with its parent, whatever ended the parent, and talks on when nobody reads."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2), <linux/prctl.h>


def tie_to(parent: int) -> bool:
    """SIGTERM comes when `parent`, our parent process, dies. False: it is dead already.

    The child asks for itself, after exec: the signal is set before the parent is looked at, so a
    parent that dies in between is noticed one way or the other.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    sys.stdout = Spout(sys.stdout.fileno())
    sys.stderr = Spout(sys.stderr.fileno())
    return os.getppid() == parent


class Spout(io.TextIOWrapper):
    """Standard output that falls silent when its reader dies, where Python's own would raise.

    A role whose supervisor was killed still drains for up to a minute; a log line must not stop that.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(
            os.fdopen(fd, "wb", buffering=0, closefd=False), encoding="utf-8", write_through=True
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(text)
