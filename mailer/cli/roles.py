"""The roles, each a process of its own that runs until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mailer.cli import lifeline
from mailer.cli.options import data_dir_option, load_settings

_F = TypeVar("_F", bound=Callable[..., Any])

_follow: Callable[[_F], _F] = click.option(
    "--follow", type=int, hidden=True, help="End when this process, our parent, does."
)


@click.command()
@data_dir_option
@click.option("--http-port", type=int, help="Port of the HTTP door (MAILER_HTTP_PORT); 0 takes any free one.")
@click.option("--smtp-port", type=int, help="Port of the SMTP door with STARTTLS (MAILER_SMTP_PORT).")
@click.option("--smtps-port", type=int, help="Port of the SMTP door with implicit TLS (MAILER_SMTPS_PORT).")
@_follow
def http(follow: int | None, **given: Any) -> None:
    """Run the doors: the JSON API with health and metrics, and SMTP submission.

    Several may run beside each other on one database; on one host each needs ports of its own. On SIGTERM
    it stops listening, answers the requests and ends the transactions it has, and ends.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_http(settings))


@click.command()
@data_dir_option
@click.option(
    "--index", type=click.IntRange(min=1), default=1, help="Number of this worker in its data folder."
)
@_follow
def worker(follow: int | None, index: int, **given: Any) -> None:
    """Run a worker: claim what is due, sign it, deliver it by SMTP, settle the outcome.

    Run as many as there are cores to spare, on one machine or several. On SIGTERM, mail that was not
    dialled is released at once, sessions before the final dot are reset, those after it awaited for
    up to 50 seconds.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_worker(settings, index))


@click.command()
@data_dir_option
@_follow
def sweeper(follow: int | None, **given: Any) -> None:
    """Run the sweeper: wake due mail, release what dead workers held, number events.

    One on every host that runs workers, so that their journals are read after a crash.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_sweeper(settings))


@click.command()
@data_dir_option
@_follow
def caller(follow: int | None, **given: Any) -> None:
    """Run the caller: post events to webhook endpoints, and again until they are taken.

    One is enough; several share the work. On SIGTERM it claims no more and waits for the answers to come.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_caller(settings))


@click.command()
@data_dir_option
@_follow
def inbox(follow: int | None, **given: Any) -> None:
    """Run the sandbox inbox: an SMTP server that takes everything and keeps it in the data folder.

    It also plays the recipients at simulator.mailer.test, and is the host that takes what they send back.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_inbox(settings))


@click.command()
@data_dir_option
@_follow
def returns(follow: int | None, **given: Any) -> None:
    """Run the host that takes what comes back: bounces, complaints, reports, mail to postmaster and abuse.

    The MX records of the return-path domains lead to it, on port 25. It takes mail for addresses of ours
    only; what it took is on disk before it answers, and read right after. Several may run beside each other.
    """
    settings = _begin(follow, given)
    from mailer import bootstrap

    _end(bootstrap.run_returns(settings))


def _begin(follow: int | None, given: dict[str, Any]) -> Any:
    if follow is not None and not lifeline.tie_to(follow):
        click.echo("mailer: the process that started this role has ended", err=True)
        os._exit(1)
    return load_settings(**given)


def _end(exit_code: int | None) -> None:
    sys.exit(exit_code or 0)
