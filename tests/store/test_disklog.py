"""SQLite: what was committed is on disk before anyone hears of it, and a disk that fails is told of."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from mailer.store import CommitUnknown, Store, StoreUnavailable, dialect, schema
from mailer.store.disklog import DiskLog
from mailer.store.tables import meta

REAL_FLUSH = os.fdatasync


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with_schema = Store(url_in(tmp_path))
    schema.upgrade(with_schema, epoch="e")
    with_schema.close()
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store(url_in(folder))
    yield store
    store.close()


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder}/m.sqlite3"


def put(store: Store, key: str, value: str = "v") -> None:
    with store.write() as c:
        c.execute(meta.insert().values(key=key, value=value))


def keys(store: Store) -> set[str]:
    with store.read() as c:
        return set(c.execute(select(meta.c.key).where(meta.c.key.like("k%"))).scalars())


@dataclass
class Disk:
    """Stands before fdatasync(2). `fails`: the next flushes that do; `gate`: what they wait for first."""

    folder: Path
    fails: int = 0
    flushes: int = 0
    gate: threading.Event | None = None
    waiting: threading.Event = field(default_factory=threading.Event)
    seen: list[Path] = field(default_factory=list)
    keeps: bool = False
    copying: threading.Lock = field(default_factory=threading.Lock)  # or folding: a copy amid that is torn

    def flush(self, fd: int) -> None:
        self.flushes += 1
        if self.gate is not None:
            self.waiting.set()
            assert self.gate.wait(10)
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        copy = self._copy() if self.keeps else None
        REAL_FLUSH(fd)
        if copy is not None:
            self.seen.append(copy)

    def _copy(self) -> Path:
        """What a power cut leaves at the least, once the flush has returned."""
        kept = self.folder / "kept" / f"{self.flushes}"
        kept.mkdir(parents=True)
        with self.copying:
            for name in ("m.sqlite3", "m.sqlite3-wal"):
                shutil.copy(self.folder / name, kept / name)
        return kept


@pytest.fixture
def disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(folder)
    monkeypatch.setattr(os, "fdatasync", disk.flush)
    return disk


def kept_keys(copy: Path) -> set[str]:
    with closing(sqlite3.connect(copy / "m.sqlite3")) as c:
        return {key for (key,) in c.execute("SELECT key FROM meta WHERE key LIKE 'k%'")}


def in_threads(*bodies: Callable[[], None]) -> None:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(t.is_alive() for t in threads)


def test_what_a_write_returned_from_survives_a_power_cut(store: Store, disk: Disk) -> None:
    """At every return the last flush that ended had it: by four writers, with the log begun anew between."""
    disk.keeps = True
    lost = []

    def write(writer: int) -> None:
        for number in range(12):
            key = f"k{writer}.{number}"
            put(store, key)
            copy = disk.seen[-1]  # others may have ended later, and hold no less
            if key not in kept_keys(copy):
                lost.append((key, copy))
            if number % 4 == writer:
                with disk.copying:
                    store.checkpoint()

    in_threads(*(lambda n=n: write(n) for n in range(4)))

    assert lost == []
    assert len(keys(store)) == 48


def test_others_write_while_one_waits_for_the_disk(store: Store, disk: Disk) -> None:
    disk.gate = threading.Event()
    first = threading.Thread(target=put, args=(store, "k1"))
    first.start()
    assert disk.waiting.wait(10)

    with store.write(flush=False) as c:
        c.execute(meta.insert().values(key="k2", value="v"))
    seen = keys(store)
    disk.gate.set()
    first.join(10)

    assert seen == {"k1", "k2"}
    assert not first.is_alive()


def test_those_who_wait_share_a_flush(store: Store, disk: Disk) -> None:
    put(store, "k0")
    before, disk.gate = disk.flushes, threading.Event()
    writers = [threading.Thread(target=put, args=(store, f"k{n}")) for n in range(1, 9)]
    writers[0].start()
    assert disk.waiting.wait(10)
    for writer in writers[1:]:
        writer.start()
    while len(keys(store)) < 9:
        pass
    disk.gate.set()
    for writer in writers:
        writer.join(10)

    # One for the first, one for those who came during it, and one at most for who asked between the two.
    assert disk.flushes - before <= 3


def test_who_looks_is_told_at_the_commit_before_the_disk(store: Store, disk: Disk) -> None:
    told = []

    with store.write(on_commit=lambda: told.append((keys(store), disk.flushes))) as c:
        before = disk.flushes
        c.execute(meta.insert().values(key="k1", value="v"))

    assert told == [({"k1"}, before)]
    assert disk.flushes == before + 1


def test_nobody_is_told_of_what_was_rolled_back(store: Store, disk: Disk) -> None:
    told: list[str] = []
    with pytest.raises(ZeroDivisionError), store.write(on_commit=lambda: told.append("told")) as c:
        c.execute(meta.insert().values(key="k1", value="v"))
        raise ZeroDivisionError

    assert told == []


def test_what_a_durable_read_saw_is_on_disk(store: Store, disk: Disk) -> None:
    """It may be another's, who still waits for the disk."""
    disk.keeps = True
    with store.write(flush=False) as c:
        c.execute(meta.insert().values(key="k1", value="v"))
    with store.read() as c:
        c.execute(select(meta)).all()
    unflushed = disk.flushes

    with store.read(durable=True) as c:
        c.execute(select(meta)).all()

    assert (unflushed, kept_keys(disk.seen[-1])) == (0, {"k1"})


def test_a_flush_that_fails_is_made_good_by_the_database_itself(store: Store, disk: Disk) -> None:
    """All of the log is folded, so that nothing stands behind a part that is not on disk."""
    disk.fails = 1

    put(store, "k1")

    with closing(sqlite3.connect(f"file:{disk.folder}/m.sqlite3?immutable=1", uri=True)) as c:
        without_log = {key for (key,) in c.execute("SELECT key FROM meta WHERE key LIKE 'k%'")}
    assert without_log == {"k1"}
    put(store, "k2")
    assert keys(store) == {"k1", "k2"}


def test_where_that_fails_too_nobody_writes_until_it_works(
    store: Store, folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits behind what is not on disk would be lost with it, however well they are flushed themselves:
    another process may not write either."""
    monkeypatch.setattr(dialect, "fold", lambda _connection: False)
    disk.fails = 1
    with pytest.raises(CommitUnknown, match="may not be on disk"):
        put(store, "k1")

    other = Store(url_in(folder))
    for refused in (store, other):
        with pytest.raises(StoreUnavailable):
            put(refused, "k2")
    with pytest.raises(StoreUnavailable), store.read(durable=True) as c:
        c.execute(select(meta)).all()
    seen = keys(store)
    monkeypatch.undo()

    put(other, "k3")
    put(store, "k4")
    other.close()
    assert seen == {"k1"}  # it is seen, and nobody was told that it stands
    assert keys(store) == {"k1", "k3", "k4"}


def test_the_mark_of_a_broken_log_needs_no_space_of_a_full_disk(store: Store, folder: Path) -> None:
    assert (folder / "m.lock").stat().st_size == 1


def test_a_mark_that_cannot_be_set_is_no_success(
    store: Store, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _octets: bytes, _at: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fails = 1
    with monkeypatch.context() as patch, pytest.raises(CommitUnknown):
        patch.setattr(os, "pwrite", refuse)
        put(store, "k1")

    put(store, "k2")
    assert keys(store) == {"k1", "k2"}


def test_a_reader_that_keeps_the_log_from_the_database_is_no_success(store: Store, folder: Path) -> None:
    """SQLite reports both figures, and no error."""
    put(store, "k1")
    reader = sqlite3.connect(f"{folder}/m.sqlite3")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM meta").fetchone()
    put(store, "k2")
    raw = store._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with raw:
        raw.exec_driver_sql("PRAGMA busy_timeout=50").close()
        beside_a_reader = dialect.fold(raw)
        reader.close()
        alone = dialect.fold(raw)

    assert (beside_a_reader, alone) == (False, True)


def test_the_length_is_what_was_written_since_the_log_was_begun(store: Store, folder: Path) -> None:
    path = folder / "m.sqlite3-wal"
    log = DiskLog(path)
    for number in range(200):
        put(store, f"k{number}", "v" * 2000)
    grown, size = log.length, path.stat().st_size

    store.checkpoint()
    put(store, "k")

    assert grown == size  # to the last frame
    assert path.stat().st_size == size  # the space is kept
    assert 0 < log.length < grown / 10


def test_a_log_that_is_not_there_has_no_length_and_needs_no_flush(tmp_path: Path) -> None:
    log = DiskLog(tmp_path / "none-wal")

    log.watch()
    log.flush()

    assert log.length == 0


def test_a_log_that_was_made_anew_is_the_one_that_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some-wal"
    path.write_bytes(b"old")
    log = DiskLog(path)
    log.watch()
    path.unlink()
    path.write_bytes(b"new")
    flushed = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: flushed.append(os.fstat(fd).st_ino))

    log.flush()
    log.close()

    assert flushed == [path.stat().st_ino]
