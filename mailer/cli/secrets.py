"""`mailer secret list | rotate`: the secrets of return-path tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    moment,
    open_store,
    print_json,
    print_table,
)


@click.group()
def secret() -> None:
    """Secrets that addresses for returned mail are made with.

    A new one is for mail accepted after it begins; what was sent before is known by the one of its time.
    """


@secret.command("list")
@data_dir_option
@json_option
def list_(as_json: bool, **given: Any) -> None:
    """List them, newest first; never what they are."""
    from mailer.identity import return_paths

    with open_store(load_settings(**given)) as store:
        found = return_paths.listed(store)
    if as_json:
        print_json([{"starts_at": one.starts_at, "created_at": one.created_at} for one in found])
        return
    rows = [
        [moment(one.starts_at) if one.starts_at else "the beginning", moment(one.created_at)] for one in found
    ]
    print_table(["HOLDS FROM", "MADE AT"], rows)


@secret.command()
@click.option("--in", "lead", metavar="DURATION", default="10m", show_default=True, help="When it begins.")
@data_dir_option
def rotate(lead: str, **given: Any) -> None:
    """Make another one. It begins in ten minutes or later, when every process has read it."""
    from mailer import clock
    from mailer.config.values import parse_duration
    from mailer.identity import return_paths
    from mailer.identity.installation import recognise, secret_of
    from mailer.identity.vault import Vault

    settings = load_settings(**given)
    try:
        ahead: timedelta = parse_duration(lead)
    except ValueError as error:
        raise CommandFailed(f"--in {error}") from None
    with open_store(settings) as store:
        vault = Vault(secret_of(settings.secret_file, settings.secret))
        recognise(store, vault)
        try:
            starts_at = return_paths.rotate(store, vault, now=clock.now(), lead=ahead)
        except ValueError as error:
            raise CommandFailed(str(error)) from None
    click.echo(f"mail accepted from {moment(starts_at)} UTC on gets addresses made with a new secret")
