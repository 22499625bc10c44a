"""`mailer queue top | holds | actions`: looking at what waits."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.holding import conditions, shown_hold
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
    from mailer.queue.backlog import Overview, Row


@click.group()
def queue() -> None:
    """Mail that waits: where, for what, and who holds it."""


@queue.command()
@click.option(
    "--by",
    type=click.Choice(["site", "domain", "tenant"]),
    default="site",
    show_default=True,
    help="What a line stands for.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True, help="Most lines.")
@click.option(
    "--every",
    "pause",
    type=click.FloatRange(0.5, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look once; so does --json, and whatever is no terminal.")
@data_dir_option
@json_option
def top(*, by: str, limit: int, pause: float, once: bool, as_json: bool, **given: Any) -> None:
    """Show where mail waits, how fast it goes, and what comes of it; again and again, until Ctrl-C.

    The largest backlog stands first. RATE and what follows are of the last minute; a count with a + is at
    least so many. OLDEST is since the acceptance of the one that waits longest. IN HAND is what workers have
    claimed, CONNECTIONS those that are open, of what workers were granted, of what the site takes.
    """
    from mailer import clock
    from mailer.bootstrap.knowledge import knowledge_of
    from mailer.cli.siterules import rules_of
    from mailer.queue import backlog
    from mailer.queue.backlog import By, Wanted

    settings = load_settings(**given)
    wanted = Wanted(by=By(by), most=limit)
    with open_store(settings) as store:
        known = knowledge_of(settings, rules_of(settings, store), for_operator=True)
        while True:
            began = clock.monotonic()
            seen = backlog.look(store, wanted, known, now=clock.now())
            if as_json:
                print_json(overview(seen))
                return
            if once or not sys.stdout.isatty():
                _show(seen)
                return
            click.clear()
            _show(seen)
            # A look takes its share of the database: never more than a twentieth of the time.
            time.sleep(max(pause, 20 * (clock.monotonic() - began)))


def overview(seen: Overview) -> dict[str, object]:
    """As plain values."""
    return {
        "at": seen.at,
        "by": seen.by,
        "window_seconds": seen.window_seconds,
        "rows": [_row(row) for row in seen.rows],
        "totals": _row(seen.totals),
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "name": row.name, "queued": row.queued, "deferred": row.deferred, "leased": row.leased,
        "is_partial": row.is_partial, "oldest_at": row.oldest_at, "ended": row.ended,
        "outcomes": dict(row.outcomes), "in_use": row.in_use, "granted": row.granted, "limit": row.limit,
    }  # fmt: skip


_HEAD = ("QUEUED", "DEFERRED", "OLDEST", "RATE/MIN", "ERRORS", "IN HAND", "CONNECTIONS", "HEARD")


def _show(seen: Overview) -> None:
    head = [
        seen.by.upper(),
        "QUEUED",
        "DEFERRED",
        "OLDEST",
        "RATE/MIN",
        "ERRORS",
        "IN HAND",
        "CONNECTIONS",
        "HEARD",
    ]
    click.echo(f"{moment(seen.at)} UTC, the last {seen.window_seconds:.0f} s")
    print_table(head, [_cells(row, seen) for row in (seen.totals, *seen.rows)])


def _cells(row: Row, seen: Overview) -> list[str]:
    more = "+" if row.is_partial else ""
    heard = ", ".join(f"{n} {word}" for word, n in row.outcomes.most_common(3))
    return [
        row.name,
        f"{row.queued}{more}",
        f"{row.deferred}{more}",
        "" if row.oldest_at is None else _age((seen.at - row.oldest_at).total_seconds()),
        f"{row.ended * 60 / seen.window_seconds:.0f}",
        str(row.errors),
        str(row.leased),
        "" if row.limit is None else f"{row.in_use}/{row.granted}/{row.limit}",
        heard,
    ]


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@queue.command("holds")
@data_dir_option
@json_option
def holds_(as_json: bool, **given: Any) -> None:
    """List the holds that are in force, the oldest first."""
    from mailer import clock, ids
    from mailer.queue import holds

    with open_store(load_settings(**given)) as store:
        found = holds.listed(store, None, now=clock.now())
    if as_json:
        print_json([shown_hold(one) for one in found])
        return
    print_table(
        ["ID", "PLACED (UTC)", "UNTIL (UTC)", "BY", "HOLDS", "REASON"],
        [
            [
                ids.show("hold", one.id), moment(one.placed_at), moment(one.until) or "released",
                one.placed_by, conditions(one), one.reason,
            ]
            for one in found
        ],
    )  # fmt: skip


@queue.command("actions")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@data_dir_option
@json_option
def actions_(limit: int, as_json: bool, **given: Any) -> None:
    """List who held, released, requeued or bounced what, the newest first."""
    from mailer import ids
    from mailer.queue import actions

    with open_store(load_settings(**given)) as store:
        found = actions.listed(store, None, limit=limit)
    if as_json:
        print_json(
            [
                {
                    "id": ids.show("act", one.id), "at": one.at, "kind": one.kind, "done_by": one.done_by,
                    "owner": None if one.owner_id is None else ids.show("ten", one.owner_id),
                    "wanted": dict(one.wanted), "reason": one.reason, "until": one.until,
                    "hold_id": None if one.hold_id is None else ids.show("hold", one.hold_id),
                    "status": one.status, "target": one.target, "recipients": one.recipients,
                }
                for one in found
            ]
        )  # fmt: skip
        return
    print_table(
        ["AT (UTC)", "DEED", "BY", "RECIPIENTS", "MEANT", "REASON"],
        [
            [
                moment(one.at), one.kind, one.done_by, str(one.recipients),
                ", ".join(f"{k.removesuffix('_id')} {v}" for k, v in one.wanted.items()) or "all mail",
                one.reason,
            ]
            for one in found
        ],
    )  # fmt: skip
