"""The embedded bell's mechanism: one named pipe per listening worker, in one folder.

Nothing here knows Celery. An `Ear` is a worker's end; `ring` writes one record to every ear that holds
none unread. Records are single lines, written whole or not at all (pipe(7): up to PIPE_BUF is atomic).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import select
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

# Every write end is opened without waiting: a pipe nobody reads answers ENXIO at once.
_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
# Read and write, so that the pipe never reports end of file when the last ringer leaves; a reader that
# only reads would then spin on it (fifo(7), Linux).
_LISTEN = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
_PIPE_BYTES = 65_536  # the capacity of a pipe (pipe(7)), hence of one read


class Ear:
    """A worker's end of the bell for one queue; to be heard of, it stands as a file in `folder`.

    Read by one thread. Bells that arrived together are one bell: `hear` drops all but the newest.
    """

    def __init__(self, folder: Path, queue: str) -> None:
        self._folder = folder
        # A process id alone is not unique: two containers may share the folder.
        self._path = folder / f"{_prefix(queue)}{os.getpid()}.{secrets.token_hex(8)}"
        self._fd = self._announce()

    def fileno(self) -> int:
        return self._fd

    def hear(self) -> bytes | None:
        """Takes what was rung and returns the newest record; None if it was only `wake`, or nothing."""
        records = [line for line in _drain(self._fd).split(b"\n") if line]
        return records[-1] if records else None

    def wake(self) -> None:
        """Ends a wait for this ear without a bell. Safe in a signal handler, from any thread."""
        with contextlib.suppress(BlockingIOError):  # full: the wait has ended already
            os.write(self._fd, b"\n")

    def renew(self) -> None:
        """Stands in the folder again if its file was removed under it (a cleaned data folder)."""
        if not self._path.exists():
            deaf, self._fd = self._fd, self._announce()
            os.close(deaf)

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _announce(self) -> int:
        """Opens before it becomes visible: a ringer removes a pipe that nobody holds open."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unseen = self._folder / f"+{self._path.name}"  # no queue's prefix: quote() leaves no "+"
        os.mkfifo(unseen, 0o600)
        fd = os.open(unseen, _LISTEN)
        unseen.rename(self._path)
        return fd


def ring(folder: Path, queue: str, record: bytes) -> int:
    """Every live ear of `queue` holds a bell; returns how many ears there are. Never waits.

    An ear with a bell unread is left as it is: its worker will look anyway, and later than this. A pipe
    whose worker died is removed. No ear is no error: a worker looks for itself when it starts.

    Raises ValueError for a record that is no single line or too long to be written whole, OSError if the
    folder or an ear may not be opened.
    """
    line = record + b"\n"
    if b"\n" in record or len(line) > select.PIPE_BUF:
        raise ValueError(f"a bell is one line of up to {select.PIPE_BUF} bytes, got {len(line)}")
    ears = 0
    for fd in _open_ears(folder, queue):
        ears += 1
        if _unread_bytes(fd) == 0:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # rung meanwhile; died meanwhile
                os.write(fd, line)
    return ears


def all_rung(folder: Path, queue: str) -> bool:
    """True if there are ears and each holds a bell unread: one more would change nothing."""
    unread = [_unread_bytes(fd) for fd in _open_ears(folder, queue)]
    return bool(unread) and min(unread) > 0


def purge(folder: Path, queue: str) -> int:
    """No ear of `queue` holds a bell; returns how many records were taken away."""
    return sum(_drain(fd).count(b"\n") for fd in _open_ears(folder, queue, _LISTEN))


def _prefix(queue: str) -> str:
    return quote(queue, safe="") + "@"


def _open_ears(folder: Path, queue: str, flags: int = _WRITE) -> Iterator[int]:
    """Yields each live ear's pipe, open while the caller looks at it."""
    prefix = _prefix(queue)
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]  # noqa: PTH208 - for every bell
    except FileNotFoundError:  # the first worker makes it
        return
    for name in names:
        fd = _open_ear(f"{folder}/{name}", flags)
        if fd is not None:
            try:
                yield fd
            finally:
                os.close(fd)


def _open_ear(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags)
    except FileNotFoundError:  # its worker left, or another ringer found it dead first
        return None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    Path(path).unlink(missing_ok=True)
    return None


def _unread_bytes(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), byteorder=sys.byteorder)


def _drain(fd: int) -> bytes:
    heard = bytearray()
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(fd, _PIPE_BYTES):
            heard += chunk
    return bytes(heard)
