"""`mailer brake list | override | clear`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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
from mailer.cli.selecting import means_of, operator

if TYPE_CHECKING:
    from mailer.queue.overriding import Standing, Target
    from mailer.store import Store

_stream_option = click.option("--stream", help="Only this stream of the tenant.")
_reason_option = click.option("--reason", required=True, help="Why; for the record.")
_MOST_REASON = 500
_DATES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def brake() -> None:
    """Streams whose mail is ill received: who is warned of, who is paused, and what you say to it.

    A broadcast stream with too many complaints or hard bounces is held until its rates are good.
    """


@brake.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List the streams that are warned of or paused, and the overrides in force."""
    from mailer import clock
    from mailer.queue import overriding

    settings = load_settings(**given)
    with open_store(settings) as store:
        found = overriding.standing(store, now=clock.now())
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    if not settings.brake:
        click.echo("the brake is off (MAILER_BRAKE): no stream is judged", err=True)
    rows = [
        [
            one.tenant, one.stream or "(all)", _state(one), moment(one.since), moment(_until(one)),
            _why(one),
        ]
        for one in found
    ]  # fmt: skip
    print_table(["TENANT", "STREAM", "STATE", "SINCE (UTC)", "UNTIL (UTC)", "WHY"], rows)


@brake.command()
@click.argument("tenant")
@_stream_option
@click.option("--until", type=_DATES, help="Until then, in UTC: 2026-12-01 or 2026-12-01T08:00.")
@click.option("--for", "period", metavar="DURATION", help="For so long: 12h or 7d.")
@_reason_option
@data_dir_option
@json_option
def override(
    *,
    tenant: str,
    stream: str | None,
    until: datetime | None,
    period: str | None,
    reason: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Let what TENANT sends go on, whatever comes back, until a time; what is paused goes on at once."""
    from mailer.queue import overriding

    _check(reason)
    with means_of(given) as means:
        end = _end(means.now(), until, period)
        target = _target(means.store, tenant, stream)
        wanted = overriding.Override(end, reason)
        let_go = overriding.override(means, target, wanted, operator())
    if as_json:
        print_json({"tenant": tenant, "stream": stream, "until": end, "let_go": let_go})
        return
    click.echo(f"{_name(tenant, stream)} is not paused until {moment(end)} UTC")
    if let_go:
        click.echo(f"{let_go} paused {'stream goes' if let_go == 1 else 'streams go'} on")


@brake.command()
@click.argument("tenant")
@_stream_option
@click.option("--reason", default="", help="Why; for the record.")
@data_dir_option
@json_option
def clear(tenant: str, stream: str | None, reason: str, as_json: bool, **given: Any) -> None:
    """End the override for TENANT, or for one stream of it: it is judged again within a minute."""
    from mailer.queue import overriding

    _check(reason)
    with means_of(given) as means:
        target = _target(means.store, tenant, stream)
        if not overriding.clear(means, target, operator(), reason):
            raise CommandFailed(f"there is no override for just {_name(tenant, stream)}")
    if as_json:
        print_json({"tenant": tenant, "stream": stream})
    else:
        click.echo(f"{_name(tenant, stream)} is judged again")


def _target(store: Store, tenant: str, stream: str | None) -> Target:
    from mailer.identity import streams, tenants
    from mailer.queue.overriding import Target

    owner = tenants.named(store, tenant)
    stream_id = None if stream is None else streams.id_of(store, owner.id, stream)
    return Target(owner.id, stream_id, stream)


def _end(now: datetime, until: datetime | None, period: str | None) -> datetime:
    from mailer.config.values import parse_duration

    if (until is None) == (period is None):
        raise click.UsageError("say how long: --until a time, or --for a duration")
    try:
        end = now + parse_duration(period) if until is None else until.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    if end <= now:
        raise click.UsageError("that time is over")
    return end


def _check(reason: str) -> None:
    if len(reason) > _MOST_REASON or not reason.isprintable():
        raise click.BadParameter(
            f"must be one line of at most {_MOST_REASON} characters", param_hint="--reason"
        )


def _state(one: Standing) -> str:
    if one.is_held:
        return "paused"
    if one.override is not None:
        return "overridden"
    return "warned" if one.mark else ""


def _until(one: Standing) -> datetime | None:
    return one.override.until if one.override is not None else one.until


def _why(one: Standing) -> str:
    said = [one.reason] if one.reason else []
    if one.override is not None:
        said.append(f"{one.override.reason} ({one.set_by})")
    return "; ".join(said)


def _name(tenant: str, stream: str | None) -> str:
    return f"tenant {tenant}" if stream is None else f"stream {stream} of tenant {tenant}"


def _as_json(one: Standing) -> dict[str, object]:
    over = one.override
    return {
        "tenant": one.tenant,
        "stream": one.stream,
        "mark": one.mark,
        "reason": one.reason,
        "since": one.since,
        "paused": one.is_held,
        "until": one.until,
        "override": None
        if over is None
        else {"until": over.until, "reason": over.reason, "set_by": one.set_by},
    }
