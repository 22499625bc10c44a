"""Tables without Python-side types, for the hot statements.

A typed column converts every value of every row: an instant that is the same for a whole group is
converted a thousand times. Here values go to the driver as they are, so the caller passes instants as
microseconds (types.to_microseconds) and JSON as text (`as_json`); what comes back is such, too.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Table, TableClause, column
from sqlalchemy import table as table_clause

_encode = msgspec.json.Encoder().encode


def bare(table: Table) -> TableClause:
    """The same table and columns, values passed through."""
    return table_clause(table.name, *(column(c.name) for c in table.columns))


def as_json(value: Any) -> str:
    """The text that a Json column holds for `value`."""
    return _encode(value).decode()
