"""SQLite's write-ahead log on its way to the disk: a commit waits for it after it has let the next writer in.

SQLite's own way (synchronous=FULL) waits inside the transaction, so that nobody writes meanwhile and no two
writers share a wait. Here it only appends, in order (NORMAL); whoever committed has the log flushed before
anyone hears of it, and one fdatasync(2) is good for all who asked before it began.

A flush that failed says nothing of what the disk holds, and the next may succeed without having written what
that one did not: Linux tells each open file of an error once. So the file is held open from before the first
write, a failure lasts until the log was folded into the database, and until then nobody writes (engine.py).
"""

from __future__ import annotations

import bisect
import itertools
import os
import threading
from pathlib import Path

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24  # then a page


def _salts(fd: int, number: int, frame: int) -> bytes:
    return os.pread(fd, 8, _HEADER_BYTES + number * frame + 8)


class DiskLog:
    """One process's hold on the log. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._flushing = threading.Lock()
        self._tickets = itertools.count(1)
        self._flushed = 0  # tickets below are on disk
        self._failure: OSError | None = None

    def watch(self) -> None:
        """Opens the log, so that no failure is missed. Call before writing to it."""
        if self._fd is None:
            with self._flushing:
                self._open()

    def flush(self) -> None:
        """What was appended before the call is on disk when it returns.

        Raises OSError: it is not, or nobody knows, and will not be before `folded`.
        """
        mine = next(self._tickets)
        with self._flushing:
            if self._failure is not None:
                raise OSError(self._failure.errno, "an earlier part of the log was not written")
            if self._flushed > mine:
                return
            begun = next(self._tickets)
            try:
                self._open()
                if self._fd is not None:
                    os.fdatasync(self._fd)
            except OSError as error:
                self._failure = error
                raise
            self._flushed = begun

    def folded(self) -> None:
        """All that was in the log is in the database now, on disk."""
        with self._flushing:
            self._failure = None

    @property
    def length(self) -> int:
        """Octets that were appended since the log was last begun anew.

        The file is longer: it keeps its space, since writing over it costs less than growing. The frames of
        this round bear the salts of the header (https://www.sqlite.org/walformat.html §1.2).
        """
        try:
            with self._path.open("rb", buffering=0) as file:
                header = file.read(_HEADER_BYTES)
                if len(header) < _HEADER_BYTES:
                    return 0
                frame = _FRAME_HEADER_BYTES + int.from_bytes(header[8:12], "big")
                written = (os.fstat(file.fileno()).st_size - _HEADER_BYTES) // frame
                mine = bisect.bisect(
                    range(written), False, key=lambda n: _salts(file.fileno(), n, frame) != header[16:24]
                )
                return _HEADER_BYTES + mine * frame
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        with self._flushing:
            self._let_go()

    def _open(self) -> None:
        """None: there is no log, since it was folded as the last connection closed, and then deleted."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self._let_go()
            return
        if self._fd is not None and os.path.samestat(os.fstat(self._fd), there):
            return
        self._let_go()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
