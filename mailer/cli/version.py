"""`mailer version`."""

from __future__ import annotations

import click

import mailer
from mailer.cli.options import json_option, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the release."""
    if as_json:
        print_json({"version": mailer.__version__})
    else:
        click.echo(f"ecm-mailer {mailer.__version__}")
