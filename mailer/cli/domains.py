"""`mailer domain create | list | revoke | records`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import (
    data_dir_option,
    id_maker,
    json_option,
    load_settings,
    moment,
    open_store,
    open_vault,
    print_json,
    print_table,
)
from mailer.cli.records import records

if TYPE_CHECKING:
    from mailer.identity.custody import KeyPair
    from mailer.identity.domains import Domain


@click.group()
def domain() -> None:
    """Sending domains: whose names may stand in From, and the keys that sign for them."""


domain.add_command(records)


@domain.command()
@click.argument("name")
@click.option("--tenant", "tenant_name", help="Tenant that may send from it (default MAILER_TENANT).")
@click.option("--dkim-key-file", type=click.Path(path_type=Path), help="PEM file with a key in use already.")
@click.option("--dkim-selector", help="Selector under which that key is published.")
@data_dir_option
@json_option
def create(
    name: str,
    tenant_name: str | None,
    dkim_key_file: Path | None,
    dkim_selector: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Let a tenant send from the domain NAME.

    An RSA and an Ed25519 key are made for it unless one is given. Publish what `mailer domain records
    NAME` prints before you send.
    """
    from mailer import clock
    from mailer.identity import domains

    settings = load_settings(**given)
    new = domains.NewDomain(
        name=name,
        return_path_prefix=settings.return_path_prefix,
        keys=_given_keys(dkim_key_file, dkim_selector),
    )
    with open_store(settings) as store, id_maker(store) as new_id:
        made = domains.create(
            store,
            open_vault(settings, store),
            tenant_name or settings.tenant,
            new,
            new_id=new_id,
            now=clock.now(),
        )
    if as_json:
        print_json(_as_json(made))
    else:
        click.echo(f"{made.name} is {made.state}; publish what `mailer domain records {made.name}` prints")


@domain.command("list")
@click.option("--tenant", "tenant_name", help="Only those of this tenant.")
@data_dir_option
@json_option
def listed(tenant_name: str | None, as_json: bool, **given: Any) -> None:
    """List sending domains."""
    from mailer.identity import domains

    with open_store(load_settings(**given)) as store:
        found = domains.listed(store, tenant_name)
    if as_json:
        print_json([_as_json(one) for one in found])
    else:
        head = ["NAME", "TENANT", "STATE", "RETURN PATH", "CREATED (UTC)"]
        rows = [[d.name, d.tenant, d.state, d.return_path_domain, moment(d.created_at)] for d in found]
        print_table(head, rows)


@domain.command()
@click.argument("name")
@data_dir_option
@json_option
def revoke(name: str, as_json: bool, **given: Any) -> None:
    """Accept nothing more from the domain NAME; mail of it that still waits is held, not sent unsigned.

    `mailer domain create NAME` by the same tenant brings it back with its keys.
    """
    from mailer.identity import domains

    with open_store(load_settings(**given)) as store:
        domains.revoke(store, name)
    if as_json:
        print_json({"name": name, "state": domains.REVOKED})
    else:
        click.echo(f"{name} is revoked")


def _given_keys(file: Path | None, selector: str | None) -> tuple[KeyPair, ...]:
    from mailer.identity import custody

    if (file is None) != (selector is None):
        raise click.UsageError("--dkim-key-file and --dkim-selector belong together")
    return () if file is None or selector is None else (custody.read_pem_file(file, selector),)


def _as_json(domain: Domain) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("dom", domain.id),
        "tenant": domain.tenant,
        "name": domain.name,
        "state": domain.state,
        "return_path_domain": domain.return_path_domain,
        "created_at": domain.created_at,
    }
