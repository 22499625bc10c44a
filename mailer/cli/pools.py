"""`mailer pool list | create | set | remove | add-ip | remove-ip | use | uses`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import (
    data_dir_option,
    id_maker,
    json_option,
    load_settings,
    open_store,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from mailer.identity.pools import Pool


@click.group()
def pool() -> None:
    """Pools of egress IPs, and whose mail leaves from which.

    The pool of a stream goes before that of its tenant, that before the one a provider's rule names
    (`pool` in sites.toml), and that before the default pool of the stream's kind. Mail for which there is
    no pool leaves by the system's choice.
    """


@pool.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List all pools with their members (address*weight)."""
    from mailer.identity import pools

    with open_store(load_settings(**given)) as store:
        found = pools.listed(store)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    head = ["POOL", "KIND", "DEFAULT", "ONLY FOR", "OVERFLOW", "MEMBERS"]
    print_table(head, [_row(one) for one in found])


_default = click.option(
    "--default/--no-default", "is_default", default=None, help="Of the streams of its kind that nothing maps."
)


@pool.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["transactional", "broadcast"]), default="transactional", show_default=True,
    help="Broadcast mail never leaves from a transactional pool.",
)  # fmt: skip
@click.option("--tenant", "owner", help="The only tenant that may use it.")
@click.option("--overflow", help="Pool that takes what has no room here.")
@_default
@data_dir_option
@json_option
def create(name: str, as_json: bool, **options: Any) -> None:
    """Make the pool NAME, without members."""
    from mailer import clock
    from mailer.identity import pools
    from mailer.identity.pools import NewPool

    new = NewPool(
        name=name, kind=options.pop("kind"), owner=options.pop("owner"), overflow=options.pop("overflow"),
        is_default=bool(options.pop("is_default")),
    )  # fmt: skip
    with open_store(load_settings(**options)) as store, id_maker(store) as new_id:
        made = pools.create(store, new, new_id=new_id, now=clock.now())
    _tell(made, as_json)


@pool.command("set")
@click.argument("name")
@click.option("--overflow", help='Pool that takes what has no room here; "" for none.')
@_default
@data_dir_option
@json_option
def change(name: str, overflow: str | None, is_default: bool | None, as_json: bool, **given: Any) -> None:
    """Change the pool NAME, from the next attempt on."""
    from mailer.identity import pools
    from mailer.identity.pools import PoolChange

    with open_store(load_settings(**given)) as store:
        changed = pools.change(store, name, PoolChange(overflow=overflow, is_default=is_default))
    _tell(changed, as_json)


@pool.command()
@click.argument("name")
@data_dir_option
@json_option
def remove(name: str, as_json: bool, **given: Any) -> None:
    """Remove the pool NAME, to which nothing is mapped."""
    from mailer.identity import pools

    with open_store(load_settings(**given)) as store:
        gone = pools.remove(store, name)
    if as_json:
        print_json(_as_json(gone))
    else:
        click.echo(f"pool {gone.name} is removed")


@pool.command("add-ip")
@click.argument("name")
@click.argument("address")
@click.option("--weight", type=int, default=1, show_default=True, help="0: only what the others cannot take.")
@data_dir_option
@json_option
def add_ip(name: str, address: str, weight: int, as_json: bool, **given: Any) -> None:
    """Put the egress IP ADDRESS into the pool NAME, or change its weight there."""
    from mailer.identity import pools

    with open_store(load_settings(**given)) as store:
        changed = pools.put_member(store, name, address, weight=weight)
    _tell(changed, as_json)


@pool.command("remove-ip")
@click.argument("name")
@click.argument("address")
@data_dir_option
@json_option
def remove_ip(name: str, address: str, as_json: bool, **given: Any) -> None:
    """Take the egress IP ADDRESS out of the pool NAME."""
    from mailer.identity import pools

    with open_store(load_settings(**given)) as store:
        changed = pools.drop_member(store, name, address)
    _tell(changed, as_json)


@pool.command()
@click.argument("name", required=False)
@click.option("--tenant", required=True, help="Whose mail.")
@click.option("--stream", help="Of this stream only; else of all that have no pool of their own.")
@click.option("--none", is_flag=True, help="It is mapped to no pool any more.")
@data_dir_option
@json_option
def use(name: str | None, tenant: str, stream: str | None, none: bool, as_json: bool, **given: Any) -> None:
    """Let mail of a tenant or a stream leave from the pool NAME, from the next attempt on."""
    from mailer.identity import pools

    if none == (name is not None):
        raise click.UsageError("give either the name of a pool, or --none")
    with open_store(load_settings(**given)) as store:
        found = pools.use(store, tenant, stream, name)
    if as_json:
        print_json(found)
    else:
        what = f"the stream {stream} of {tenant}" if stream else f"{tenant}"
        click.echo(f"mail of {what} leaves from {name}" if name else f"mail of {what} has no pool of its own")


@pool.command()
@data_dir_option
@json_option
def uses(as_json: bool, **given: Any) -> None:
    """List whose mail leaves from which pool."""
    from mailer.identity import pools

    with open_store(load_settings(**given)) as store:
        found = pools.uses(store)
    if as_json:
        print_json(found)
    else:
        print_table(
            ["TENANT", "STREAM", "POOL"], [[u.tenant, u.stream or "(all others)", u.pool] for u in found]
        )


def _tell(one: Pool, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(one))
        return
    members = ", ".join(f"{m.address}*{m.weight}" for m in one.members) or "no members yet"
    click.echo(f"pool {one.name} ({one.kind}): {members}")


def _row(one: Pool) -> list[str]:
    members = " ".join(f"{m.address}*{m.weight}" for m in one.members)
    default = "yes" if one.is_default else ""
    return [one.name, one.kind, default, one.owner or "", one.overflow or "", members or "-"]


def _as_json(one: Pool) -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.kind,
        "is_default": one.is_default,
        "owner": one.owner,
        "overflow": one.overflow,
        "members": [{"address": m.address, "weight": m.weight} for m in one.members],
        "created_at": one.created_at,
    }
