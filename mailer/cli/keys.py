"""`mailer key create | list | revoke | new`."""

from __future__ import annotations

import secrets
from datetime import timedelta
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
    from mailer.identity.api_keys import ApiKey


@click.group()
def key() -> None:
    """API keys: what opens the doors. A key belongs to one tenant and is shown once, when it is made."""


@key.command()
@click.option("--tenant", "tenant_name", help="Tenant it belongs to (default MAILER_TENANT).")
@click.option("--name", default="made by hand", show_default=True, help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["send", "read", "templates", "manage", "operate"]),
    help="What it may do; default send and read. operate: look at and act on the mail of all tenants.",
)
@click.option("--stream", "streams", multiple=True, help="The only streams it may send to; default any.")
@click.option(
    "--domain", "domains", multiple=True, help="The only sending domains it may send from; default any."
)
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires; default never.")
@data_dir_option
@json_option
def create(
    *,
    tenant_name: str | None,
    name: str,
    scopes: tuple[str, ...],
    streams: tuple[str, ...],
    domains: tuple[str, ...],
    days: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Make an API key and print it. It cannot be shown again.

    --scope, --stream and --domain may be repeated.
    """
    from mailer import clock, ids
    from mailer.identity import api_keys
    from mailer.identity.rights import Rights

    settings = load_settings(**given)
    rights = Rights(scopes=scopes or api_keys.USUAL, streams=streams or None, domains=domains or None)
    expires_at = clock.now() + timedelta(days=days) if days else None
    with open_store(settings) as store, id_maker(store) as new_id:
        made = api_keys.create(
            store,
            tenant_name or settings.tenant,
            name,
            rights=rights,
            expires_at=expires_at,
            new_id=new_id,
            now=clock.now(),
        )
    if as_json:
        print_json({"id": ids.show("key", made.key_id), "api_key": made.text, "expires_at": expires_at})
    else:
        click.echo(made.text)


@key.command("list")
@click.option("--tenant", "tenant_name", help="Only the keys of this tenant.")
@data_dir_option
@json_option
def listed(tenant_name: str | None, as_json: bool, **given: Any) -> None:
    """List keys, without their secrets."""
    from mailer.identity import api_keys

    with open_store(load_settings(**given)) as store:
        found = api_keys.listed(store, tenant_name)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    head = [
        "ID", "TENANT", "NAME", "SCOPES", "STREAMS", "DOMAINS", "CREATED (UTC)", "EXPIRES", "REVOKED",
    ]  # fmt: skip
    print_table(head, [_row(one) for one in found])


@key.command()
@click.argument("key_id")
@data_dir_option
@json_option
def revoke(key_id: str, as_json: bool, **given: Any) -> None:
    """Revoke the key KEY_ID (key_..., or the whole key): within a second it opens no door."""
    from mailer import clock, ids
    from mailer.identity import api_keys

    row = _row_id(key_id)
    with open_store(load_settings(**given)) as store:
        api_keys.revoke(store, row, now=clock.now())
    shown = ids.show("key", row)
    if as_json:
        print_json({"id": shown, "state": "revoked"})
    else:
        click.echo(f"{shown} is revoked")


@key.command()
@json_option
def new(as_json: bool) -> None:
    """Print a key for MAILER_API_KEY. Nothing is stored: it is good where a first start finds it set."""
    from mailer import clock, ids
    from mailer.identity import keys

    # No process number is to be had without a database; 22 random bits make a clash as unlikely.
    made = keys.new_key(ids.first_id_at(clock.wall_ms()) | secrets.randbits(22))
    if as_json:
        print_json({"api_key": made.text})
    else:
        click.echo(made.text)


def _row_id(text: str) -> int:
    from mailer import ids
    from mailer.identity.keys import MalformedKey, parse_key

    try:
        return parse_key(text).key_id if text.startswith("mk_") else ids.parse("key", text)
    except (MalformedKey, ids.MalformedId):
        raise click.BadParameter("is neither an id key_... nor an API key", param_hint="KEY_ID") from None


def _row(key: ApiKey) -> list[str]:
    from mailer import ids

    times = [moment(key.created_at), moment(key.expires_at) or "never", moment(key.revoked_at)]
    limits = [
        "any" if names is None else " ".join(names) for names in (key.rights.streams, key.rights.domains)
    ]
    return [ids.show("key", key.id), key.tenant, key.name, " ".join(key.rights.scopes), *limits, *times]


def _as_json(key: ApiKey) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("key", key.id),
        "tenant": key.tenant,
        "name": key.name,
        "scopes": key.rights.scopes,
        "streams": key.rights.streams,
        "domains": key.rights.domains,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
