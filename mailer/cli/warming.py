"""`mailer warmup list | show | start | hold | resume | stop | plans | simulate`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_store,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from mailer.identity.egress import EgressIp
    from mailer.policy.warmcurve import Curve
    from mailer.queue.warming import Standing, Warmup
    from mailer.store import Store

_VOLUME = re.compile(r"([1-9][0-9_]{0,11})\s*/\s*(hour|day|week|month)")
_PER_DAY = {"hour": 24.0, "day": 1.0, "week": 1 / 7, "month": 1 / 30}


class _Volume(click.ParamType[int]):
    name = "volume"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Messages a day."""
        found = _VOLUME.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} must read like 50000/day; also /hour, /week, /month", param, ctx)
        return max(round(int(found[1]) * _PER_DAY[found[2]]), 1)


@click.group()
def warmup() -> None:
    """Warm-up: a new IP sends each provider little at first, and more as long as it is well received.

    What is over the cap of the day leaves from warm IPs of the pool, then from its overflow pool, and
    waits for the next day last.
    """


@warmup.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List the warm-ups, provider by provider: stage, today's use, forecast, and why it stands there."""
    from mailer import clock
    from mailer.config.load import warmup_rules
    from mailer.queue import warming

    with open_store(load_settings(**given)) as store:
        found = warming.listed(store, rules=warmup_rules(), now=clock.now())
    if as_json:
        print_json(found)
        return
    head = ["ADDRESS", "PLAN", "STATE", "PROVIDER", "STAGE", "USED", "VERDICT", "WARM ON", "WHY"]
    print_table(head, [row for one in found for row in _rows(one)])


@warmup.command()
@click.argument("address")
@data_dir_option
@json_option
def show(address: str, as_json: bool, **given: Any) -> None:
    """Show the warm-up of the egress IP ADDRESS and its past days."""
    from mailer import clock
    from mailer.config.load import warmup_rules
    from mailer.identity import egress
    from mailer.queue import warming

    with open_store(load_settings(**given)) as store:
        ip = egress.one(store, address)
        found = warming.one(store, ip.id, rules=warmup_rules(), now=clock.now())
        past = warming.history(store, ip.id)
    if found is None:
        raise CommandFailed(f"{ip.name} is not being warmed up")
    if as_json:
        print_json({"warmup": found, "history": past})
        return
    target = "to the plan's end" if found.target_per_day is None else f"to {found.target_per_day} a day"
    why = f": {found.reason}" if found.reason else ""
    click.echo(f"{found.address} is {found.state}{why}; plan {found.plan}, {target}")
    print_table(
        ["PROVIDER", "STAGE", "USED", "VERDICT", "WARM ON", "WHY"], [_standing(s) for s in found.providers]
    )
    if past:
        click.echo("")
        rows = [
            [
                str(d.day),
                d.provider,
                str(d.stage),
                f"{d.used}/{_cap(d.cap)}",
                str(d.delivered),
                d.verdict,
                d.reason,
            ]
            for d in past
        ]
        print_table(["DAY", "PROVIDER", "STAGE", "USED", "DELIVERED", "VERDICT", "WHY"], rows)


@warmup.command()
@click.argument("address")
@click.option("--plan", default="steady", show_default=True, help="One of `mailer warmup plans`.")
@click.option("--target", type=_Volume(), help="Volume at which it is warm, such as 50000/day.")
@data_dir_option
@json_option
def start(address: str, plan: str, target: int | None, as_json: bool, **given: Any) -> None:
    """Warm up the egress IP ADDRESS from the first stage, at every provider."""
    from mailer import clock
    from mailer.config.load import warmup_rules
    from mailer.queue import warming
    from mailer.queue.warming import Start

    rules = warmup_rules()
    if plan not in rules.plans:
        raise CommandFailed(f"there is no plan {plan!r}; there are {', '.join(rules.plans)}")
    _steer(
        address, as_json, given,
        lambda store, ip: warming.start(store, ip.id, Start(plan, target), rules=rules, now=clock.now()),
    )  # fmt: skip


_reason = click.option("--reason", help="Why, for whoever looks at it later.")


@warmup.command()
@click.argument("address")
@_reason
@data_dir_option
@json_option
def hold(address: str, reason: str | None, as_json: bool, **given: Any) -> None:
    """Let the egress IP ADDRESS stay where it stands: it sends up to its caps and does not advance."""
    from mailer.queue import warming

    _steer(address, as_json, given, lambda store, ip: warming.hold(store, ip.id, reason))


@warmup.command()
@click.argument("address")
@data_dir_option
@json_option
def resume(address: str, as_json: bool, **given: Any) -> None:
    """Let the held warm-up of the egress IP ADDRESS go on."""
    from mailer.queue import warming

    _steer(address, as_json, given, lambda store, ip: warming.resume(store, ip.id))


@warmup.command()
@click.argument("address")
@_reason
@data_dir_option
@json_option
def stop(address: str, reason: str | None, as_json: bool, **given: Any) -> None:
    """End the warm-up of the egress IP ADDRESS: it has no caps any more."""
    from mailer.queue import warming

    _steer(address, as_json, given, lambda store, ip: warming.stop(store, ip.id, reason))


def _steer(
    address: str, as_json: bool, given: dict[str, Any], change: Callable[[Store, EgressIp], bool]
) -> None:
    from mailer import clock
    from mailer.config.load import warmup_rules
    from mailer.identity import egress
    from mailer.queue import warming

    with open_store(load_settings(**given)) as store:
        ip = egress.one(store, address)
        if not change(store, ip):
            raise CommandFailed(f"{ip.name} is not being warmed up: `mailer warmup start {ip.name}`")
        found = warming.one(store, ip.id, rules=warmup_rules(), now=clock.now())
    if as_json:
        print_json(found)
    elif found is not None:
        click.echo(f"the warm-up of {found.address} by the plan {found.plan} is {found.state}")


@warmup.command()
@json_option
def plans(as_json: bool) -> None:
    """List the plans: messages a day of one IP, stage by stage, and where they come from."""
    from mailer.config.load import warmup_rules

    found = list(warmup_rules().plans.values())
    if as_json:
        print_json(found)
    else:
        rows = [[p.name, str(len(p.caps)), " ".join(map(str, p.caps)), p.source] for p in found]
        print_table(["PLAN", "STAGES", "CAPS", "SOURCE"], rows)


@warmup.command()
@click.option("--volume", type=_Volume(), required=True, help="What is to be sent, such as 50000/day.")
@click.option("--plan", default="steady", show_default=True, help="One of `mailer warmup plans`.")
@click.option("--days", type=click.IntRange(1, 366), default=45, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this PNG file.")
@json_option
def simulate(volume: int, plan: str, days: int, plot: Path | None, as_json: bool) -> None:
    """Print what a new IP would send day by day on a healthy list, and when it is warm.

    By the policy that runs the real thing. The mail is split over providers as the plans assume.
    """
    from mailer.config.load import warmup_rules
    from mailer.policy import warmcurve

    rules = warmup_rules()
    if plan not in rules.plans:
        raise CommandFailed(f"there is no plan {plan!r}; there are {', '.join(rules.plans)}")
    found = warmcurve.curve(rules, plan, volume, days=days, share=warmcurve.usual_share(rules))
    if plot is not None:
        from mailer.cli.plotting import plot_warmup

        plot_warmup(found, volume, f"{plan}, {volume} messages a day", plot)
    if as_json:
        print_json(found)
        return
    rows = [[str(d.day), _cap(d.cap), str(d.sent), str(d.over)] for d in found.days]
    print_table(["DAY", "CAP", "SENT", "OVER"], rows)
    click.echo(_conclusion(found, volume))


def _conclusion(found: Curve, volume: int) -> str:
    if found.warm_on is None:
        return f"after {len(found.days)} days the IP does not yet take {volume} messages a day"
    return f"from day {found.warm_on} on the IP takes all {volume} messages a day"


def _rows(one: Warmup) -> list[list[str]]:
    head = [one.address, one.plan, one.state]
    if not one.providers:
        return [[*head, "-", "-", "-", "-", "-", one.reason or "nothing was sent yet"]]
    return [[*head, *_standing(s)] for s in one.providers]


def _standing(s: Standing) -> list[str]:
    stage = "warm" if s.stage is None else f"{s.stage}/{s.stages}"
    warm_on = "" if s.warm_on is None else str(s.warm_on)
    return [s.provider, stage, f"{s.used}/{_cap(s.cap)}", s.verdict, warm_on, s.reason]


def _cap(cap: int | None) -> str:
    return "-" if cap is None else str(cap)
