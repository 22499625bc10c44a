"""`mailer db upgrade | check`."""

from __future__ import annotations

import secrets
from typing import Any

import click

from mailer.cli.options import data_dir_option, json_option, load_settings, open_store, print_json


@click.group()
def db() -> None:
    """Make the database schema that of this release, or see whether it is.

    `mailer up` upgrades by itself; where the roles run apart, run `mailer db upgrade` before them.
    """


@db.command()
@data_dir_option
@json_option
def upgrade(as_json: bool, **given: Any) -> None:
    """Make the database, or bring it to this release's schema.

    Safe to repeat, and to run from several hosts at once. A schema of a newer release is refused.
    """
    from mailer.store import Store, schema

    settings = load_settings(**given)
    store = Store(settings.database_url, prepare=settings.database_prepare)
    try:
        version = schema.upgrade(store, epoch=secrets.token_hex(8))
    finally:
        store.close()
    _tell(version, as_json)


@db.command()
@data_dir_option
@json_option
def check(as_json: bool, **given: Any) -> None:
    """Say whether the database has this release's schema; exit code 1 if not."""
    from mailer.store import schema

    with open_store(load_settings(**given)) as store:
        version = schema.check(store)
    _tell(version, as_json)


def _tell(version: str, as_json: bool) -> None:
    if as_json:
        print_json({"schema": version})
    else:
        click.echo(f"the database schema is {version}, as this release needs it")
