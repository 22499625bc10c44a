"""`mailer limit list | sites | set | remove | trust`."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from mailer.policy.limits import Rate
    from mailer.queue.allowances import Subject
    from mailer.store import Store

_stream_option = click.option("--stream", help="Only this stream of the tenant.")
_accept_option = click.option(
    "--accept", "accepting", is_flag=True, help="What is accepted of the tenant, not what it may send."
)


@click.group()
def limit() -> None:
    """What tenants and streams may send over time; mail beyond it waits for its turn.

    With --accept, how many recipients are accepted of a tenant; what is beyond it is refused.
    What sites take is said by rules, see `mailer sites`; `mailer limit sites` tells how much of it is left.
    """


@limit.command("list")
@data_dir_option
@json_option
def listed(as_json: bool, **given: Any) -> None:
    """List all limits, and how much of each is left at this moment."""
    from mailer import clock
    from mailer.queue import allowances

    with open_store(load_settings(**given)) as store:
        found = allowances.standing(store, now=clock.now())
    if as_json:
        print_json(
            [
                {
                    "tenant": a.tenant, "of": "accepting" if a.is_accepting else "sending",
                    "stream": a.stream, "limit": str(at.rate), "used": at.used, "room_now": at.room,
                    "opens_at": at.opens_at, "newcomer": a.is_newcomers,
                }
                for a in found for at in a.at
            ]
        )  # fmt: skip
        return
    rows = [
        [
            a.tenant,
            "(new)" if a.is_newcomers else a.stream or "(all)",
            "accepting" if a.is_accepting else "sending",
            str(at.rate),
            str(at.used),
            f"used up until {moment(at.opens_at)}" if at.opens_at else "has room",
        ]
        for a in found
        for at in a.at
    ]
    print_table(["TENANT", "STREAM", "OF", "LIMIT", "USED", "NOW"], rows)


@limit.command("sites")
@data_dir_option
@json_option
def of_sites(as_json: bool, **given: Any) -> None:
    """List what sites take over time, messages and new connections, and whether there is room now.

    Sites that mail was sent to under such a rule; `mailer sites list` prints all rules.
    """
    from mailer import clock
    from mailer.cli.siterules import rules_of
    from mailer.queue import sitemeters

    settings = load_settings(**given)
    with open_store(settings) as store:
        found = sitemeters.listed(store, rules_of(settings, store), now=clock.now())
    if as_json:
        print_json(
            [
                {
                    "site": m.site, "of": m.of, "egress_ip": m.egress_ip, "limit": str(m.at.rate),
                    "room_now": m.at.room, "opens_at": m.at.opens_at, "place": m.place,
                }
                for m in found
            ]
        )  # fmt: skip
        return
    rows = [
        [
            m.site,
            "new connections" if m.of == "connections" else "messages",
            "(all)" if m.egress_ip is None else m.egress_ip or "-",
            str(m.at.rate),
            f"used up until {moment(m.at.opens_at)}" if m.at.opens_at else "has room",
            m.place,
        ]
        for m in found
    ]
    print_table(["SITE", "OF", "FROM", "LIMIT", "NOW", "PLACE"], rows)


@limit.command("set")
@click.argument("tenant")
@click.argument("rates", nargs=-1, required=True, metavar="RATE...")
@_stream_option
@_accept_option
@data_dir_option
def set_(tenant: str, rates: tuple[str, ...], stream: str | None, *, accepting: bool, **given: Any) -> None:
    """Let TENANT send no more than RATE... messages: 100/h, 5/s, 20/min, 10000/day.

    Each holds over any such time, wherever it begins, over all workers; every recipient counts as one. It
    replaces what was set of the same before, and is in force within seconds. With --accept no more
    recipients than that are accepted of TENANT, by all its keys together.
    """
    from mailer import clock
    from mailer.policy.limits import LimitError, Rate
    from mailer.queue import allowances

    try:
        wanted = [Rate.parse(text) for text in rates]
    except LimitError as error:
        raise CommandFailed(str(error)) from None
    if len({rate.seconds for rate in wanted}) < len(wanted):
        raise CommandFailed("one limit for each kind of window: two of the same contradict each other")
    with open_store(load_settings(**given)) as store:
        subject, subject_id = _subject(store, tenant, stream, accepting=accepting)
        allowances.allow(store, subject, subject_id, wanted, now=clock.now())
    click.echo(f"{_name(tenant, stream)}: {'accepting ' if accepting else ''}{_shown(wanted)}")


@limit.command()
@click.argument("tenant")
@_stream_option
@_accept_option
@data_dir_option
def remove(tenant: str, stream: str | None, *, accepting: bool, **given: Any) -> None:
    """Take the limits of TENANT away; those of its streams stay, and of what is accepted, see --accept."""
    from mailer import clock
    from mailer.queue import allowances

    with open_store(load_settings(**given)) as store:
        subject, subject_id = _subject(store, tenant, stream, accepting=accepting)
        allowances.allow(store, subject, subject_id, [], now=clock.now())
    what = "may submit any number" if accepting else "is not limited"
    click.echo(f"{_name(tenant, stream)} {what}")


@limit.command()
@click.argument("tenant")
@data_dir_option
def trust(tenant: str, **given: Any) -> None:
    """TENANT is new no more: the daily cap that grows by itself is gone; other limits stay."""
    from mailer import clock
    from mailer.identity import tenants
    from mailer.queue import newcomers

    with open_store(load_settings(**given)) as store:
        if not newcomers.trust(store, tenants.named(store, tenant).id, now=clock.now()):
            raise CommandFailed(f"tenant {tenant} has no cap of a new tenant")
    click.echo(f"tenant {tenant} has no cap of a new tenant any more")


def _subject(
    store: Store, tenant: str, stream: str | None, *, accepting: bool = False
) -> tuple[Subject, int]:
    from mailer.identity import streams, tenants

    if accepting and stream is not None:
        raise CommandFailed("what is accepted is limited by tenant alone, without --stream")
    owner = tenants.named(store, tenant)
    if stream is None:
        return "accept" if accepting else "tenant", owner.id
    return "stream", streams.id_of(store, owner.id, stream)


def _name(tenant: str, stream: str | None) -> str:
    return f"tenant {tenant}" if stream is None else f"stream {stream} of tenant {tenant}"


def _shown(rates: list[Rate]) -> str:
    return ", ".join(str(rate) for rate in sorted(rates))
