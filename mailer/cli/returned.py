"""`mailer returned list | show | raw`: all that came back, anybody's, for the operator."""

from __future__ import annotations

import sys
from dataclasses import asdict
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
    from mailer.queue.returned_list import Returned


@click.group()
def returned() -> None:
    """Bounces, complaints, reports and letters that came to addresses of this installation."""


@returned.command("list")
@click.option("--tenant", help="Only what is this tenant's.")
@click.option("--class", "bounce_class", help="Only those of this class, as mailbox-full or complaint.")
@click.option("--unverified", is_flag=True, help="Only those that prove nothing, and changed nothing.")
@click.option("--failed", is_flag=True, help="Only those that could not be read.")
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=50, show_default=True)
@data_dir_option
@json_option
def list_(
    *, tenant: str | None, bounce_class: str | None, unverified: bool, failed: bool, limit: int,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """List what came back, newest first."""
    from mailer.identity import tenants
    from mailer.queue import returned_list
    from mailer.queue.returned_list import Wanted

    with open_store(load_settings(**given)) as store:
        wanted = Wanted(
            tenant_id=None if tenant is None else tenants.named(store, tenant).id,
            bounce_class=bounce_class,
            is_verified=False if unverified else None,
            state="failed" if failed else None,
            limit=limit,
        )
        found = returned_list.page(store, wanted)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    rows = [
        [
            _id(one),
            moment(one.received_at),
            one.kind,
            one.bounce_class or "-",
            "-" if one.is_verified is None else "yes" if one.is_verified else "no",
            str(one.findings.get("event") or one.findings.get("report") or "-"),
            one.address,
        ]
        for one in found
    ]
    print_table(["ID", "CAME AT", "KIND", "CLASS", "VERIFIED", "LED TO", "ADDRESS"], rows)


@returned.command()
@click.argument("returned_id", metavar="ID")
@data_dir_option
def show(returned_id: str, **given: Any) -> None:
    """Show one of them, as JSON: how it came, what it means and what followed."""
    from mailer.queue import returned_list

    with open_store(load_settings(**given)) as store:
        found = returned_list.get(store, None, _number(returned_id))
    if found is None:
        raise CommandFailed(f"there is no {returned_id}")
    print_json(_as_json(found))


@returned.command()
@click.argument("returned_id", metavar="ID")
@data_dir_option
def raw(returned_id: str, **given: Any) -> None:
    """Write one of them as it came to standard output. Written by a stranger."""
    from mailer.queue import returned_list

    with open_store(load_settings(**given)) as store:
        content = returned_list.content(store, None, _number(returned_id))
    if content is None:
        raise CommandFailed(f"there is no {returned_id}")
    sys.stdout.buffer.write(content)


def _number(text: str) -> int:
    from mailer import ids

    try:
        return ids.parse("ret", text)
    except ids.MalformedId:
        raise CommandFailed(
            f"{text} is not the id of a returned mail; `mailer returned list` tells them"
        ) from None


def _id(one: Returned) -> str:
    from mailer import ids

    return ids.show("ret", one.id)


def _as_json(one: Returned) -> dict[str, Any]:
    from mailer import ids

    shown = {
        "message_id": None if one.message_id is None else ids.show("msg", one.message_id),
        "recipient_id": None if one.recipient_id is None else ids.show("rcpt", one.recipient_id),
    }
    return {**asdict(one), "id": _id(one), **shown}
