"""Lists as CSV (RFC 4180): read in pieces and written as rows are read, so that a million take no memory.

The first line names the columns: `address` (or `recipient`, or what ends in "mail") holds an
address or a domain, as suppressiontext.py has it; `stream`, `reason`, `note`, `created_at` and `expires_at`
may be there and may be empty; others are passed over. A row that cannot be read is named by its line, and the
others are taken all the same. What stands already stays as it is, so that a file may be read again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from mailer.compose.control import read_instant
from mailer.ids import IdMaker
from mailer.policy.suppression import Reason
from mailer.policy.suppressionkey import Keys, Target
from mailer.queue import suppressionentries as entries
from mailer.queue.suppressing import EVERY_STREAM
from mailer.queue.suppressionentries import IMPORT, STOP, WORDS_CHARS, Entry
from mailer.queue.suppressiontext import read_target, written
from mailer.store import Store, dialect
from mailer.store.bare import Hot, bare
from mailer.store.copying import insert_rows
from mailer.store.tables import stream, suppression
from mailer.store.types import to_microseconds

COLUMNS = ("address", "stream", "reason", "note", "created_at", "expires_at")
FAULTS_NAMED = 1000
_ADDRESS_ENDINGS = ("address", "recipient", "mail")  # as other services' lists have it
_AT_ONCE = 5000  # on SQLite, where nobody else writes meanwhile
_AT_ONCE_BY_COPY = 20_000  # the more at once, the more of them share a page of an index
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

    def wrote(self, piece: Future[tuple[int, int]] | None) -> None:
        """piece: its rows that were new, and that stood; None: there is none. Raises what writing it did."""
        if piece is not None:
            added, known = piece.result()
            self.added += added
            self.known += known


class _Row(NamedTuple):
    """What a row of the file says of its entry (columns of `suppression`)."""

    target: Target
    stream_id: int
    id: int
    reason: str
    words: str | None
    created_at: datetime
    expires_at: datetime | None


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
        """Every piece of some thousand rows is durable by itself. Raises NoList, StoreUnavailable.

        While one piece is written the next one is read.
        """
        outcome = Outcome()
        with ThreadPoolExecutor(1, "suppression-import") as writer:
            writing: Future[tuple[int, int]] | None = None
            for piece in self._pieces(lines, outcome):
                outcome.wrote(writing)
                writing = writer.submit(self._write, piece)
            outcome.wrote(writing)
        return outcome

    def _pieces(self, lines: Iterable[str], outcome: Outcome) -> Iterator[Sequence[_Row]]:
        rows = csv.reader(_short(lines))
        most = _AT_ONCE if self.store.is_sqlite else _AT_ONCE_BY_COPY
        try:
            places = _places(next(rows, []))
            piece: list[_Row] = []
            for row in rows:
                if not row:
                    continue
                try:
                    piece.append(self._read([row[at].strip() if at < len(row) else "" for at in places]))
                except ValueError as error:
                    outcome.refuse(rows.line_num, str(error))
                if len(piece) >= most:
                    yield piece
                    piece = []
        except csv.Error as error:
            raise NoList(f"the file is not CSV: {error}") from None
        if piece:
            yield piece

    def _read(self, cells: Sequence[str]) -> _Row:
        """cells: in the order of COLUMNS. Raises ValueError."""
        address, stream_name, reason, note, created_at, expires_at = cells
        if not reason:
            reason = Reason.MANUAL
        elif reason not in _REASONS:
            raise ValueError(f"the reason is none of {', '.join(Reason)}")
        return _Row(
            read_target(self.keys, address),
            self._stream_id(stream_name),
            self.new_id(),
            reason,
            _words(note) if note else None,
            _instant("created_at", created_at) if created_at else self.now(),
            _instant("expires_at", expires_at) if expires_at else None,
        )

    def _stream_id(self, name: str) -> int:
        if self.only is not None and name not in self.only:
            raise ValueError("the API key is limited to other streams")
        if not name:
            return EVERY_STREAM
        if name not in self.streams:
            raise ValueError("there is no such stream")
        return self.streams[name]

    def _write(self, piece: Sequence[_Row]) -> tuple[int, int]:
        """Rows that made or renewed an entry, and others. The last of rows about the same is taken: they are
        entries of one key."""
        wanted = {(row.target.key_hash, row.stream_id): row for row in piece}
        try:
            with self.store.write() as connection:
                added = self._write_new(connection, wanted)
        except IntegrityError:  # somebody added one of them meanwhile: one by one there is no such race
            with self.store.write() as connection:
                entries.own(connection, [self.tenant_id])
                added = entries.add(connection, [self._entry(row) for row in wanted.values()], self.new_id)
        return added, len(piece) - added

    def _write_new(self, connection: Connection, wanted: Mapping[tuple[str, int], _Row]) -> int:
        entries.own(connection, [self.tenant_id])
        standing = _standing(connection, self.tenant_id, {key_hash for key_hash, _ in wanted})
        ending = [self._entry(wanted[key]) for key, ends in standing.items() if ends and key in wanted]
        renewed = entries.add(connection, ending, self.new_id)
        new = [wanted[key] for key in sorted(wanted.keys() - standing.keys())]  # in the order of their index
        if new:
            among = (min(row.id for row in new), max(row.id for row in new))
            _insert(connection, map(self._values, new))
            entries.order(
                connection, STOP, self.tenant_id, among, new_id=self.new_id, now=self.now(), twice=True
            )
        return len(new) + renewed

    def _entry(self, row: _Row) -> Entry:
        return Entry(
            target=row.target,
            tenant_id=self.tenant_id,
            stream_id=row.stream_id,
            id=row.id,
            reason=row.reason,
            cause=IMPORT,
            words=row.words,
            added_by=self.added_by,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )

    def _values(self, row: _Row) -> Sequence[Any]:
        """As the columns _WRITTEN hold them."""
        target, stream_id, row_id, reason, words, created_at, expires_at = row
        return (
            target.key_hash, self.tenant_id, stream_id, row_id, target.what, target.address,
            target.domain or None, reason, IMPORT, words, self.added_by, to_microseconds(created_at),
            None if expires_at is None else to_microseconds(expires_at),
        )  # fmt: skip


_WRITTEN = (
    "key_hash", "tenant_id", "stream_id", "id", "what", "address", "domain", "reason", "cause", "words",
    "added_by", "created_at", "expires_at",
)  # fmt: skip
_ENTRY = bare(suppression)
_STANDING = Hot(
    select(_ENTRY.c.key_hash, _ENTRY.c.stream_id, _ENTRY.c.expires_at, _ENTRY.c.tenant_id).where(
        dialect.OneOf(_ENTRY.c.key_hash, "hashes")
    )
)
_INSERT = Hot(_ENTRY.insert(), _WRITTEN)


def _standing(connection: Connection, tenant_id: int, hashes: set[str]) -> dict[tuple[str, int], bool]:
    """Those that are there, and whether they end some time: then a new one may last longer."""
    rows = _STANDING.rows(connection, {"hashes": dialect.listed(connection, hashes)})
    return {
        (key_hash, stream_id): expires_at is not None
        for key_hash, stream_id, expires_at, owner in rows
        if owner == tenant_id
    }


def _insert(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    if dialect.takes_pieces(connection):
        insert_rows(connection, suppression, _WRITTEN, rows)
    else:
        _INSERT.many(connection, [dict(zip(_WRITTEN, row, strict=True)) for row in rows])


def _short(lines: Iterable[str]) -> Iterator[str]:
    """A line that no entry needs is no list: it could be a file of another kind, all in one line."""
    for line in lines:
        if len(line) > _LONGEST_LINE:
            raise NoList(f"a line has more than {_LONGEST_LINE} characters")
        yield line


def _places(head: Sequence[str]) -> Sequence[int]:
    """Where each of COLUMNS stands in a row; behind its end: nowhere. Raises NoList."""
    names = [name.strip().lstrip("\ufeff").lower() for name in head]
    address = next((at for at, name in enumerate(names) if name.endswith(_ADDRESS_ENDINGS)), None)
    if address is None:
        raise NoList("the first line names no column `address`")
    others = (names.index(name) if name in names else _LONGEST_LINE for name in COLUMNS[1:])
    return address, *others


def _words(text: str) -> str | None:
    """What can be stored and shown."""
    return "".join(c for c in text if c.isprintable())[:WORDS_CHARS] or None


def _instant(column: str, text: str) -> datetime:
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
