"""`mailer reports dmarc | tls | complaints`: what was reported about a sending domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailer.cli.options import (
    data_dir_option,
    json_option,
    load_settings,
    open_store,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from mailer.queue.reports.span import Span
    from mailer.store import Store

_F = TypeVar("_F", bound=Callable[..., Any])
_USUAL_DAYS = 30
_day = click.DateTime(["%Y-%m-%d"])


def _asked(command: _F) -> _F:
    """The options that all of them have."""
    for option in (
        json_option,
        data_dir_option,
        click.option("--to", "last", type=_day, help="Last day, UTC (default today)."),
        click.option("--from", "first", type=_day, help="First day, UTC (default: 30 days in all)."),
        click.argument("domain"),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class _Asked:
    store: Store
    span: Span


@contextmanager
def _opened(
    domain: str, first: datetime | None, last: datetime | None, given: dict[str, Any]
) -> Iterator[_Asked]:
    from mailer import clock
    from mailer.identity import domains
    from mailer.queue.reports.span import Span

    to = (last or clock.now()).date()
    since = first.date() if first else to - timedelta(days=_USUAL_DAYS - 1)
    if since > to:
        raise click.UsageError("--from is after --to")
    with open_store(load_settings(**given)) as store:
        found, _ = domains.described(store, domain)
        yield _Asked(store, Span(found.id, since, to))


@click.group()
def reports() -> None:
    """What receivers report about mail of a sending domain.

    They send reports where its DNS records ask for them: see `mailer domain records`.
    """


@reports.command()
@_asked
def dmarc(domain: str, first: datetime | None, last: datetime | None, as_json: bool, **given: Any) -> None:
    """Who sent mail in the name of DOMAIN, and what of it passed DMARC."""
    from mailer.queue.reports import dmarc as told

    with _opened(domain, first, last, given) as asked:
        found = told.summary(asked.store, asked.span)
    if as_json:
        print_json(found)
        return
    total = found.totals
    click.echo(f"{found.reports} reports: {total.messages} messages, {_share(total.aligned, total.messages)}")
    _print(
        ["SOURCE", "OURS", "MESSAGES", "PASSED", "BY DKIM", "BY SPF", "QUARANTINED", "REJECTED"],
        [
            [
                s.source_ip or "(not said)", "yes" if s.is_ours else "", s.tally.messages, s.tally.aligned,
                s.tally.dkim_aligned, s.tally.spf_aligned, s.tally.quarantined, s.tally.rejected,
            ]
            for s in found.by_source
        ],
    )  # fmt: skip


@reports.command()
@_asked
def tls(domain: str, first: datetime | None, last: datetime | None, as_json: bool, **given: Any) -> None:
    """How TLS to the hosts of DOMAIN fared, that of its return path above all."""
    from mailer.queue.reports import tls as told

    with _opened(domain, first, last, given) as asked:
        found = told.summary(asked.store, asked.span)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.reports} reports: {found.successful} sessions with TLS, {found.failed} failed")
    _print(
        ["POLICY", "OF", "SUCCESSFUL", "FAILED"],
        [[p.type or "(other)", p.policy_domain, p.successful, p.failed] for p in found.by_policy],
    )
    _print(["FAILURE", "SESSIONS"], [[r.result or "(not said)", r.sessions] for r in found.by_result])


@reports.command()
@_asked
def complaints(
    domain: str, first: datetime | None, last: datetime | None, as_json: bool, **given: Any
) -> None:
    """Who complained of mail of DOMAIN, and of which stream's."""
    from mailer.queue.reports import complaints as told

    with _opened(domain, first, last, given) as asked:
        found = told.summary(asked.store, asked.span)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.totals.complaints} complaints, {found.totals.verified} of them verified")
    for head, groups in (
        ("STREAM", found.by_stream),
        ("REPORTER", found.by_reporter),
        ("KIND", found.by_kind),
        ("SOURCE", found.by_source),
    ):
        rows = [[g.name or "(not known)", g.tally.complaints, g.tally.verified] for g in groups]
        _print([head, "COMPLAINTS", "VERIFIED"], rows)


def _share(part: int, whole: int) -> str:
    return f"{part} passed ({part / whole:.1%})" if whole else "none passed"


def _print(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, if there is anything in it."""
    if rows:
        click.echo()
        print_table(head, [[str(cell) for cell in row] for row in rows])
