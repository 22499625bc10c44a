"""Content at rest: small bodies in the row, large ones in fsynced files named by their hash (SQLite).

A file is written and fsynced, with its folder, before the row that names it is committed; a crash in
between leaves a file that nothing names, which the sweeper removes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import bindparam, select

from mailer.store import Store
from mailer.store.tables import content

FILE_FROM_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A message's content as composed; body_hash is its relaxed DKIM body hash."""

    headers: bytes
    body: bytes
    body_hash: str
    is_8bit: bool
    needs_utf8: bool


class MissingBody(Exception):
    """A row names a body file that is not there: the folder was damaged or not restored."""


_LOAD = select(content).where(content.c.id.in_(bindparam("ids", expanding=True)))


def keep(folder: Path | None, body: bytes) -> tuple[bytes | None, str | None]:
    """(body, None) for the row, or (None, file name) once the file is durable."""
    if folder is None or len(body) < FILE_FROM_BYTES:
        return body, None
    name = hashlib.sha256(body).hexdigest()
    path = folder / name[:2] / name
    if not path.exists():
        _write_durably(path, body)
    return None, name


def _write_durably(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.{id(body)}.part")
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


def load(store: Store, ids: Collection[int]) -> Mapping[int, StoredContent]:
    """The contents of `ids`; one that is missing is not in the result. Raises MissingBody."""
    with store.read() as connection:
        rows = connection.execute(_LOAD, {"ids": list(ids)}).all()
    return {row.id: _stored(store.body_folder, row) for row in rows}


def _stored(folder: Path | None, row: object) -> StoredContent:
    _, headers, body, name, body_hash, _, is_8bit, needs_utf8 = row  # type: ignore[misc]
    if name is not None:
        body = _read_file(folder, name)
    return StoredContent(headers, body, body_hash, is_8bit, needs_utf8)


def _read_file(folder: Path | None, name: str) -> bytes:
    try:
        if folder is None:
            raise FileNotFoundError(name)
        return (folder / name[:2] / name).read_bytes()
    except FileNotFoundError as error:
        raise MissingBody(f"body file {name} is missing") from error
