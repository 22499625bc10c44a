"""`mailer messages | explain ID | verify`: looking into the store, for the operator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
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
from mailer.events import RecipientState

if TYPE_CHECKING:
    from mailer.queue.explain import Explanation, Judged, Line
    from mailer.queue.listing import Summary as InList
    from mailer.queue.obstacles import Obstacle
    from mailer.queue.read import Summary
    from mailer.queue.verify import TenantCount, Verdict
    from mailer.store import Store

_STATES = [str(state) for state in RecipientState]


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--tenant", "tenant_name", help="Only those of this tenant; MAILER_TENANT if filtered.")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="With such a recipient.")
@click.option("--recipient", help="To this address.")
@click.option("--tag", help="With this tag.")
@click.option("--stream", help="In this stream.")
@data_dir_option
@json_option
def messages(
    *,
    limit: int,
    tenant_name: str | None,
    states: tuple[str, ...],
    recipient: str | None,
    tag: str | None,
    stream: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """List the newest messages and how many of their recipients are in which state.

    All filters must be met, --state and --recipient by one recipient. --state may be repeated.
    """
    from mailer.identity import tenants
    from mailer.queue import listing, read
    from mailer.queue.finding import Wanted

    settings = load_settings(**given)
    wanted = Wanted(states=frozenset(states), address=_address(recipient), tag=tag, stream=stream)
    found: Sequence[read.Summary | listing.Summary]
    with open_store(settings) as store:
        if wanted == listing.ALL and tenant_name is None:
            found = read.newest(store, None, limit=limit)
        else:
            tenant = tenants.named(store, tenant_name or settings.tenant)
            found = list(islice(listing.every(store, tenant.id, wanted), limit))
    if as_json:
        print_json([_summary(one) for one in found])
    else:
        head = ["ID", "ACCEPTED (UTC)", "FROM", "RECIPIENTS", "SUBJECT"]
        print_table(head, [_summary_row(one) for one in found])


@click.command()
@click.argument("shown_id", metavar="ID")
@data_dir_option
@json_option
def explain(shown_id: str, as_json: bool, **given: Any) -> None:
    """Tell the life of the message or recipient ID (msg_..., rcpt_...), and what keeps it waiting.

    Every decision with its reason; each obstacle of this moment, until when, and what it would take.
    """
    from mailer import clock
    from mailer.bootstrap.knowledge import knowledge_of
    from mailer.cli.siterules import rules_of
    from mailer.queue import explain as explaining

    settings = load_settings(**given)
    with open_store(settings) as store:
        message_id, recipient_id = _meant(store, shown_id)
        tenant_id = None if message_id is None else explaining.tenant_of(store, message_id)
        found = None
        if message_id is not None and tenant_id is not None:
            known = knowledge_of(settings, rules_of(settings, store), for_operator=True)
            found = explaining.explain(store, tenant_id, message_id, known, now=clock.now())
    if found is None:
        raise CommandFailed(f"there is no message or recipient {shown_id}")
    told = [one for one in found if recipient_id in (None, one.recipient_id)]
    if as_json:
        print_json([_explanation(one) for one in told])
    else:
        click.echo("\n\n".join(_story(one) for one in told))


def _meant(store: Store, shown_id: str) -> tuple[int | None, int | None]:
    """A message, and one of its recipients if only that is meant."""
    from mailer import ids
    from mailer.queue import explain as explaining

    is_recipient = shown_id.startswith("rcpt_")
    try:
        wanted = ids.parse("rcpt" if is_recipient else "msg", shown_id)
    except ids.MalformedId as error:
        raise click.BadParameter(str(error), param_hint="ID") from None
    return (explaining.message_with(store, wanted), wanted) if is_recipient else (wanted, None)


@click.command()
@data_dir_option
@json_option
def verify(as_json: bool, **given: Any) -> None:
    """Recount the promise: every accepted recipient is final or in the queue, and every change was told.

    Safe at any time. The exit code is 0 if all holds, else 1: then something was lost or doubled.
    """
    from mailer.queue import verify as recount

    with open_store(load_settings(**given)) as store:
        verdict = recount.verify(store)
    if as_json:
        print_json(_verdict(verdict))
    else:
        _print_verdict(verdict)
    sys.exit(0 if verdict.holds else 1)


def _address(text: str | None) -> str | None:
    """As it is stored."""
    from mailer.compose.address import AddressError, parse_addr_spec

    try:
        return None if text is None else parse_addr_spec(text).addr_spec
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="--recipient") from None


def _summary(one: Summary | InList) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("msg", one.id),
        "accepted_at": one.accepted_at,
        "from": one.header_from,
        "subject": one.subject,
        "recipients": dict(one.states),
    }


def _summary_row(one: Summary | InList) -> list[str]:
    from mailer import ids

    states = ", ".join(f"{n} {state}" for state, n in sorted(one.states.items()))
    return [ids.show("msg", one.id), moment(one.accepted_at), one.header_from, states, one.subject]


def _explanation(one: Explanation) -> dict[str, object]:
    from mailer import ids

    return {
        "id": ids.show("rcpt", one.recipient_id),
        "address": one.address,
        "state": one.state,
        "past": list(one.past),
        "now": one.now,
        "obstacles": list(one.obstacles),
        "judged": one.judged,
    }


def _story(one: Explanation) -> str:
    from mailer import ids

    head = f"{one.address} ({ids.show('rcpt', one.recipient_id)}) is {one.state}"
    lines = [*(_line(line) for line in one.past), _line(one.now, mark="=>")]
    judged = [] if one.judged is None else [_judged(one.judged)]
    return "\n".join([head, *lines, *judged, *(_obstacle(o) for o in one.obstacles)])


def _judged(one: Judged) -> str:
    rule = "no rule knew it" if one.rule is None else f"by the rule {one.rule}"
    return f"   judged {one.bounce_class}: {one.action}, the blame is {one.blame}; {rule}"


def _obstacle(o: Obstacle) -> str:
    until = f" (until {moment(o.until)} UTC)" if o.until else ""
    rule = f" [{o.rule}]" if o.rule else ""
    workers = "".join(
        f"; {w['connections']} held by pid {w['pid']} on {w['host']}" for w in o.facts.get("workers", ())
    )
    return f"   - {o.kind}: {o.what}{workers}{rule}{until}; {o.remedy}"


def _line(line: Line, mark: str = "  ") -> str:
    until = f" (until {moment(line.until)} UTC)" if line.until else ""
    return f"{mark} {moment(line.at):19}  {line.what}: {line.reason}{until}"


def _verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "holds": verdict.holds,
        "checks": verdict.checks,
        "tenants": [_count(one) for one in verdict.tenants],
    }


def _count(one: TenantCount) -> dict[str, object]:
    from mailer import ids

    return {
        "tenant_id": ids.show("ten", one.tenant_id),
        "name": one.name,
        "accepted": one.accepted,
        "final": one.final,
        "in_queue": one.in_queue,
        "unaccounted": one.unaccounted,
    }


def _print_verdict(verdict: Verdict) -> None:
    rows = [["holds" if check.holds else "BROKEN", check.name, check.detail] for check in verdict.checks]
    print_table(["", "CLAIM", "DETAIL"], rows)
    for one in verdict.tenants:
        final = sum(one.final.values())
        click.echo(
            f"\ntenant {one.name}: {one.accepted} accepted = {final} final + {one.in_queue} in the queue"
            f" + {one.unaccounted} unaccounted"
        )
