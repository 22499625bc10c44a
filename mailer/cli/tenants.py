"""`mailer tenant create | list | set | revoke | resume`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import (
    data_dir_option,
    id_maker,
    json_option,
    load_settings,
    moment,
    open_store,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from mailer.identity.tenants import Tenant


@click.group()
def tenant() -> None:
    """Tenants: who owns streams, sending domains and API keys.

    The mail of one tenant is invisible to the others and shares the sites' connections fairly with it.
    """


_notices = click.Choice(["dsn", "events"])
_NOTICES_HELP = "What SMTP submitters hear of failures: a DSN in their mailbox, or events only."


@tenant.command()
@click.argument("name")
@click.option("--failure-notices", type=_notices, default="dsn", show_default=True, help=_NOTICES_HELP)
@click.option(
    "--daily-cap", type=click.IntRange(0, 10_000_000), help="Messages it may send in 24 hours at first; "
    "0: any number. Default: MAILER_NEW_TENANT_DAILY_CAP.",
)  # fmt: skip
@data_dir_option
@json_option
def create(name: str, failure_notices: str, daily_cap: int | None, as_json: bool, **given: Any) -> None:
    """Make the tenant NAME, with a transactional and a broadcast stream.

    A daily cap grows with every day that was used and well received, until there is none.
    """
    from mailer import clock
    from mailer.identity import tenants
    from mailer.queue import newcomers

    settings = load_settings(**given)
    cap = settings.new_tenant_daily_cap if daily_cap is None else daily_cap
    now = clock.now()
    with open_store(settings) as store, id_maker(store) as new_id:
        made = tenants.create(
            store,
            name,
            in_doubt=settings.in_doubt,
            failure_notices=failure_notices,
            new_id=new_id,
            now=now,
            also=functools.partial(newcomers.begin, cap=cap, now=now) if cap else None,
        )
    if as_json:
        print_json(_as_json(made))
    else:
        click.echo(
            f"tenant {made.name} is {made.state}; give it a domain: mailer domain create NAME --tenant ..."
        )


@tenant.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List all tenants."""
    from mailer.identity import tenants

    with open_store(load_settings(**given)) as store:
        found = tenants.listed(store)
    if as_json:
        print_json([_as_json(one) for one in found])
    else:
        print_table(
            ["NAME", "STATE", "NOTICES", "CREATED (UTC)"],
            [[t.name, t.state, t.failure_notices, moment(t.created_at)] for t in found],
        )


@tenant.command("set")
@click.argument("name")
@click.option("--failure-notices", type=_notices, required=True, help=_NOTICES_HELP)
@data_dir_option
@json_option
def change(name: str, failure_notices: str, as_json: bool, **given: Any) -> None:
    """Change what the tenant NAME wants."""
    from mailer.identity import tenants

    with open_store(load_settings(**given)) as store:
        changed = tenants.set_failure_notices(store, name, failure_notices)
    if as_json:
        print_json(_as_json(changed))
    else:
        click.echo(f"tenant {changed.name}: failure notices {changed.failure_notices}")


@tenant.command()
@click.argument("name")
@data_dir_option
@json_option
def revoke(name: str, as_json: bool, **given: Any) -> None:
    """Suspend the tenant NAME: nothing more is accepted from it; what was accepted is still delivered."""
    from mailer.identity import tenants

    with open_store(load_settings(**given)) as store:
        tenants.suspend(store, name)
    _tell_state(name, tenants.SUSPENDED, as_json)


@tenant.command()
@click.argument("name")
@data_dir_option
@json_option
def resume(name: str, as_json: bool, **given: Any) -> None:
    """Let the suspended tenant NAME send again."""
    from mailer.identity import tenants

    with open_store(load_settings(**given)) as store:
        tenants.resume(store, name)
    _tell_state(name, tenants.ACTIVE, as_json)


def _tell_state(name: str, state: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "state": state})
    else:
        click.echo(f"tenant {name} is {state}")


def _as_json(tenant: Tenant) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("ten", tenant.id),
        "name": tenant.name,
        "state": tenant.state,
        "failure_notices": tenant.failure_notices,
        "created_at": tenant.created_at,
    }
