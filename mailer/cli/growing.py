"""`mailer simulate warm-up`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, json_option, load_settings, print_json, print_table
from mailer.cli.simulate import seed_option, simulate

if TYPE_CHECKING:
    from mailer.simulate.sender import Laws
    from mailer.simulate.warmed import Day, Growth


@simulate.command("warm-up")
@click.option(
    "--script", default="warm-up", show_default=True, help="A shipped script's name, or a TOML file."
)
@seed_option
@click.option("--days", type=click.IntRange(1, 366), default=45, show_default=True, help="Virtual days.")
@click.option(
    "--volume", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Messages a day."
)
@click.option("--plan", default="steady", show_default=True, help="A plan's name, or none: all at once.")
@click.option(
    "--alone", is_flag=True, help="Without a warm IP beside the new one: what is over its caps waits."
)
@click.option(
    "--spoilt-from", type=click.IntRange(1), help="From this day on the list has many bad addresses."
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG as well.")
@data_dir_option
@json_option
def warm_up(
    *,
    script: str,
    plan: str,
    alone: bool,
    plot: Path | None,
    as_json: bool,
    data_dir: Path | None,
    **given: Any,
) -> None:
    """Let a new IP grow for weeks in a minute, against providers that judge it.

    Choice of IPs, caps and brake are the product's own; nothing leaves the process.
    """
    from mailer.simulate import script as scripts_
    from mailer.simulate.warmed import Plan, grow

    laws = _laws(data_dir)
    if plan != "none" and plan not in laws.warmup.plans:
        raise CommandFailed(f"there is no plan {plan!r}; there are {', '.join(laws.warmup.plans)}, and none")
    wanted = Plan(plan=None if plan == "none" else plan, has_warm=not alone, **given)
    growth = grow(scripts_.load(script), laws, wanted)
    if plot is not None:
        _draw(growth, plot)
    if as_json:
        print_json(growth.as_json())
        return
    _print(growth)
    if plot is not None:
        click.echo(f"plot: {plot}")


def _laws(data_dir: Path | None) -> Laws:
    from mailer.cli.siterules import rules_here
    from mailer.config.load import brake_rules, warmup_rules
    from mailer.simulate.sender import Laws

    settings = load_settings(data_dir=data_dir)
    return Laws(rules_here(settings), warmup_rules(), brake_rules(settings.brake_file))


def _draw(growth: Growth, file: Path) -> None:
    from mailer.simulate import plot

    try:
        plot.draw_growth(growth, file)
    except plot.NoPlots as error:
        raise CommandFailed(str(error)) from None


def _print(growth: Growth) -> None:
    head = ["IP", "DAY", "CAP", "OFFERED", "ACCEPTED", "BLOCKED", "REFUSED", "COMPLAINTS", "VERDICT"]
    head += ["WAITING", "EXPIRED"]
    rows = []
    for ip, days in growth.days.items():
        for at, day in enumerate(days):
            rows.append([ip, *_cells(day), str(growth.waiting[at]), str(growth.expired[at])])
    print_table(head, rows)


def _cells(day: Day) -> list[str]:
    figures = (day.offered, day.accepted, day.blocked, day.refused, day.complained)
    cap = "-" if day.cap is None else str(day.cap)
    return [str(day.number), cap, *map(str, figures), day.verdict or "-"]
