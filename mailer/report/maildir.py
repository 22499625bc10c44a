"""A Maildir that keeps the newest messages (https://cr.yp.to/proto/maildir.html).

One process delivers; any number read and remove. A message is written under `tmp/` and renamed into `new/`,
so a reader never sees half of one. Its key is the unique part of its file name and sorts by time of arrival.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_KEY = re.compile(r"(\d{10})\.M(\d{6})P\d+Q\d{7}\.[A-Za-z0-9-]+", re.ASCII)
_HOST = "mailer"  # the last part of a key; one machine writes, so it only has to be constant
_STALE_SECONDS = 36 * 3600  # the Maildir rule for what may be removed from tmp/


@dataclass(frozen=True, slots=True)
class Delivery:
    """key: of the file. data: the whole file, trace fields first."""

    key: str
    data: bytes


class Maildir:
    """The writer's side. `keep` is the number of messages kept; older ones are removed."""

    def __init__(self, folder: Path, *, keep: int, wall_ms: Callable[[], int]) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._folder = folder
        self._keep = keep
        self._wall_ms = wall_ms
        self._count = itertools.count()
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clean()
        self._kept = deque(sorted(keys(folder)))
        self._prune()

    def new_key(self) -> str:
        """A key not used before, by this process or another."""
        seconds, ms = divmod(self._wall_ms(), 1000)
        return f"{seconds:010d}.M{ms * 1000:06d}P{os.getpid()}Q{next(self._count):07d}.{_HOST}"

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Keeps all of them, or none: raises OSError and leaves nothing behind."""
        written: list[str] = []
        try:
            for delivery in deliveries:
                written.append(delivery.key)
                self._write(delivery)
            for delivery in deliveries:
                self._path("tmp", delivery.key).rename(self._path("new", delivery.key))
        except OSError:
            for key, folder in itertools.product(written, ("tmp", "new")):
                self._path(folder, key).unlink(missing_ok=True)
            raise
        self._kept.extend(written)
        self._prune()

    def _write(self, delivery: Delivery) -> None:
        path = self._path("tmp", delivery.key)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 -- from the descriptor made above
            left = memoryview(delivery.data)
            while left:
                left = left[file.write(left) :]

    def _path(self, folder: str, key: str) -> Path:
        return self._folder / folder / key

    def _prune(self) -> None:
        while len(self._kept) > self._keep:
            path = find(self._folder, self._kept.popleft())
            if path is not None:
                path.unlink(missing_ok=True)

    def _clean(self) -> None:
        """What a killed process had begun is removed once nobody can still be writing it."""
        oldest = self._wall_ms() / 1000 - _STALE_SECONDS
        for entry in os.scandir(self._folder / "tmp"):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()


def keys(folder: Path) -> Iterator[str]:
    """The keys of all kept messages, in no order. Files that we did not name are not ours to show."""
    for name in ("new", "cur"):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder / name) as entries:
            for entry in entries:
                key = entry.name.partition(":")[0]
                if _KEY.fullmatch(key):
                    yield key


def find(folder: Path, key: str) -> Path | None:
    """Where a message lies: in `new/`, or in `cur/` once a mail reader has seen it. None if it is gone.

    A key from outside is checked against the form of our keys, so none leads out of the folder.
    """
    if not _KEY.fullmatch(key):
        return None
    fresh = folder / "new" / key
    if fresh.exists():
        return fresh
    return next((folder / "cur").glob(f"{key}*"), None)


def remove(folder: Path, key: str) -> bool:
    """The message is gone; false if it was before."""
    path = find(folder, key)
    if path is None:
        return False
    try:
        path.unlink()
    except FileNotFoundError:  # the writer made room, or another reader was first
        return False
    return True


def is_key(text: str) -> bool:
    """Whether it has the form of our keys."""
    return _KEY.fullmatch(text) is not None


def arrived_at(key: str) -> datetime:
    """When the message was taken; raises ValueError if `key` is none of ours."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError("not a key of this Maildir")
    return datetime.fromtimestamp(int(found[1]), UTC).replace(microsecond=int(found[2]))
