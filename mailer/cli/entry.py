"""The top of the command: which subcommand stands in which module, loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from mailer.cli import faults

_COMMANDS = {
    "up": "up",
    "http": "roles",
    "worker": "roles",
    "sweeper": "roles",
    "caller": "roles",
    "inbox": "roles",
    "returns": "roles",
    "returned": "returned",
    "secret": "secrets",
    "check-config": "settings",
    "db": "database",
    "provision": "provision",
    "tenant": "tenants",
    "domain": "domains",
    "key": "keys",
    "sites": "sites",
    "rules": "refusals",
    "limit": "limits",
    "ip": "ips",
    "pool": "pools",
    "warmup": "warming",
    "simulate": "growing",
    "send": "send",
    "messages": "messages",
    "explain": "messages",
    "queue": "queueing",
    "hold": "holding",
    "release": "holding",
    "requeue": "holding",
    "move": "holding",
    "bounce": "holding",
    "brake": "braking",
    "reports": "reports",
    "suppression": "suppressing",
    "verify": "messages",
    "version": "version",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"mailer.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:  # the top: known faults end as a sentence, others as they are
            fault = faults.known(error)
            if fault is None:
                raise
            click.echo(f"mailer: {fault.text}", err=True)
            sys.exit(fault.exit_code)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def main() -> None:
    """ECM Mailer sends messages reliably from your own machines.

    Start with `mailer up`: it needs nothing installed beside Python, makes a first tenant, a sandbox
    sending domain and an API key, and prints how to send. In sandbox mode all mail ends in the local
    inbox; `mailer up --live` delivers it.

    Everything can be set by environment variables MAILER_*; `mailer check-config` lists them.
    """
