"""`mailer hold | release | requeue | move | bounce`: acting on mail that waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, json_option, moment, print_json
from mailer.cli.selecting import Said, dry_run_option, means_of, operator, selecting

if TYPE_CHECKING:
    from mailer.queue.holds import Hold
    from mailer.queue.pieces import Done, Extent, Means
    from mailer.queue.selection import Selection

_reason_option = click.option("--reason", required=True, help="Why; `mailer explain` tells it.")
_MOST_REASON = 500


@click.command()
@selecting
@_reason_option
@click.option("--for", "period", metavar="DURATION", help="Until then, as 30m, 12h or 2d; default: released.")
@dry_run_option
@data_dir_option
@json_option
def hold(*, said: Said, reason: str, period: str | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Let nothing that is meant be sent, from a second on, until `mailer release` or for a time.

    All that is said must be met. New mail that meets it is held as well; what a worker has in hand is sent.
    No clock stands still: mail with a deadline expires.
    """
    from mailer.queue import holds, pieces

    _check(reason)
    with means_of(given) as means:
        wanted = said.selection(means.store)
        found = pieces.extent(means, wanted)
        if dry_run:
            _tell_extent(found, as_json)
            return
        new = holds.NewHold(wanted, reason, _until(means.now(), period), found.waiting)
        made = holds.place(means.store, new, operator(), new_id=means.new_id, now=means.now())
    if as_json:
        print_json({**shown_hold(made), "recipients": found.waiting, "under_way": found.under_way})
        return
    until = f"until {moment(made.until)} UTC" if made.until else "until it is released"
    click.echo(f"{_name(made)} holds {found.waiting} recipients and what else comes, {until}")
    _tell_under_way(found.under_way)


@click.command()
@click.argument("hold_ids", metavar="[HOLD]...", nargs=-1)
@selecting
@click.option("--reason", default="", help="Why; for the record.")
@dry_run_option
@data_dir_option
@json_option
def release(
    *, hold_ids: tuple[str, ...], said: Said, reason: str, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """End holds: those named (hold_...), or those whose conditions are among them what is said.

    `mailer release --domain example.org` ends every hold with that domain, whatever else it says.
    """
    from mailer.queue import holds

    _check(reason)
    with means_of(given) as means:
        going = _named(means, hold_ids) if hold_ids else _meeting(means, said.selection(means.store))
        if not dry_run:
            for one in going:
                holds.release(
                    means.store, one.id, operator(), reason=reason, new_id=means.new_id, now=means.now()
                )
    if as_json:
        print_json({"released": [shown_hold(one) for one in going], "dry_run": dry_run})
        return
    for one in going:
        click.echo(f"{_name(one)} {'would be' if dry_run else 'is'} released: {conditions(one)}")
    if not going:
        click.echo("no hold is meant")


@click.command()
@selecting
@_reason_option
@click.option("--faulty", is_flag=True, help="Also what a fault held, such as a body that was missing.")
@dry_run_option
@data_dir_option
@json_option
def requeue(*, said: Said, reason: str, faulty: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Let what waits for a retry be tried now. What its sender scheduled for later is left alone."""
    from mailer.queue import acting

    _check(reason)
    with means_of(given) as means:
        wanted = said.selection(means.store)
        if dry_run:
            _tell_extent(acting.to_requeue(means, wanted, faulty=faulty), as_json)
            return
        done = acting.requeue(means, wanted, operator(), acting.Requeue(reason=reason, faulty=faulty))
    _tell_done(done, "due now", as_json)


@click.command()
@selecting
@click.option("--to-stream", help="Name of the stream to move to.")
@click.option("--to-pool", help="Name of the pool that it leaves from until it ends.")
@_reason_option
@dry_run_option
@data_dir_option
@json_option
def move(*, said: Said, reason: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Let what waits be sent as mail of another stream of its tenant: with its retries, by its pool.

    Or from another pool, whatever its stream's is. Broadcast mail is not moved to a transactional stream or
    pool, nor anybody's to another tenant's pool. What a worker has in hand is left to it.
    """
    from mailer.queue import moving, pieces

    _check(reason)
    to_stream, to_pool = given.pop("to_stream"), given.pop("to_pool")
    if (to_stream is None) == (to_pool is None):
        raise CommandFailed("say either --to-stream or --to-pool")
    with means_of(given) as means:
        wanted = said.selection(means.store)
        if dry_run:
            _tell_extent(pieces.extent(means, wanted), as_json)
            return
        try:
            if to_pool is not None:
                order = moving.MoveToPool(to_pool, reason)
                done = moving.move_to_pool(means, wanted, operator(), order)
            else:
                done = moving.move(means, wanted, operator(), moving.Move(to_stream, reason))
        except moving.CannotMove as error:
            raise CommandFailed(str(error)) from None
    where = f"in the stream {to_stream}" if to_pool is None else f"to leave from the pool {to_pool}"
    _tell_done(done, where, as_json)


@click.command()
@selecting
@_reason_option
@click.option("--status", default="5.7.1", show_default=True, help="Enhanced status, 5.y.z (RFC 3463).")
@dry_run_option
@data_dir_option
@json_option
def bounce(*, said: Said, reason: str, status: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """End what waits as bounced: with an event, and with a notice where its submitter wants one.

    What a worker has in hand is left to it; `mailer hold` first if all of it shall end.
    """
    from mailer.queue import acting, pieces

    verdict = _verdict(status, reason)
    _check(reason)
    with means_of(given) as means:
        wanted = said.selection(means.store)
        if dry_run:
            _tell_extent(pieces.extent(means, wanted), as_json)
            return
        done = acting.bounce(means, wanted, operator(), verdict)
    _tell_done(done, "bounced", as_json)


def _verdict(status: str, reason: str) -> Any:
    from mailer.queue.acting import BadVerdict, verdict

    try:
        return verdict(status, reason)
    except BadVerdict as error:
        raise click.BadParameter(str(error), param_hint="--status") from None


def _check(reason: str) -> None:
    if len(reason) > _MOST_REASON or not reason.isprintable():
        raise click.BadParameter(
            f"must be one line of at most {_MOST_REASON} characters", param_hint="--reason"
        )


def _until(now: datetime, period: str | None) -> datetime | None:
    from mailer.config.values import parse_duration

    try:
        lasts = None if period is None else parse_duration(period)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    if lasts is not None and lasts <= timedelta(0):
        raise click.BadParameter("must be longer than nothing", param_hint="--for")
    return None if lasts is None else now + lasts


def _named(means: Means, texts: tuple[str, ...]) -> list[Hold]:
    from mailer import ids
    from mailer.queue import holds

    there = {ids.show("hold", one.id): one for one in holds.listed(means.store, None, now=means.now())}
    for text in texts:
        if text not in there:
            raise CommandFailed(f"no hold {text} is in force")
    return [there[text] for text in texts]


def _meeting(means: Means, wanted: Selection) -> list[Hold]:
    from mailer.queue import holds

    said = wanted.shown().items()
    return [h for h in holds.listed(means.store, None, now=means.now()) if said <= h.wanted.shown().items()]


def shown_hold(one: Hold) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("hold", one.id),
        "wanted": dict(one.wanted.shown()),
        "owner": None if one.owner_id is None else ids.show("ten", one.owner_id),
        "placed_by": one.placed_by,
        "reason": one.reason,
        "placed_at": one.placed_at,
        "until": one.until,
    }


def conditions(one: Hold) -> str:
    return ", ".join(f"{name.removesuffix('_id')} {value}" for name, value in one.wanted.shown().items()) or (
        "all mail"
    )


def _name(one: Hold) -> str:
    from mailer import ids

    return ids.show("hold", one.id)


def _tell_extent(found: Extent, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "recipients": found.waiting, "under_way": found.under_way})
        return
    states = ", ".join(f"{n} {state}" for state, n in sorted(found.states.items()) if n)
    click.echo(f"{found.waiting} recipients are meant" + (f" ({states})" if states else ""))


def _tell_done(done: Done, what: str, as_json: bool) -> None:
    from mailer import ids

    if as_json:
        print_json(
            {
                "action_id": ids.show("act", done.action_id),
                "recipients": done.changed,
                "under_way": done.under_way,
            }
        )
        return
    click.echo(f"{done.changed} recipients are {what}")
    _tell_under_way(done.under_way)


def _tell_under_way(n: int) -> None:
    if n:
        click.echo(f"{n} more are in a worker's hands, and were left alone")
