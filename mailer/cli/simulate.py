"""`mailer simulate run | warm-up | scripts | serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, json_option, load_settings, print_json, print_table

if TYPE_CHECKING:
    from mailer.simulate.courier import Hour
    from mailer.simulate.run import Outcome
    from mailer.simulate.script import Script

script_option = click.option("--script", required=True, help="A shipped script's name, or a TOML file.")
seed_option = click.option("--seed", type=int, default=1, show_default=True, help="Of all that is drawn.")


@click.group()
def simulate() -> None:
    """Providers that behave as they do, to try rules and settings on before real ones meet them."""


@simulate.command()
@json_option
def scripts(as_json: bool) -> None:
    """List the scripts that come with the product."""
    from mailer.simulate import script

    found = [script.load(name) for name in script.shipped()]
    if as_json:
        print_json([{"name": one.name, "providers": [part.name for part in one.parts]} for one in found])
        return
    print_table(["SCRIPT", "PROVIDERS"], [[s.name, ", ".join(p.name for p in s.parts)] for s in found])


@simulate.command()
@script_option
@seed_option
@click.option("--days", type=click.IntRange(1, 366), default=1, show_default=True, help="Virtual days.")
@click.option("--messages-per-day", type=click.FloatRange(0), help="Instead of the script's; 0: no end.")
@click.option("--hourly", is_flag=True, help="Print hours instead of days.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG as well.")
@data_dir_option
@json_option
def run(
    *,
    script: str,
    seed: int,
    days: int,
    messages_per_day: float | None,
    hourly: bool,
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Send for days in seconds, by the rules as they hold here, yours included.

    Nothing leaves the process: time and providers are virtual, the policy is the product's own.
    """
    from mailer.cli.siterules import rules_here
    from mailer.simulate import run as running

    world = _load(script)
    rules = rules_here(load_settings(**given))
    outcome = running.run(world, rules, hours=24 * days, seed=seed, messages_per_day=messages_per_day)
    if plot is not None:
        _draw(outcome, plot)
    if as_json:
        print_json(outcome.as_json())
        return
    _print(outcome, hourly=hourly)
    if plot is not None:
        click.echo(f"plot: {plot}")


@simulate.command()
@script_option
@seed_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65000), default=2601, show_default=True, help="The first one.")
@data_dir_option
def serve(script: str, seed: int, host: str, port: int, **given: Any) -> None:
    """Be those providers in real time, one SMTP port each, until interrupted; prints the MAILER_ROUTES."""
    import asyncio
    import ipaddress

    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise CommandFailed(
            "--host must be an address of loopback: a sink that anybody may fill is of no use"
        )
    world = _load(script)
    tls_folder = load_settings(**given).data_dir / "tls"
    asyncio.run(_serve(world, seed, (host, port), tls_folder))


async def _serve(world: Script, seed: int, address: tuple[str, int], tls_folder: Path) -> None:
    import asyncio
    import signal

    from mailer.simulate.sink import Sink

    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave.set)
    sink = Sink(world, seed, tls_folder)
    places = await sink.listen(*address)
    click.echo("MAILER_ROUTES=" + ", ".join(place.routes for place in places))
    await leave.wait()
    await sink.close()
    rows = [
        [name, *(str(seen[word]) for word in ("accepted", "refused for rate", "refused"))]
        for name, seen in sink.seen.items()
    ]
    print_table(["PROVIDER", "ACCEPTED", "REFUSED FOR RATE", "REFUSED"], rows)


def _load(script: str) -> Script:
    from mailer.simulate import script as scripts_

    return scripts_.load(script)


def _draw(outcome: Outcome, file: Path) -> None:
    from mailer.simulate import plot

    try:
        plot.draw(outcome, file)
    except plot.NoPlots as error:
        raise CommandFailed(str(error)) from None


def _print(outcome: Outcome, *, hourly: bool) -> None:
    head = ["PROVIDER", "HOUR" if hourly else "DAY", "ACCEPTED", "REFUSED FOR RATE", "REFUSED", "BROKEN"]
    head += ["GIVEN UP", "RATE/H", "STATE", "WAITING"]
    rows = []
    for name in outcome.hours:
        spans = outcome.hours[name] if hourly else outcome.days(name)
        rows += [[name, *_cells(span)] for span in spans]
    print_table(head, rows)


def _cells(span: Hour) -> list[str]:
    share = f" ({span.limited / span.attempts:.1%})" if span.limited else ""
    return [
        str(span.number + 1),
        str(span.accepted),
        f"{span.limited}{share}",
        str(span.refused),
        str(span.broken),
        str(span.bounced),
        "-" if span.rate is None else f"{span.rate:.0f}",
        span.state,
        str(span.waiting),
    ]
