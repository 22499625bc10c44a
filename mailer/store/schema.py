"""The schema's version: upgrade it, or say in one sentence why this code cannot use it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mailer.store import Store, dialect
from mailer.store.tables import event_shard, meta

_LOG_EPOCH = "log_epoch"


class SchemaMismatch(Exception):
    """The database was made by a newer release, or was not upgraded to this one."""


def upgrade(store: Store, *, epoch: str) -> str:
    """Brings the schema to this release's version, in one transaction; returns the version.

    epoch  names the event log if there is none yet. Raises SchemaMismatch for a newer schema.
    """
    with store.write() as connection:
        dialect.one_at_a_time(connection)
        config = _config(connection)
        _refuse_newer(connection, config)
        command.upgrade(config, "head")
        first = dialect.insert(connection, meta).values(key=_LOG_EPOCH, value=epoch)
        connection.execute(first.on_conflict_do_nothing())
        connection.execute(dialect.insert(connection, event_shard).values(shard=0).on_conflict_do_nothing())
        return _head(config)


def check(store: Store) -> str:
    """The schema's version; raises SchemaMismatch unless it is this release's."""
    with store.read() as connection:
        config = _config(connection)
        _refuse_newer(connection, config)
        current, head = _current(connection), _head(config)
        if current != head:
            raise SchemaMismatch(
                f"the database schema is {current or 'empty'}, this release needs {head}:"
                " run `mailer db upgrade`"
            )
        return head


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _head(config: Config) -> str:
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise SchemaMismatch("this release has no migrations: it is not installed completely")
    return head


def _refuse_newer(connection: Connection, config: Config) -> None:
    current = _current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database schema {current} is newer than this release: install the release that made it"
        )
