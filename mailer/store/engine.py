"""A store: one database, its transactions, and the one error that leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailer.store import dialect


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
        self._log: Path | None = None  # SQLite's write-ahead log
        self.body_folder: Path | None = None
        if self.is_sqlite:
            path = Path(parsed.database or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            if kernel_lock:
                self._lock = dialect.KernelLock(path.with_suffix(".lock"))
            self._log = path.with_name(f"{path.name}-wal")
            self.body_folder = path.parent / "bodies"
            self._engine = dialect.sqlite_engine(parsed)
        else:
            self._engine = dialect.postgresql_engine(parsed, prepare=prepare)
        self._reading = dialect.reading(self._engine)
        self._writing = dialect.writing(self._engine)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable transaction: committed when the block ends, rolled back when it raises.

        Raises StoreUnavailable when the database cannot be reached, CommitUnknown when the answer
        to COMMIT was lost.
        """
        with self._lock.held() if self._lock else nullcontext(), self._guard():
            connection = self._writing.connect()
            try:
                connection.begin()
                yield connection
                self._commit(connection)
            except BaseException:
                _abandon(connection)
                raise
            finally:
                _give_back(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot: what others commit meanwhile is not seen. Keep it under a second."""
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

    def checkpoint(self, *, from_bytes: int = 0) -> None:
        """Folds SQLite's write-ahead log back once it has grown so far; nothing to do on PostgreSQL.

        Writers wait for it, and it waits for the disk: too often is felt by whoever is being accepted.
        """
        if self._log is None or not self._log.exists() or self._log.stat().st_size < from_bytes:
            return
        with self._lock.held() if self._lock else nullcontext(), self._guard():
            raw = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            with raw:
                dialect.checkpoint(raw)

    def close(self) -> None:
        self._engine.dispose()
        if self._lock:
            self._lock.close()
            self._lock = None

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
