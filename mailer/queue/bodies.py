"""Content at rest: small bodies in the row, large ones in fsynced files named by their hash (SQLite).

A file is written and fsynced, with its folder, before the row that names it is committed; a crash in
between leaves a file that nothing names, which the sweeper removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.copying import insert_in_pieces
from mailer.store.tables import content

FILE_FROM_BYTES = 256 * 1024
_PIECES_FROM_BYTES = 1024 * 1024


class StoredContent(msgspec.Struct, frozen=True):
    """A message's content as composed; body_hash is its relaxed DKIM body hash, empty if not yet made."""

    headers: bytes
    body: bytes
    body_hash: str
    is_8bit: bool
    needs_utf8: bool


class MissingBody(Exception):
    """A row names a body file that is not there: the folder was damaged or not restored."""


_CONTENT = bare(content)
_LOAD = Hot(
    select(
        _CONTENT.c.id,
        _CONTENT.c.headers,
        _CONTENT.c.body,
        _CONTENT.c.body_file,
        _CONTENT.c.body_hash,
        _CONTENT.c.is_8bit,
        _CONTENT.c.needs_utf8,
    ).where(dialect.OneOf(_CONTENT.c.id, "ids"))
)


def keep(folder: Path | None, body: bytes) -> tuple[bytes | None, str | None]:
    """(body, None) for the row, or (None, file name) once the file is durable.

    The row that names the file must be committed within an hour, or `remove_unnamed` may take it.
    """
    if folder is None or len(body) < FILE_FROM_BYTES:
        return body, None
    name = hashlib.sha256(body).hexdigest()
    path = folder / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if path.exists():
            os.utime(path)  # a young file is never removed
            return None, name
    _write_durably(path, body)
    return None, name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Between finding a file to share and touching it, nobody removes it."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write_durably(path: Path, body: bytes) -> None:
    half = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with half.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    for folder in (path.parent, path.parent.parent):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


_NAMED = select(content.c.body_file).where(content.c.body_file.in_(bindparam("names", expanding=True)))


def insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """The contents are in the transaction; `rows` as `keep` left them, at least one."""
    large = [row for row in rows if _goes_in_pieces(connection, row)]
    for row in large:
        insert_in_pieces(connection, content, row)
    if len(large) < len(rows):
        _INSERT.many(connection, [row for row in rows if not _goes_in_pieces(connection, row)])


def _goes_in_pieces(connection: Connection, row: Mapping[str, Any]) -> bool:
    body = row["body"]
    return body is not None and len(body) >= _PIECES_FROM_BYTES and dialect.takes_pieces(connection)


_INSERT = Hot(bare(content).insert(), names_of(content))


def remove_unnamed(store: Store, *, now: datetime, age: timedelta = timedelta(hours=1)) -> int:
    """Removes body files that no row names and nobody touched for `age`; returns how many."""
    folder = store.body_folder
    if folder is None or not folder.is_dir():
        return 0
    old = [p for p in folder.glob("??/*") if p.stat().st_mtime < (now - age).timestamp()]
    removed = 0
    for start in range(0, len(old), 500):
        batch = old[start : start + 500]
        with _alone(folder):
            with store.read() as connection:
                named = set(connection.execute(_NAMED, {"names": [p.name for p in batch]}).scalars())
            for path in batch:
                if path.name not in named and path.stat().st_mtime < (now - age).timestamp():
                    path.unlink()
                    removed += 1
    return removed


def load(store: Store, ids: Collection[int]) -> Mapping[int, StoredContent]:
    """The contents of `ids`; one that is missing is not in the result. Raises MissingBody."""
    with store.read() as connection:
        rows = _LOAD.rows(connection, {"ids": dialect.listed(connection, ids)})
    return {row[0]: _stored(store.body_folder, row) for row in rows}


def _stored(folder: Path | None, row: Sequence[Any]) -> StoredContent:
    _, headers, body, body_file, body_hash, is_8bit, needs_utf8 = row
    if body_file is not None:
        body = _read_file(folder, body_file)
    return StoredContent(headers, body, body_hash, bool(is_8bit), bool(needs_utf8))


def _read_file(folder: Path | None, name: str) -> bytes:
    try:
        if folder is None:
            raise FileNotFoundError(name)
        return (folder / name[:2] / name).read_bytes()
    except FileNotFoundError as error:
        raise MissingBody(f"body file {name} is missing") from error
