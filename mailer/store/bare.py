"""The hot statements: compiled once, without Python-side types.

A typed column converts every value of every row, and SQLAlchemy builds a parameter set for each: for
inserts of a few rows that is most of their cost. A `Hot` statement is Core all the same, so it stands
once for both engines, but its text is compiled once and values go to the driver as they are. So the
caller passes instants as microseconds (types.to_microseconds) and JSON as text (`as_json`), and what
comes back is such, too.

On SQLite it also goes past SQLAlchemy's execution context, which takes ten times what the statement does
(dialect.py). Rows are sent one by one there: one UPDATE of many rows out of a VALUES list, which is one step
of the driver, takes three times as long in SQLite, and fewer turns of the interpreter's lock gained nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        return dialect.change_each(connection, compiled.text, [compiled.shape(row) for row in rows])

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


class _Compiled:
    """The text for one engine, and its parameters in the order the driver wants them."""

    def __init__(self, statement: ClauseElement, names: list[str] | None, connection: Connection) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect, column_keys=names)
        self.text: str = compiled.string
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


def _as_it_is(row: Mapping[str, Any]) -> Any:
    return row
