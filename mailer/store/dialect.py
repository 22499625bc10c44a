"""Everything that differs between SQLite and PostgreSQL; nothing else may ask which engine it is."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    Table,
    TableClause,
    bindparam,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from mailer.store.types import to_microseconds

_Result = TypeVar("_Result")
_WRITES = "mailer_writes"
_APPLICATION = "ecm-mailer"
_SQLITE_PREPARED = 512  # statements a connection keeps; each hot one has several lengths (bare.py)
_BROKEN, _WHOLE = b"!", b"."
_SQLITE_BUSY_SECONDS = 10  # readers against a checkpoint only; writers queue on the kernel lock


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def takes_pieces(connection: Connection) -> bool:
    """A large value is better sent by copying.py. On SQLite there is no wire, and large bodies are files."""
    return not is_sqlite(connection)


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if is_sqlite(connection) else postgresql.insert(table)


def upsert(table: TableClause) -> postgresql.Insert:
    """An insert with ON CONFLICT that is spelt alike by both engines, for statements compiled once."""
    return postgresql.insert(table)


def fetch(connection: Connection, statement: str, parameters: Any) -> Sequence[Sequence[Any]]:
    """All rows that a driver-level statement returns."""
    if not is_sqlite(connection):
        return connection.exec_driver_sql(statement, parameters).all()
    return _past(connection, statement, lambda driver: driver.execute(statement, parameters).fetchall())


def change(connection: Connection, statement: str, parameters: Any) -> int:
    """Runs a driver-level statement that returns nothing; how many rows it changed."""
    if not is_sqlite(connection):
        return connection.exec_driver_sql(statement, parameters).rowcount
    return _past(connection, statement, lambda driver: driver.execute(statement, parameters).rowcount)


def change_each(connection: Connection, statement: str, rows: Sequence[Any]) -> int:
    """Runs a driver-level statement once for each set of parameters; how many rows it changed in all."""
    if not is_sqlite(connection):
        return connection.exec_driver_sql(statement, rows).rowcount
    return _past(connection, statement, lambda driver: driver.executemany(statement, rows).rowcount)


def _past(connection: Connection, statement: str, use: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """Past SQLAlchemy's execution context, which takes ten times what the statement does on SQLite.

    On a network that is little beside the round trip, so PostgreSQL keeps it, with its care for
    connections that die. Raises what SQLAlchemy would, while rows are fetched too.
    """
    driver: Any = connection.connection.dbapi_connection
    try:
        return use(driver)
    except sqlite3.Error as error:
        wrapped = DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True)
        raise wrapped from error


class OneOf(ColumnElement[bool]):
    """Whether a column's value is in a list that is one parameter, made with `listed`.

    An IN list has as many parameters as values, so that its text must be made anew for every call.
    """

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column = column
        self.values: BindParameter[Any] = bindparam(name)


@compiles(OneOf, "sqlite")
def _one_of_sqlite(element: OneOf, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = compiler.process(element.column, **kwargs), compiler.process(element.values, **kwargs)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled names, bound values


@compiles(OneOf, "postgresql")
def _one_of_postgresql(element: OneOf, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = compiler.process(element.column, **kwargs), compiler.process(element.values, **kwargs)
    return f"{column} = ANY ({values})"


def listed(connection: Connection, values: Collection[int] | Collection[str]) -> Any:
    """The parameter of `OneOf`: integers or text, not both."""
    return msgspec.json.encode(values).decode() if is_sqlite(connection) else list(values)


class StartsWith(ColumnElement[bool]):
    """Whether a column's text begins with a prefix, by an index: of PostgreSQL one with text_pattern_ops."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any], prefix: str) -> None:
        self.column = column
        self.first: BindParameter[Any] = bindparam(None, prefix)
        self.behind: BindParameter[Any] = bindparam(None, prefix + "\U0010ffff")


@compiles(StartsWith, "sqlite")
def _starts_with_sqlite(element: StartsWith, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, first, behind = _parts_of(element, compiler, kwargs)
    return f"({column} >= {first} AND {column} < {behind})"


@compiles(StartsWith, "postgresql")
def _starts_with_postgresql(element: StartsWith, compiler: SQLCompiler, **kwargs: Any) -> str:
    """Octet by octet: other comparisons go by the language of the database."""
    column, first, behind = _parts_of(element, compiler, kwargs)
    return f"({column} ~>=~ {first} AND {column} ~<~ {behind})"


def _parts_of(element: StartsWith, compiler: SQLCompiler, kwargs: dict[str, Any]) -> list[str]:
    return [compiler.process(part, **kwargs) for part in (element.column, element.first, element.behind)]


class ListLength(ColumnElement[int]):
    """How many members the JSON list in a column has."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column


@compiles(ListLength, "sqlite")
def _list_length_sqlite(element: ListLength, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"json_array_length({compiler.process(element.column, **kwargs)})"


@compiles(ListLength, "postgresql")
def _list_length_postgresql(element: ListLength, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"json_array_length(CAST({compiler.process(element.column, **kwargs)} AS json))"


class KernelLock:
    """One writer at a time among all processes of a host, in the kernel's own order.

    SQLite's busy_timeout sleeps and polls, so that under load an unlucky writer waits for seconds;
    flock queues. Threads of one process share the file description, hence the thread lock.

    What all writers must know of the log is a mark in the file: it is read and set by who holds the lock. Its
    space is taken beforehand, since it is set where the disk fails.
    """

    def __init__(self, path: Path, *, is_waited_for: bool = True) -> None:
        """is_waited_for=False: SQLite's own lock is waited for instead, to measure what this one is worth."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._threads = threading.Lock()
        self._is_waited_for = is_waited_for
        with self.held():
            if not os.pread(self._fd, 1, 0):
                self.is_log_broken = False

    @property
    def is_log_broken(self) -> bool:
        """Whether a part of the log may not be on disk, with later commits behind it."""
        return os.pread(self._fd, 1, 0) == _BROKEN

    @is_log_broken.setter
    def is_log_broken(self, broken: bool) -> None:
        os.pwrite(self._fd, _BROKEN if broken else _WHOLE, 0)

    @contextmanager
    def held(self) -> Iterator[None]:
        if not self._is_waited_for:
            yield
            return
        with self._threads:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


def sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": _SQLITE_BUSY_SECONDS, "cached_statements": _SQLITE_PREPARED},
        pool_size=20,
        max_overflow=20,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",  # keeps the log in order; who committed flushes it (disklog.py)
        "wal_autocheckpoint=0",  # the sweeper checkpoints, under the lock
        "journal_size_limit=134217728",  # the log keeps its space up to here (disklog.py)
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write may fail at once with SQLITE_BUSY, whatever the timeout,
    # so a writing transaction says so from the start.
    writes = connection.get_execution_options().get(_WRITES)
    change(connection, "BEGIN IMMEDIATE" if writes else "BEGIN", ())


def postgresql_engine(url: URL, *, prepare: bool) -> Engine:
    """READ COMMITTED to write, no session state; no server-side prepare, for poolers in transaction mode."""
    arguments: dict[str, Any] = {
        "connect_timeout": 5,
        "prepare_threshold": 5 if prepare else None,
        "application_name": _APPLICATION,
    }
    engine = create_engine(
        url, connect_args=arguments, pool_size=20, max_overflow=20, pool_pre_ping=False, pool_recycle=1800,
        hide_parameters=True,  # an error is logged with its text, which would show mail
    )  # fmt: skip
    event.listen(engine, "handle_error", _hide_values)
    return engine


def _hide_values(context: ExceptionContext) -> None:
    hide_values(context.original_exception, context.sqlalchemy_exception)


def hide_values(*errors: BaseException | None) -> None:
    """Leaves an error its first line. PostgreSQL says more: its DETAIL and CONTEXT quote rows and keys."""
    for error in errors:
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0], *error.args[1:])


def reading(engine: Engine) -> Engine:
    """The same engine and pool, whose transactions see the database as it was at their first statement."""
    if engine.dialect.name == "sqlite":
        return engine  # its transactions do so already
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing(engine: Engine) -> Engine:
    """The same engine and pool, whose transactions take the write lock from their first statement."""
    return engine.execution_options(**{_WRITES: True})


def instant(connection: Connection, now: datetime) -> int:
    """Microseconds since 1970 by the database's clock, which all hosts share; on SQLite, which has none and
    lives on one host, the caller's `now`."""
    if is_sqlite(connection):
        return to_microseconds(now)
    return int(connection.execute(_CLOCK).scalar_one())


_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")


def checkpoint(connection: Connection) -> None:
    """Moves the write-ahead log into the database file, as far as readers allow, without waiting for them.

    Where the caller holds the kernel lock, the whole log is moved, so that the next writer starts it anew and
    it does not grow without bound.
    """
    connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()


def fold(connection: Connection) -> bool:
    """Moves all of the log, waiting for readers; False: they did not make way. The caller holds the lock.

    Each connection is told once that the log was not written well, and then goes on.
    """
    statement = "PRAGMA wal_checkpoint(FULL)"
    try:
        rows = fetch(connection, statement, ())
    except DBAPIError:
        rows = fetch(connection, statement, ())
    busy, in_log, moved = rows[0]
    return not busy and in_log == moved


def end_stalled(connection: Connection, seconds: float) -> int:
    """Ends our transactions whose client was silent for so long; returns how many.

    No transaction of ours waits for anything outside, so its process is stopped or its host is gone, and
    the rows it locked (its own incarnation's among them) would block its fencing for ever. Stopped between
    two statements it is "idle in transaction"; stopped inside a pipeline (an executemany) it is "active"
    and waits for the client, with the state changed when the pipeline began. COPY alone may rightly send
    for longer than this. It is rolled back like any lost connection.
    By the server, since a setting would be session state; and on SQLite not at all: there the lock is the
    kernel's, and only the end of the process frees it.
    """
    if is_sqlite(connection):
        return 0
    ended = connection.execute(_END_STALLED, {"application": _APPLICATION, "seconds": seconds})
    return len(ended.all())


_END_STALLED = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :application"
    " AND (state LIKE 'idle in transaction%'"
    " OR (state = 'active' AND wait_event_type = 'Client' AND query NOT LIKE 'COPY %'))"
    " AND pid <> pg_backend_pid()"
    " AND state_change < clock_timestamp() - make_interval(secs => :seconds)"
)


def one_at_a_time(connection: Connection) -> None:
    """Until this transaction ends, nobody else passes here; SQLite's write lock does that already."""
    if not is_sqlite(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7310771)").close()
