"""What commands share: options, settings, the store, and how results are printed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailer.cli.faults import CommandFailed

if TYPE_CHECKING:
    from mailer.config import Settings
    from mailer.identity.vault import Vault
    from mailer.ids import IdMaker
    from mailer.store import Store

_F = TypeVar("_F", bound=Callable[..., Any])

data_dir_option: Callable[[_F], _F] = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Data folder (MAILER_DATA_DIR; default ./data)."
)
json_option: Callable[[_F], _F] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON value."
)


def load_settings(**overrides: object) -> Settings:
    """Raises ConfigError."""
    from mailer.config import Settings

    return Settings.load(os.environ, overrides)


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The database, if it is there and of this release. Makes nothing."""
    from mailer.store import Store, schema

    file = sqlite_file(settings)
    if file is not None and not file.exists():
        raise CommandFailed(f"there is no database at {file}: `mailer up` or `mailer db upgrade` makes it")
    store = Store(settings.database_url, prepare=settings.database_prepare)
    try:
        schema.check(store)
        yield store
    finally:
        store.close()


def open_vault(settings: Settings, store: Store) -> Vault:
    """The installation's secret, proved to be this database's."""
    from mailer.identity import installation
    from mailer.identity.vault import Vault

    vault = Vault(installation.secret_of(settings.secret_file, settings.secret))
    installation.recognise(store, vault)
    return vault


def sqlite_file(settings: Settings) -> Path | None:
    scheme, _, path = settings.database_url.partition(":///")
    return Path(path.partition("?")[0]) if scheme == "sqlite" else None


@contextmanager
def id_maker(store: Store) -> Iterator[IdMaker]:
    """Ids for a command's own rows, under a process number that no other process has."""
    from mailer import clock
    from mailer.ids import IdMaker
    from mailer.queue import incarnations

    me = incarnations.register(
        store,
        role="command",
        host=os.uname().nodename[:64],
        pid=os.getpid(),
        now=clock.now(),
        wall_ms=clock.wall_ms(),
    )
    try:
        yield IdMaker(me.process_number, clock.wall_ms)
    finally:
        incarnations.end(store, me.id, now=clock.now())


def print_json(value: object) -> None:
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is not padded."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def moment(at: datetime | None) -> str:
    """An instant for people, in UTC; empty for none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
