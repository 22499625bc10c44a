"""Rows sent to PostgreSQL by COPY in its binary format: one with a large value in pieces, or many at once.

As a parameter of a statement the value would stand in memory three times, as it is, in the driver's parameter
and in the buffer of libpq, which never shrinks again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator

from mailer.store import dialect

_PIECE = 256 * 1024
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": signature, flags, no extension.
_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TAIL = struct.pack("!h", -1)
_NULL = struct.pack("!i", -1)
_LENGTH = struct.Struct("!i").pack


def insert_in_pieces(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """`row`, a value for each column of `table`, is inserted. Raises what SQLAlchemy would."""
    _copy(connection, table, _pieces(table, row), [column.name for column in table.columns])


def insert_rows(
    connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Each with a value for each of the columns `names`, in their order, of integers and short texts; other
    columns stay empty. Raises what SQLAlchemy would."""
    _copy(connection, table, _blocks([table.c[name] for name in names], rows), names)


def _copy(
    connection: Connection,
    table: Table,
    pieces: Iterable[bytes | bytearray | memoryview],
    names: Sequence[str],
) -> None:
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
    except psycopg.Error as error:
        dialect.hide_values(error)
        wrapped = DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=driver.closed
        )
        raise wrapped from error


def _blocks(columns: Sequence[Column[Any]], rows: Iterable[Sequence[Any]]) -> Iterator[bytes | bytearray]:
    head, null = struct.pack("!h", len(columns)), _NULL
    packers = [_of_short(column.type) for column in columns]
    yield _HEAD
    block = bytearray()
    for row in rows:
        block += head
        for pack, value in zip(packers, row, strict=True):
            block += null if value is None else pack(value)
        if len(block) >= _PIECE:
            yield block
            block = bytearray()
    yield block + _TAIL


def _of_short(kind: Any) -> Callable[[Any], bytes]:
    """What writes a value of a column with its length in front."""
    if isinstance(kind, TypeDecorator):
        kind = kind.impl
    if isinstance(kind, BigInteger):
        return partial(struct.Struct("!iq").pack, 8)
    if isinstance(kind, Integer):
        return partial(struct.Struct("!ii").pack, 4)
    return _text


def _text(value: str) -> bytes:
    octets = value.encode()
    return _LENGTH(len(octets)) + octets


def _pieces(table: Table, row: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
    yield _HEAD + struct.pack("!h", len(table.columns))
    for column in table.columns:
        value = row[column.name]
        if value is None:
            yield _NULL
            continue
        octets = _octets(column.type, value)
        yield struct.pack("!i", len(octets))
        for start in range(0, len(octets), _PIECE):
            yield octets[start : start + _PIECE]
    yield _TAIL


def _octets(kind: Any, value: Any) -> memoryview:
    if isinstance(kind, Boolean):
        return memoryview(b"\1" if value else b"\0")
    if isinstance(kind, BigInteger):
        return memoryview(struct.pack("!q", value))
    if isinstance(kind, Integer):
        return memoryview(struct.pack("!i", value))
    return memoryview(value.encode() if isinstance(value, str) else value)
