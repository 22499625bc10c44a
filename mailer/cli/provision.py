"""`mailer provision`: what the first `mailer up` makes, for installations whose roles run apart."""

from __future__ import annotations

from typing import Any

import click

from mailer.cli.options import data_dir_option, json_option, load_settings, print_json
from mailer.cli.preparation import prepare


@click.command()
@data_dir_option
@json_option
def provision(as_json: bool, **given: Any) -> None:
    """Upgrade the database and make the first tenant, sending domain and API key, where they are missing.

    `mailer up` does this by itself. Where the roles run apart (systemd, containers), run it once before
    them, with the same settings; repeating it changes nothing.
    """
    settings = load_settings(**given)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    prepared = prepare(settings)
    if as_json:
        print_json(prepared)
    else:
        click.echo(f"tenant   {settings.tenant}")
        click.echo(f"domain   {prepared.domain or 'none'}")
        click.echo(f"API key  {prepared.api_key or 'revoked'}")
