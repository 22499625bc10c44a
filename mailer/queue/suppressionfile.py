"""Lists as CSV (RFC 4180): read in pieces and written as rows are read, so that a million take no memory.

The first line names the columns: `address` (or `recipient`, or what ends in "mail") holds an
address or a domain, as suppressiontext.py has it; `stream`, `reason`, `note`, `created_at` and `expires_at`
may be there and may be empty; others are passed over. A row that cannot be read is named by its line, and the
others are taken all the same. What stands already stays as it is, so that a file may be read again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from mailer.compose.control import read_instant
from mailer.ids import IdMaker
from mailer.policy.suppression import Reason
from mailer.policy.suppressionkey import Keys
from mailer.queue import suppressionentries as entries
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import IMPORT, STOP, Entry
from mailer.queue.suppressiontext import read_target, written
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare, names_of
from mailer.store.copying import insert_rows
from mailer.store.tables import stream, suppression

COLUMNS = ("address", "stream", "reason", "note", "created_at", "expires_at")
FAULTS_NAMED = 1000
_ADDRESS_ENDINGS = ("address", "recipient", "mail")  # as other services' lists have it
_AT_ONCE = 5000
_PAGE = 5000
_LONGEST_LINE = 8192
_REASONS = frozenset(Reason)


class NoList(ValueError):
    """The file is no list at all: a sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that was not taken. line: of the file, from 1."""

    line: int
    detail: str


@dataclass(slots=True)
class Outcome:
    """added: new entries. known: those that stood already. refused: rows with a fault; the first are
    named."""

    added: int = 0
    known: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, line: int, detail: str) -> None:
        self.refused += 1
        if len(self.faults) < FAULTS_NAMED:
            self.faults.append(Fault(line, detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """Into the list of one tenant, or the operator's.

    streams   names of the tenant's streams to their ids
    only      names of the streams that whoever imports may say; None: any, and none
    added_by  an API key's id, or who gave the command
    """

    store: Store
    keys: Keys
    tenant_id: int
    new_id: IdMaker
    now: Callable[[], datetime]
    added_by: str
    streams: Mapping[str, int] = field(default_factory=dict)
    only: frozenset[str] | None = None

    def run(self, lines: Iterable[str]) -> Outcome:
        """Every piece of some thousand rows is durable by itself. Raises NoList, StoreUnavailable."""
        rows = csv.reader(_short(lines))
        try:
            columns = _columns(next(rows, []))
            outcome = Outcome()
            piece: list[Entry] = []
            for row in rows:
                if not row:
                    continue
                self._take(row, columns, rows.line_num, piece, outcome)
                if len(piece) >= _AT_ONCE:
                    self._write(piece, outcome)
                    piece = []
        except csv.Error as error:
            raise NoList(f"the file is not CSV: {error}") from None
        if piece:
            self._write(piece, outcome)
        return outcome

    def _take(
        self,
        row: Sequence[str],
        columns: Mapping[str, int],
        line: int,
        piece: list[Entry],
        outcome: Outcome,
    ) -> None:
        try:
            piece.append(
                self._entry({name: row[at].strip() for name, at in columns.items() if at < len(row)})
            )
        except ValueError as error:
            outcome.refuse(line, str(error))

    def _entry(self, row: Mapping[str, str]) -> Entry:
        """Raises ValueError."""
        reason = row.get("reason") or Reason.MANUAL
        if reason not in _REASONS:
            raise ValueError(f"the reason is none of {', '.join(Reason)}")
        return Entry(
            target=read_target(self.keys, row.get("address", "")),
            tenant_id=self.tenant_id,
            stream_id=self._stream_id(row.get("stream", "")),
            id=self.new_id(),
            reason=reason,
            cause=IMPORT,
            words=_words(row.get("note", "")),
            added_by=self.added_by,
            created_at=_instant("created_at", row) or self.now(),
            expires_at=_instant("expires_at", row),
        )

    def _stream_id(self, name: str) -> int:
        if self.only is not None and name not in self.only:
            raise ValueError("the API key is limited to other streams")
        if not name:
            return EVERY_STREAM
        if name not in self.streams:
            raise ValueError("there is no such stream")
        return self.streams[name]

    def _write(self, piece: Sequence[Entry], outcome: Outcome) -> None:
        """The last of rows about the same: they are entries of one key."""
        wanted = {(e.target.key_hash, e.stream_id): e for e in piece}
        try:
            with self.store.write() as connection:
                added = self._write_new(connection, wanted)
        except IntegrityError:  # somebody added one of them meanwhile: one by one there is no such race
            with self.store.write() as connection:
                entries.own(connection, [self.tenant_id])
                added = entries.add(connection, list(wanted.values()), self.new_id)
        outcome.added += added
        outcome.known += len(piece) - added

    def _write_new(self, connection: Connection, wanted: Mapping[tuple[str, int], Entry]) -> int:
        entries.own(connection, [self.tenant_id])
        standing = _standing(connection, self.tenant_id, {key_hash for key_hash, _ in wanted})
        new = [e for key, e in wanted.items() if key not in standing]
        renewed = entries.add(connection, [e for key, e in wanted.items() if standing.get(key)], self.new_id)
        if new:
            among = (min(e.id for e in new), max(e.id for e in new))
            # In the order of the key, which is the order of its index.
            _insert(connection, sorted((entries.values(e) for e in new), key=itemgetter("key_hash")))
            entries.order(
                connection, STOP, self.tenant_id, among, new_id=self.new_id, now=self.now(), twice=True
            )
        return len(new) + renewed


_ENTRY = bare(suppression)
_STANDING = Hot(
    select(_ENTRY.c.key_hash, _ENTRY.c.stream_id, _ENTRY.c.expires_at, _ENTRY.c.tenant_id).where(
        dialect.OneOf(_ENTRY.c.key_hash, "hashes")
    )
)
_INSERT = Hot(_ENTRY.insert(), names_of(suppression))


def _standing(connection: Connection, tenant_id: int, hashes: set[str]) -> dict[tuple[str, int], bool]:
    """Those that are there, and whether they end some time: then a new one may last longer."""
    rows = _STANDING.rows(connection, {"hashes": dialect.listed(connection, hashes)})
    return {
        (key_hash, stream_id): expires_at is not None
        for key_hash, stream_id, expires_at, owner in rows
        if owner == tenant_id
    }


def _insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if dialect.takes_pieces(connection):
        insert_rows(connection, suppression, rows)
    else:
        _INSERT.many(connection, rows)


def _short(lines: Iterable[str]) -> Iterator[str]:
    """A line that no entry needs is no list: it could be a file of another kind, all in one line."""
    for line in lines:
        if len(line) > _LONGEST_LINE:
            raise NoList(f"a line has more than {_LONGEST_LINE} characters")
        yield line


def _columns(head: Sequence[str]) -> dict[str, int]:
    """Raises NoList."""
    names = [name.strip().lstrip("\ufeff").lower() for name in head]
    found = {name: names.index(name) for name in COLUMNS if name in names and name != "address"}
    at = next((at for at, name in enumerate(names) if name.endswith(_ADDRESS_ENDINGS)), None)
    if at is None:
        raise NoList("the first line names no column `address`")
    return found | {"address": at}


def _words(text: str) -> str | None:
    """What can be stored and shown."""
    return "".join(c for c in text if c.isprintable()) or None


def _instant(column: str, row: Mapping[str, str]) -> datetime | None:
    text = row.get(column)
    if not text:
        return None
    try:
        return read_instant(text)
    except ValueError as error:
        raise ValueError(f"{column} {error}") from None


def export(store: Store, tenant_id: int, *, now: datetime) -> Iterator[str]:
    """Lines of CSV, the first names the columns; the oldest entries first. Erased ones are left out, since
    there is nothing to write; each piece is read by itself."""
    c = suppression.c
    found = (
        select(suppression, stream.c.name.label("stream"))
        .outerjoin(stream, stream.c.id == c.stream_id)
        .where(c.tenant_id == tenant_id)
        .order_by(c.id)
        .limit(_PAGE)
    )
    line = _Line()
    yield line.of(COLUMNS)
    after = 0
    while True:
        with store.read() as connection:
            rows = connection.execute(found.where(c.id > after)).all()
        lasting = [row for row in rows if row.domain is not None and (row.expires_at or now) >= now]
        if lasting:
            yield "".join(line.of(_cells(row)) for row in lasting)
        if len(rows) < _PAGE:
            return
        after = rows[-1].id


def _cells(row: Any) -> Sequence[str]:
    return (
        written(row) or "", row.stream or "", row.reason, row.words or "", row.created_at.isoformat(),
        row.expires_at.isoformat() if row.expires_at else "",
    )  # fmt: skip


class _Line:
    """Where the writer of CSV writes to: the last line."""

    def __init__(self) -> None:
        self._text = ""
        self._writer = csv.writer(self)

    def write(self, text: str) -> None:
        self._text = text

    def of(self, cells: Sequence[str]) -> str:
        self._writer.writerow(cells)
        return self._text
