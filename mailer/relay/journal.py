"""The journal: what a worker knows about final dots that the database does not know yet.

One line is appended just before the write that can carry a message's final dot, one when its reply is
heard: stores into a file mapped to memory, which survive the process but not the machine. (A write call
would do as well; it gives up the interpreter's lock, and to have that back beside the signers took the event
loop a fifth of its time.) A successor on the same host reads them after a crash (mailer/relay/recovery.py).
What they decide:

    no line             never sent: requeued, no attempt counted
    dot, no reply       in doubt: the peer may hold the message (RFC 5321 §4.5.3.2.6, RFC 1047)
    dot and reply       settled as heard
    dot, withdrawn      never sent: what may have gone with it the peer is known not to have taken

BDAT with the whole content goes out together with its envelope (RFC 3030 §2) and counts as the dot.
A line before that of the dot says that the peer was told what the submitter asked of DSNs.

The journal is cut into segments whose space is taken when they are begun, so that a full disk is met there
and nowhere else. One is deleted when all its attempts are settled. A kernel lock on `<incarnation>.lock` is
held for life, so that a successor sees at once that the owner died.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_SEGMENT_BYTES = 1024 * 1024
_LONGEST_LINE = 4096  # a reply is shortened to it


@dataclass(frozen=True, slots=True)
class DotRecord:
    """A final dot was, or may have been, sent. code and text: the reply; None when none was heard.

    passed_on  as in Report
    """

    code: int | None = None
    text: str = ""
    passed_on: bool = False


class Journal:
    """One worker incarnation's journal; it writes from the event loop and forgets from the settler.

    may_send_dot  asked after the line is written and before the dot is: False when the lease is stale.
                  In that order a worker that was stopped in between leaves the line, so that its
                  successor says "in doubt" and never "not sent".
    """

    def __init__(self, folder: Path, incarnation_id: int, may_send_dot: Callable[[], bool]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._id = incarnation_id
        self._may_send_dot = may_send_dot
        self._lock_fd = os.open(
            _lock_path(folder, incarnation_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        self._guard = threading.Lock()
        self._segment_of: dict[int, int] = {}
        self._withdrawn: set[int] = set()
        self._open_in: dict[int, int] = {0: 0}
        self._current = 0
        self._written = 0
        self._map = self._open_segment(0)

    def about_to_send_dot(self, attempt_id: int, *, passed_on: bool = False) -> bool:
        """Notes that the dot of this attempt may go out now; False: it must not.

        Without its line on record no dot is sent: a full disk stops deliveries, it hides none.
        """
        with self._guard:
            try:
                passing = b"P %d\n" % attempt_id if passed_on else b""
                self._append(passing + b"D %d\n" % attempt_id)
            except OSError as error:
                _log.error("journal.unwritable", attempt_id=attempt_id, error=str(error))
                return False
            self._withdrawn.discard(attempt_id)
            self._is_told_of_here(attempt_id)
        return self._may_send_dot()

    def withdrawn(self, attempt_id: int) -> None:
        """Notes that the peer has not taken what went out with the dot, and will not: another may follow.

        If that fails, a crash before the settle leaves it in doubt.
        """
        with self._guard:
            try:
                self._append(b"U %d\n" % attempt_id)
            except OSError as error:
                _log.error("journal.unwritable", attempt_id=attempt_id, error=str(error))
                return
            self._withdrawn.add(attempt_id)
            self._is_told_of_here(attempt_id)

    def _is_told_of_here(self, attempt_id: int) -> None:
        """The current segment has the last word on an attempt: an earlier one is not kept for it."""
        before = self._segment_of.get(attempt_id)
        if before == self._current:
            return
        self._segment_of[attempt_id] = self._current
        self._open_in[self._current] += 1
        if before is not None:
            self._leave_segment(before)

    def _leave_segment(self, segment: int) -> None:
        self._open_in[segment] -= 1
        if segment != self._current and not self._open_in[segment]:
            del self._open_in[segment]
            _segment_path(self._folder, self._id, segment).unlink(missing_ok=True)

    def heard(self, attempt_id: int, code: int, text: str) -> None:
        """Notes the reply to the dot. If that fails, a crash before the settle leaves it in doubt."""
        one_line = text.replace("\r", " ").replace("\n", " ")
        with self._guard:
            try:
                words = one_line.replace("\0", " ").encode("utf-8", "replace")[:_LONGEST_LINE]
                self._append(b"R %d %d %s\n" % (attempt_id, code, words))
            except OSError as error:
                _log.error("journal.unwritable", attempt_id=attempt_id, error=str(error))

    def knows(self, attempt_id: int) -> bool:
        """Whether a dot of this attempt may have gone out."""
        with self._guard:
            return attempt_id in self._segment_of and attempt_id not in self._withdrawn

    def forget(self, attempt_ids: Iterable[int]) -> None:
        """These attempts are settled; segments that hold no other are deleted."""
        with self._guard:
            for attempt_id in attempt_ids:
                segment = self._segment_of.pop(attempt_id, None)
                self._withdrawn.discard(attempt_id)
                if segment is not None:
                    self._leave_segment(segment)

    def close(self, *, settled: bool) -> None:
        """Ends the journal; with everything settled its files are deleted, else a successor reads them."""
        self._map.close()
        if settled:
            discard(self._folder, self._id)
        os.close(self._lock_fd)

    def _append(self, line: bytes) -> None:
        """Raises OSError: there is no room for another segment."""
        if self._written + len(line) > len(self._map):
            self._roll()
        end = self._written + len(line)
        self._map[self._written : end] = line
        self._written = end

    def _roll(self) -> None:
        new = self._open_segment(self._current + 1)
        self._map.close()
        self._map = new
        self._current += 1
        self._open_in[self._current] = 0
        self._written = 0

    def _open_segment(self, number: int) -> mmap.mmap:
        path = _segment_path(self._folder, self._id, number)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Or a store into it would be answered by SIGBUS once the disk is full.
            os.posix_fallocate(fd, 0, _SEGMENT_BYTES)
            return mmap.mmap(fd, _SEGMENT_BYTES)
        finally:
            os.close(fd)


def read_journal(folder: Path, incarnation_id: int) -> dict[int, DotRecord] | None:
    """What that incarnation noted, by attempt id; None when its journal is gone.

    A line that was not written whole counts for nothing: what it would have allowed was not done yet.
    """
    segments = sorted(folder.glob(f"{incarnation_id}.*.log"))
    if not segments:
        return None
    records: dict[int, DotRecord] = {}
    passed_on: set[int] = set()
    for segment in segments:
        *lines, _torn = segment.read_bytes().rstrip(b"\0").split(b"\n")
        for line in lines:
            _read_line(line, records, passed_on)
    return {i: replace(r, passed_on=True) if i in passed_on else r for i, r in records.items()}


def _read_line(line: bytes, records: dict[int, DotRecord], passed_on: set[int]) -> None:
    if b"\0" in line:  # stored in part
        return
    fields = line.split(b" ", 3)
    if fields[0] == b"D" and len(fields) == 2 and fields[1].isdigit():
        records.setdefault(int(fields[1]), DotRecord())
    elif (
        fields[0] == b"R"
        and len(fields) == 4
        and b"\0" not in line
        and fields[1].isdigit()
        and fields[2].isdigit()
    ):
        records[int(fields[1])] = DotRecord(int(fields[2]), fields[3].decode("utf-8", "replace"))
    elif fields[0] == b"U" and len(fields) == 2 and fields[1].isdigit():
        records.pop(int(fields[1]), None)
        passed_on.discard(int(fields[1]))
    elif fields[0] == b"P" and len(fields) == 2 and fields[1].isdigit():
        passed_on.add(int(fields[1]))


def orphans(folder: Path) -> list[tuple[int, int]]:
    """Incarnations whose process is gone, each with the descriptor that now holds its lock.

    Whoever holds the lock recovers alone; close the descriptor when done.
    """
    found = []
    for path in folder.glob("*.lock"):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        if path.exists() and path.stem.isdigit():
            found.append((int(path.stem), fd))
        else:  # another successor finished between our look and our lock
            os.close(fd)
    return found


def discard(folder: Path, incarnation_id: int) -> None:
    """Deletes a journal whose attempts are all settled."""
    for segment in folder.glob(f"{incarnation_id}.*.log"):
        segment.unlink(missing_ok=True)
    _lock_path(folder, incarnation_id).unlink(missing_ok=True)


def host_identity(folder: Path, fresh: str) -> str:
    """Names whoever can read this folder's journals; made once (`fresh`) and kept beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "host"
    try:
        with path.open("x") as new:
            new.write(fresh)
    except FileExistsError:
        pass
    return path.read_text() or fresh


def _lock_path(folder: Path, incarnation_id: int) -> Path:
    return folder / f"{incarnation_id}.lock"


def _segment_path(folder: Path, incarnation_id: int, number: int) -> Path:
    return folder / f"{incarnation_id}.{number:06d}.log"
