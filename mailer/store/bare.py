"""The hot statements: compiled once, without Python-side types.

A typed column converts every value of every row, and SQLAlchemy builds a parameter set for each: for
inserts of a few rows that is most of their cost. A `Hot` statement is Core all the same, so it stands
once for both engines, but its text is compiled once and values go to the driver as they are. So the
caller passes instants as microseconds (types.to_microseconds) and JSON as text (`as_json`), and what
comes back is such, too.

Many rows go to SQLite in few statements: its driver gives the interpreter's lock away for every step, and
to get it back among busy threads takes up to 5 ms, spent while the one write lock is held. psycopg sends
them as a pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, TableClause, Update, bindparam, column
from sqlalchemy import table as table_clause
from sqlalchemy.sql.expression import ClauseElement

from mailer.store import dialect

_encode = msgspec.json.Encoder().encode

_LARGEST_BLOCK = 64  # rows of 20 columns are far below SQLite's 32,766 parameters
_INSERTED = re.compile(r"VALUES (\([?, ]+\))")


def bare(table: Table) -> TableClause:
    """The same table and columns, values passed through."""
    return table_clause(table.name, *(column(c.name) for c in table.columns))


def as_json(value: Any) -> str:
    """The text that a Json column holds for `value`."""
    return _encode(value).decode()


def names_of(table: Table, *, without: str = "") -> list[str]:
    """The columns an insert fills, in order."""
    return [c.name for c in table.columns if c.name != without]


class Hot:
    """A statement on bare tables that is run very often.

    names  the columns an insert fills; None for other statements, whose bind parameters say it
    """

    def __init__(self, statement: ClauseElement, names: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._names = list(names) if names is not None else None
        self._compiled: dict[str, _Compiled] = {}

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Inserts `rows`, at least one; returns how many were inserted."""
        compiled = self._for(connection)
        shaped: list[Any] = [compiled.shape(row) for row in rows]
        if not dialect.joins_rows(connection):
            return dialect.change(connection, compiled.text, shaped)
        return _in_blocks(connection, compiled.rows_text, shaped)

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows it returns. Booleans come as 0 and 1 from SQLite."""
        compiled = self._for(connection)
        return dialect.fetch(connection, compiled.text, compiled.shape(values))

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Runs it with one set of parameters; returns how many rows it changed."""
        compiled = self._for(connection)
        return dialect.change(connection, compiled.text, compiled.shape(values))

    def _for(self, connection: Connection) -> _Compiled:
        found = self._compiled.get(connection.dialect.name)
        if found is None:
            found = _Compiled(self._statement, self._names, connection)
            self._compiled[connection.dialect.name] = found
        return found


class HotUpdate:
    """An UPDATE of many rows, to values that each row has of its own.

    make   writes the statement, given what stands for a value by its name
    names  of those values
    """

    def __init__(
        self, make: Callable[[Callable[[str], ColumnElement[Any]]], Update], names: Sequence[str]
    ) -> None:
        self._singly = Hot(make(bindparam))
        given = table_clause("given", *(column(name) for name in names))
        self._jointly = make(lambda name: given.c[name])
        self._given = f"WITH given ({', '.join(names)}) AS (VALUES "
        self._row = f"({', '.join('?' * len(names))})"
        self._values = itemgetter(*names)
        self._compiled: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Updates once for each of `rows`, at least one; no two of them may mean the same row."""
        if not dialect.joins_rows(connection):
            self._singly.many(connection, rows)
            return
        text, fixed = self._for(connection)
        _in_blocks(
            connection,
            lambda count: f"{self._given}{', '.join([self._row] * count)}) {text}",
            [self._values(row) for row in rows],
            fixed,
        )

    def _for(self, connection: Connection) -> tuple[str, tuple[Any, ...]]:
        found = self._compiled.get(connection.dialect.name)
        if found is None:
            compiled: Any = self._jointly.compile(dialect=connection.dialect)
            fixed = tuple(compiled.binds[name].effective_value for name in compiled.positiontup)
            found = self._compiled[connection.dialect.name] = (compiled.string, fixed)
        return found


def _in_blocks(
    connection: Connection,
    text_for: Callable[[int], str],
    rows: Sequence[tuple[Any, ...]],
    fixed: tuple[Any, ...] = (),
) -> int:
    """Runs the statement for `rows`, some at a time; returns how many rows it changed in all.

    text_for  the statement for so many rows
    fixed     parameters that follow those of the rows
    """
    changed = 0
    for block in _blocks(rows):
        changed += dialect.change(connection, text_for(len(block)), (*chain.from_iterable(block), *fixed))
    return changed


def _blocks(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """`rows` in order, in blocks of a power of two: so few sizes that the driver keeps all prepared."""
    start = 0
    while (left := len(rows) - start) > 0:
        size = min(_LARGEST_BLOCK, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


class _Compiled:
    """The text for one engine, and its parameters in the order the driver wants them."""

    def __init__(self, statement: ClauseElement, names: list[str] | None, connection: Connection) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect, column_keys=names)
        self.text: str = compiled.string
        self._texts: dict[int, str] = {}
        fixed = {name: bound.effective_value for name, bound in compiled.binds.items() if not bound.required}
        order: Sequence[str] | None = compiled.positiontup
        if order is None:
            self.shape = (lambda row: fixed | dict(row)) if fixed else _as_it_is
        elif fixed:
            self.shape = lambda row: tuple([row[k] if k in row else fixed[k] for k in order])
        elif len(order) == 1:
            only = order[0]
            self.shape = lambda row: (row[only],)
        else:
            self.shape = itemgetter(*order)

    def rows_text(self, count: int) -> str:
        """An insert's text for so many rows."""
        found = self._texts.get(count)
        if found is None:
            before, values, after = _INSERTED.split(self.text, maxsplit=1)
            found = self._texts[count] = f"{before}VALUES {', '.join([values] * count)}{after}"
        return found


def _as_it_is(row: Mapping[str, Any]) -> Any:
    return row
