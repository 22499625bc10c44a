"""A store: one database, its transactions, and the one error that leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailer.store import dialect
from mailer.store.disklog import DiskLog

_log = structlog.get_logger(__name__)

_PASSES_BESIDE_WRITERS = 2  # a second moves what was written during the first


class StoreUnavailable(Exception):
    """The database did not answer; nothing was written, or it is not known (CommitUnknown). Retry."""


class CommitUnknown(StoreUnavailable):
    """The answer to COMMIT was lost: the transaction may stand. Look its own ids up."""


class Store:
    """Opens transactions on one database. Safe to share between threads, not across a fork.

    body_folder  where bodies too large for a row lie; None where the database holds them all
    """

    def __init__(self, url: str, *, prepare: bool = False, kernel_lock: bool = True) -> None:
        """kernel_lock=False is for measuring what the lock is worth; it changes no result."""
        parsed = make_url(url)
        self.url = url
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._lock: dialect.KernelLock | None = None
        self._log: DiskLog | None = None
        self.body_folder: Path | None = None
        if self.is_sqlite:
            path = Path(parsed.database or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = dialect.KernelLock(path.with_suffix(".lock"), is_waited_for=kernel_lock)
            self._log = DiskLog(path.with_name(f"{path.name}-wal"))
            self.body_folder = path.parent / "bodies"
            self._engine = dialect.sqlite_engine(parsed)
        else:
            self._engine = dialect.postgresql_engine(parsed, prepare=prepare)
        self._reading = dialect.reading(self._engine)
        self._writing = dialect.writing(self._engine)

    @contextmanager
    def write(
        self, *, on_commit: Callable[[], None] | None = None, flush: bool = True
    ) -> Iterator[Connection]:
        """One durable transaction: committed when the block ends, rolled back when it raises.

        on_commit  called when others see what was written, perhaps before it is on disk: to tell them. They
                   see nothing they could lose, since what they write is on disk only after it
        flush      False: durable only after `flush`, which whoever writes so has to call

        Raises StoreUnavailable when the database cannot be reached, CommitUnknown when the answer
        to COMMIT was lost, or what was committed may not be on disk.
        """
        with self._held(), self._guard():
            connection = self._writing.connect()
            try:
                if self._log is not None:
                    self._log.watch()
                connection.begin()
                yield connection
                self._commit(connection)
            except BaseException:
                _abandon(connection)
                raise
            finally:
                _give_back(connection)
        if on_commit is not None:
            on_commit()
        if flush:
            self.flush()

    @contextmanager
    def read(self, *, durable: bool = False) -> Iterator[Connection]:
        """One consistent snapshot: what others commit meanwhile is not seen. Keep it under a second.

        durable  for what is answered for: what was seen is on disk when the block ends. On SQLite it may
                 have been committed a moment ago, by one who still waits for the disk
        """
        with self._guard():
            connection = self._reading.connect()
            try:
                connection.begin()
                yield connection
                connection.rollback()
            except BaseException:
                _abandon(connection)
                raise
            finally:
                _give_back(connection)
        if durable:
            self.flush()

    def checkpoint(self, *, from_bytes: int = 0) -> None:
        """Folds SQLite's write-ahead log back once it has grown so far; nothing to do on PostgreSQL.

        Most is moved beside the writers. Then they wait while the rest is, so that the log can begin anew:
        too often is felt by whoever is being accepted.
        """
        if self._log is None or self._log.length < max(from_bytes, 1):
            return
        for _ in range(_PASSES_BESIDE_WRITERS):
            with self._guard(), self._raw() as connection:
                dialect.checkpoint(connection)
        with self._held(), self._guard(), self._raw() as connection:
            dialect.checkpoint(connection)

    def close(self) -> None:
        self._engine.dispose()
        if self._log and self._lock:
            self._log.close()
            self._lock.close()
            self._log = self._lock = None

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One writer at a time, and none on a log of which part is not on disk. Raises StoreUnavailable."""
        if self._lock is None or self._log is None:
            yield
            return
        with self._lock.held():
            if self._lock.is_log_broken:
                self._fold(self._lock, self._log)
            yield

    def flush(self) -> None:
        """What was committed before, by anybody, is on disk when it returns; PostgreSQL sees to that itself.

        Raises CommitUnknown: what was committed is seen by all, and a power cut might take it back.
        """
        if self._lock is None or self._log is None:
            return
        try:
            self._log.flush()
        except OSError as error:
            _log.error("store.log_not_flushed", error=str(error))
            try:
                with self._lock.held():
                    self._lock.is_log_broken = True
                    self._fold(self._lock, self._log)
            except (StoreUnavailable, OSError) as unfolded:
                raise CommitUnknown(f"what was committed may not be on disk: {error}") from unfolded

    def _fold(self, lock: dialect.KernelLock, log: DiskLog) -> None:
        """Commits behind a part that is not on disk would not be found again, however well they are flushed:
        all of the log is written once more, to the database itself. Raises StoreUnavailable."""
        with self._guard(), self._raw() as connection:
            if not dialect.fold(connection):
                raise StoreUnavailable(
                    "a part of the log is not on disk, and readers keep it from the database"
                )
        log.folded()
        lock.is_log_broken = False
        _log.warning("store.log_folded")

    def _raw(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    @staticmethod
    def _commit(connection: Connection) -> None:
        try:
            connection.commit()
        except DBAPIError as error:
            raise CommitUnknown(f"the answer to COMMIT was lost: {error.orig}") from error

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if is_outage(error):
                raise StoreUnavailable(str(error.orig)) from error
            raise
        except PoolTimeout as error:
            raise StoreUnavailable("no database connection became free") from error


def is_outage(error: DBAPIError) -> bool:
    """True for a lost, refused or full database; False for a statement that is wrong (our bug)."""
    if error.connection_invalidated:
        return True
    return type(error.orig).__name__ in _OUTAGES


# SQLite's and psycopg's own classes for "not now", beside a connection that SQLAlchemy saw die.
_OUTAGES = frozenset(
    {
        "AdminShutdown",
        "CannotConnectNow",
        "ConnectionTimeout",
        "CrashShutdown",
        "DeadlockDetected",
        "DiskFull",
        "IdleInTransactionSessionTimeout",
        "InterfaceError",
        "OperationalError",
        "TooManyConnections",
    }
)


def _abandon(connection: Connection) -> None:
    try:
        connection.rollback()
    except SQLAlchemyError:
        # The connection is gone, and with it the transaction; the first error says why.
        connection.invalidate()


def _give_back(connection: Connection) -> None:
    try:
        connection.close()
    except SQLAlchemyError:
        connection.invalidate()
