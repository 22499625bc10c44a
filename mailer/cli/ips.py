"""`mailer ip list | add | set | remove`."""

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
    from mailer.identity.egress import EgressIp


@click.group()
def ip() -> None:
    """Egress IPs: the addresses that mail leaves from, and whether they are fit for it.

    Mail leaves from them once they are in a pool that its stream, tenant or kind is mapped to: see
    `mailer pool`. Until then the system chooses the address, as before.
    """


@ip.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List all egress IPs, the hosts they are on, their PTR names, and what is wrong with them."""
    from mailer.identity import egress

    with open_store(load_settings(**given)) as store:
        found = egress.listed(store)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    head = ["ADDRESS", "EHLO", "STATE", "POOLS", "HOSTS", "PTR", "NOTES"]
    print_table(head, [_row(one) for one in found])


@ip.command()
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--helo", required=True, help="Name given in EHLO: that of the address's PTR and A records.")
@data_dir_option
@json_option
def add(addresses: tuple[str, ...], helo: str, as_json: bool, **given: Any) -> None:
    """Add an egress IP: an IPv4 or an IPv6 address, or one of each that go by the same name.

    An address that is not on this host is taken all the same; nothing leaves from it until a worker runs
    where it is.
    """
    from mailer import clock
    from mailer.identity import egress

    with open_store(load_settings(**given)) as store, id_maker(store) as new_id:
        made = egress.add(store, addresses, helo, new_id=new_id, now=clock.now())
    _tell(made, as_json)
    if not as_json:
        click.echo(f"put it into a pool: mailer pool add-ip POOL {made.name}")


@ip.command("set")
@click.argument("address")
@click.option("--helo", help="Name given in EHLO.")
@click.option(
    "--state", type=click.Choice(["active", "draining", "off"]),
    help="draining: takes only what was greylisted on it and must come again from there.",
)  # fmt: skip
@data_dir_option
@json_option
def change(address: str, helo: str | None, state: str | None, as_json: bool, **given: Any) -> None:
    """Change the egress IP ADDRESS, from the next attempt on."""
    from mailer.identity import egress

    with open_store(load_settings(**given)) as store:
        changed = egress.change(store, address, helo=helo, state=state)
    _tell(changed, as_json)


@ip.command()
@click.argument("address")
@data_dir_option
@json_option
def remove(address: str, as_json: bool, **given: Any) -> None:
    """Remove the egress IP ADDRESS, which is in no pool, and its warm-up."""
    from mailer.identity import egress

    with open_store(load_settings(**given)) as store:
        gone = egress.remove(store, address)
    if as_json:
        print_json(_as_json(gone))
    else:
        click.echo(f"egress IP {gone.name} is removed")


def _tell(one: EgressIp, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(one))
        return
    addresses = " and ".join(a for a in (one.ipv4, one.ipv6) if a)
    click.echo(f"egress IP {addresses} is {one.state} and says EHLO {one.helo}")


def _row(one: EgressIp) -> list[str]:
    addresses = " ".join(a for a in (one.ipv4, one.ipv6) if a)
    here = [h for h in one.hosts if h.ipv4_here or h.ipv6_here]
    names = dict.fromkeys(n for h in one.hosts for n in (h.ipv4_name, h.ipv6_name) if n)
    return [
        addresses, one.helo, one.state, " ".join(one.pools) or "-", " ".join(h.host for h in here) or "-",
        " ".join(names) or "-", "; ".join(one.notes),
    ]  # fmt: skip


def _as_json(one: EgressIp) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("ip", one.id),
        "ipv4": one.ipv4,
        "ipv6": one.ipv6,
        "helo": one.helo,
        "state": one.state,
        "pools": list(one.pools),
        "hosts": [
            {
                "host": h.host, "ipv4_here": h.ipv4_here, "ipv6_here": h.ipv6_here,
                "ipv4_name": h.ipv4_name, "ipv6_name": h.ipv6_name, "checked_at": h.checked_at,
            }
            for h in one.hosts
        ],
        "notes": list(one.notes),
        "created_at": one.created_at,
    }  # fmt: skip
