"""The hot statements: compiled once, without Python-side types.

A typed column converts every value of every row, and SQLAlchemy builds a parameter set for each: for
inserts of a few rows that is most of their cost. A `Hot` statement is Core all the same, so it stands
once for both engines, but its text is compiled once and values go to the driver as they are. So the
caller passes instants as microseconds (types.to_microseconds) and JSON as text (`as_json`), and what
comes back is such, too.

On SQLite it also goes past SQLAlchemy's execution context, which takes ten times what the statement does
(dialect.py), and many rows go in few statements: the driver lets go of the interpreter's lock in every step,
and beside a busy thread to get it back costs more than the step, all while the write lock is held (measured:
5 us a row alone, 800 beside an event loop; 30 to 100 in statements of 32 rows).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, TableClause, column
from sqlalchemy import table as table_clause
from sqlalchemy.sql.expression import ClauseElement

from mailer.store import dialect

_encode = msgspec.json.Encoder().encode


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
        """Runs it once for each of `rows`, at least one; returns how many rows it changed in all."""
        compiled = self._for(connection)
        shaped = [compiled.shape(row) for row in rows]
        if not compiled.folds:
            return dialect.change_each(connection, compiled.text, shaped)
        changed, at = 0, 0
        for size in _pieces(len(shaped)):
            values = [value for row in shaped[at : at + size] for value in row]
            changed += dialect.change(connection, compiled.folded(size), values)
            at += size
        return changed

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


_MOST_ROWS = 64  # of one statement; SQLite takes 32,766 parameters


def _pieces(rows: int) -> Iterator[int]:
    """Powers of two that add up to `rows`, so that there are few different texts to prepare."""
    while rows:
        size = min(1 << (rows.bit_length() - 1), _MOST_ROWS)
        yield size
        rows -= size


class _Compiled:
    """The text for one engine, and its parameters in the order the driver wants them.

    folds  many rows fit in one statement
    """

    def __init__(self, statement: ClauseElement, names: list[str] | None, connection: Connection) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect, column_keys=names)
        self.text: str = compiled.string
        self.folds = connection.dialect.name == "sqlite" and _can_fold(self.text)
        self._folded: dict[int, str] = {}
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

    def folded(self, rows: int) -> str:
        """The statement that does for `rows` at once what the text does for one."""
        text = self._folded.get(rows)
        if text is None:
            text = self._folded[rows] = self.text if rows == 1 else _fold(self.text, rows)
        return text


def _can_fold(text: str) -> bool:
    return text.startswith("INSERT ") or (text.startswith("UPDATE ") and _WHERE in text)


def _fold(text: str, rows: int) -> str:
    """An INSERT gets more rows. An UPDATE joins them: the n-th parameter is a column of a list of rows."""
    if text.startswith("INSERT "):
        return _ROW.sub(lambda row: ", ".join([row[0]] * rows), text, count=1)
    numbers = count(1)
    joined = re.sub(r"\?", lambda _: f"v.column{next(numbers)}", text)
    row = "(" + ", ".join("?" * text.count("?")) + ")"
    values = ", ".join([row] * rows)
    return joined.replace(_WHERE, f" FROM (VALUES {values}) AS v{_WHERE}", 1)


_WHERE = " WHERE "
_ROW = re.compile(r"(?<=VALUES )\([?, ]+\)")


def _as_it_is(row: Mapping[str, Any]) -> Any:
    return row
