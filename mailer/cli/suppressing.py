"""`mailer suppression list | search | add | remove | import | export | review | erase`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from mailer.cli.faults import CommandFailed
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
from mailer.cli.selecting import operator

if TYPE_CHECKING:
    from mailer.config import Settings
    from mailer.policy.suppressionkey import Keys, Target
    from mailer.store import Store

_F = TypeVar("_F", bound=Callable[..., Any])
_SHOWN = 1000


def _whose(command: _F) -> _F:
    tenant = click.option("--tenant", help="Whose list.")
    everybody = click.option(
        "--global", "is_global", is_flag=True, help="The operator's list, which holds for all tenants."
    )
    return tenant(everybody(command))


@click.group()
def suppression() -> None:
    """Whom nothing is sent to, by tenant, or for all tenants.

    A TARGET is an address, a domain, or "*." and a domain for it and all beneath. Entries come from bounces,
    complaints and unsubscriptions by themselves; docs/suppression.md says when.
    """


@suppression.command("list")
@_whose
@click.option("--reason", help="Only those made for it.")
@click.option("--stream", help="Only those of this stream.")
@click.option("--domain", help="Only that domain, and addresses at it.")
@click.option("--limit", default=100, type=click.IntRange(1, _SHOWN), show_default=True, help="Most of them.")
@data_dir_option
@json_option
def listed(
    tenant: str | None, *, is_global: bool, limit: int, as_json: bool, data_dir: Path | None, **wanted: Any
) -> None:
    """List entries, the newest first."""
    _show(tenant, wanted, is_global=is_global, limit=limit, as_json=as_json, data_dir=data_dir)


@suppression.command()
@click.argument("prefix")
@_whose
@click.option("--limit", default=100, type=click.IntRange(1, _SHOWN), show_default=True, help="Most of them.")
@data_dir_option
@json_option
def search(
    prefix: str, tenant: str | None, *, is_global: bool, limit: int, as_json: bool, data_dir: Path | None
) -> None:
    """List entries of addresses that begin with PREFIX; case makes no difference."""
    _show(
        tenant, {"prefix": prefix.casefold()}, is_global=is_global, limit=limit, as_json=as_json,
        data_dir=data_dir,
    )  # fmt: skip


def _show(
    tenant: str | None,
    wanted: dict[str, Any],
    *,
    is_global: bool,
    limit: int,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    from mailer import clock, ids
    from mailer.queue import suppressionlist
    from mailer.queue.suppressionlist import Wanted
    from mailer.queue.suppressiontext import written

    with open_store(load_settings(data_dir=data_dir)) as store:
        owner = _owner(store, tenant, is_global=is_global)
        page = suppressionlist.page(store, owner, Wanted(**wanted), after=None, limit=limit, now=clock.now())
    if as_json:
        print_json(
            [
                {
                    "id": ids.show("sup", row.id), "target": written(row), "stream": row.stream,
                    "reason": row.reason, "cause": row.cause, "note": row.words, "added_by": row.added_by,
                    "created_at": row.created_at, "expires_at": row.expires_at,
                }
                for row in page.entries
            ]
        )  # fmt: skip
        return
    rows = [
        [
            ids.show("sup", row.id), written(row) or "(erased)", row.stream or "(all)", row.reason, row.cause,
            moment(row.created_at), moment(row.expires_at), row.words or "",
        ]
        for row in page.entries
    ]  # fmt: skip
    print_table(["ID", "TARGET", "STREAM", "REASON", "CAUSE", "SINCE", "UNTIL", "NOTE"], rows)
    if page.next_after is not None:
        click.echo(
            f"and more; --limit shows up to {_SHOWN}, `mailer suppression export` writes all", err=True
        )


@suppression.command()
@click.argument("target")
@_whose
@click.option("--stream", help="Only mail of this stream of the tenant.")
@click.option("--note", help="Why.")
@data_dir_option
def add(
    target: str,
    tenant: str | None,
    *,
    is_global: bool,
    stream: str | None,
    note: str | None,
    data_dir: Path | None,
) -> None:
    """Send nothing to TARGET from now on; what waits for it is stopped within a minute."""
    from mailer import clock, ids
    from mailer.identity import streams
    from mailer.policy.suppression import Reason
    from mailer.queue import suppressionlist
    from mailer.queue.suppressing import EVERY_STREAM
    from mailer.queue.suppressionentries import OPERATOR, Entry

    settings = load_settings(data_dir=data_dir)
    with open_store(settings) as store, id_maker(store) as new_id:
        owner = _owner(store, tenant, is_global=is_global)
        if stream is not None and is_global:
            raise CommandFailed("an entry for all tenants has no --stream")
        entry = Entry(
            target=_target(settings, store, target),
            tenant_id=owner,
            stream_id=EVERY_STREAM if stream is None else streams.id_of(store, owner, stream),
            id=new_id(),
            reason=Reason.MANUAL,
            cause=OPERATOR,
            words=note,
            added_by=operator().name,
            created_at=clock.now(),
        )
        row, made = suppressionlist.add(store, entry, new_id=new_id)
    click.echo(f"{ids.show('sup', row.id)} {'added' if made else 'stood already'}")


@suppression.command()
@click.argument("suppression_id")
@_whose
@click.option("--send-again", is_flag=True, help="Accept anew what it stopped.")
@data_dir_option
def remove(
    suppression_id: str, tenant: str | None, *, is_global: bool, send_again: bool, data_dir: Path | None
) -> None:
    """Take an entry away: its recipients are sent to again."""
    from mailer import clock, ids
    from mailer.queue import suppressionlist

    with open_store(load_settings(data_dir=data_dir)) as store, id_maker(store) as new_id:
        owner = _owner(store, tenant, is_global=is_global)
        try:
            number = ids.parse("sup", suppression_id)
        except ids.MalformedId as error:
            raise CommandFailed(str(error)) from None
        removed = suppressionlist.remove(
            store, owner, number, send_again=send_again, new_id=new_id, now=clock.now()
        )
    if removed is None:
        raise CommandFailed(f"the list has no entry {suppression_id}")
    click.echo(f"removed; recipients that are sent to again: {removed.send_again}")


@suppression.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@_whose
@data_dir_option
@json_option
def import_(
    file: IO[str], tenant: str | None, *, is_global: bool, as_json: bool, data_dir: Path | None
) -> None:
    """Read a list as CSV from FILE ("-": standard input); its first line names the columns.

    `address` (or `recipient`, or what ends in "mail") must be there; `stream`, `reason`, `note`, `created_at`
    and `expires_at` may. Rows with a fault are named, the others taken; then the exit code is 1. It may be
    repeated.
    """
    from mailer import clock
    from mailer.identity import streams
    from mailer.queue.suppressing import EVERYBODY
    from mailer.queue.suppressionfile import Importer, NoList

    settings = load_settings(data_dir=data_dir)
    with open_store(settings) as store, id_maker(store) as new_id:
        owner = _owner(store, tenant, is_global=is_global)
        importer = Importer(
            store=store, keys=_keys(settings, store), tenant_id=owner, new_id=new_id, now=clock.now,
            added_by=operator().name, streams={} if owner == EVERYBODY else streams.ids_of(store, owner),
        )  # fmt: skip
        try:
            outcome = importer.run(file)
        except (NoList, UnicodeDecodeError) as error:
            raise CommandFailed(str(error)) from None
    if as_json:
        print_json(outcome)
    else:
        for fault in outcome.faults:
            click.echo(f"line {fault.line}: {fault.detail}", err=True)
        click.echo(f"added {outcome.added}, known {outcome.known}, refused {outcome.refused}")
    if outcome.refused:
        sys.exit(1)


@suppression.command()
@_whose
@click.option("--out", type=click.File("w", encoding="utf-8"), default="-", help="Default: standard output.")
@data_dir_option
def export(tenant: str | None, *, is_global: bool, out: IO[str], data_dir: Path | None) -> None:
    """Write the whole list as CSV, as `import` reads it; erased entries are left out."""
    from mailer import clock
    from mailer.queue import suppressionfile

    with open_store(load_settings(data_dir=data_dir)) as store:
        owner = _owner(store, tenant, is_global=is_global)
        for lines in suppressionfile.export(store, owner, now=clock.now()):
            out.write(lines)


@suppression.command()
@click.argument("site", required=False)
@click.option("--suppress", "suppress", flag_value="yes", help="The site was right: make the entries.")
@click.option("--forget", "suppress", flag_value="no", help="The site was wrong: forget them.")
@data_dir_option
@json_option
def review(site: str | None, suppress: str | None, *, as_json: bool, data_dir: Path | None) -> None:
    """List sites that suddenly refused ten times as many recipients as usual, or decide about SITE.

    What such a site says suppresses nobody until it is decided. The recipients were bounced all the same.
    """
    from mailer import clock
    from mailer.queue import suppressionreview

    if (site is None) != (suppress is None):
        raise CommandFailed("give both: a SITE, and --suppress or --forget")
    with open_store(load_settings(data_dir=data_dir)) as store:
        if site is not None:
            with id_maker(store) as new_id:
                number = suppressionreview.decide(
                    store,
                    site,
                    suppress=suppress == "yes",
                    by=operator().name,
                    new_id=new_id,
                    now=clock.now(),
                )
            click.echo(f"{number} entries {'made' if suppress == 'yes' else 'forgotten'}")
            return
        cases = suppressionreview.cases(store)
    if as_json:
        print_json(cases)
        return
    rows = [
        [c.site, str(c.waiting), moment(c.since), f"{c.invalid} of {c.answered}", f"{c.usual:.2%}"]
        for c in cases
    ]
    print_table(["SITE", "WAITING", "SINCE", "UNKNOWN IN THE HOUR", "USUAL"], rows)


@suppression.command()
@click.argument("address")
@data_dir_option
def erase(address: str, data_dir: Path | None) -> None:
    """Make ADDRESS unreadable in all lists; mail to it is stopped as before.

    For a person who wants to be forgotten. What remains is a hash that only this installation can make.
    """
    from mailer.queue import suppressionlist

    settings = load_settings(data_dir=data_dir)
    with open_store(settings) as store:
        number = suppressionlist.erase(store, _target(settings, store, address))
    click.echo(f"entries erased: {number}")


def _owner(store: Store, tenant: str | None, *, is_global: bool) -> int:
    from mailer.identity import tenants
    from mailer.queue.suppressing import EVERYBODY

    if is_global == (tenant is not None):
        raise CommandFailed("whose list? --tenant NAME, or --global")
    return EVERYBODY if tenant is None else tenants.named(store, tenant).id


def _keys(settings: Settings, store: Store) -> Keys:
    from mailer.policy.suppressionkey import PURPOSE, Keys

    return Keys(open_vault(settings, store).derive(PURPOSE))


def _target(settings: Settings, store: Store, text: str) -> Target:
    from mailer.queue.suppressiontext import BadTarget, read_target

    try:
        return read_target(_keys(settings, store), text)
    except BadTarget as error:
        raise CommandFailed(str(error)) from None
