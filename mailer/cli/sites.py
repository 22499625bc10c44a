"""`mailer sites list | rules | check | explain | set | unset | slow | lift`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
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
from mailer.cli.siterules import rules_here, set_, unset

if TYPE_CHECKING:
    from mailer.policy.automation import Rule
    from mailer.policy.sites import Provider
    from mailer.store import Store


@click.group()
def sites() -> None:
    """Mailbox providers: what each of them takes at a time, and who says so."""


sites.add_command(set_)
sites.add_command(unset)


@sites.command("list")
@data_dir_option
@json_option
def list_(as_json: bool, **given: Any) -> None:
    """Print the rules as they hold, those of MAILER_SITES_FILE and of the API included."""
    from mailer.policy.site_record import record_of

    rules = rules_here(load_settings(**given))
    providers = [*rules.providers, *([rules.default] if rules.default else [])]
    if as_json:
        print_json([record_of(provider) for provider in providers])
        return
    rows = [
        [
            p.name,
            _limit(p.connections),
            _limit(p.messages_per_session),
            _over_time(p) or "-",
            p.tls or "-",
            " ".join(p.mx),
            p.place,
            p.source,
        ]
        for p in providers
    ]
    print_table(
        ["PROVIDER", "CONNECTIONS", "MESSAGES A SESSION", "OVER TIME", "TLS", "MX", "PLACE", "SOURCE"], rows
    )


@sites.command()
@data_dir_option
@json_option
def rules(as_json: bool, **given: Any) -> None:
    """Print the rules on replies as they hold, in the order in which they are asked."""
    found = rules_here(load_settings(**given)).automation.rules
    if as_json:
        print_json([_rule_as_json(rule) for rule in found])
        return
    rows = [
        [
            rule.name,
            rule.provider or "every",
            " ".join(sorted(rule.actions)),
            str(rule.threshold),
            rule.place,
            rule.source,
        ]
        for rule in found
    ]
    print_table(["RULE", "PROVIDER", "ACTION", "FROM", "PLACE", "SOURCE"], rows)


@sites.command()
@data_dir_option
@json_option
def slow(as_json: bool, **given: Any) -> None:
    """Tell which sites are slowed or suspended, since when, until when, and by which rule.

    Streams that a rule slowed or holds at a site are told as well.
    """
    from mailer import clock
    from mailer.queue import slowness

    with open_store(load_settings(**given)) as store:
        found = [("", "", site, h) for _, site, h in slowness.everywhere(store)]
        found += slowness.of_streams(store, now=clock.now())
    if as_json:
        print_json(
            [
                {"site": site, "tenant": tenant or None, "stream": stream or None, **asdict(h)}
                for tenant, stream, site, h in found
            ]
        )
        return
    rows = [
        [
            site,
            f"{tenant}/{stream}" if tenant else "(all)",
            h.kind,
            moment(h.facts["since"]),
            moment(h.until),
            h.rule or "-",
            h.what,
        ]
        for tenant, stream, site, h in found
    ]
    print_table(["SITE", "STREAM", "STATE", "SINCE", "UNTIL", "RULE", "WHY"], rows)


@sites.command()
@click.argument("site")
@click.option("--egress-ip", help="Only from this address of ours; without it from all.")
@click.option("--tenant", help="Only what a rule put on this tenant's stream there; needs --stream.")
@click.option("--stream", help="The tenant's stream.")
@data_dir_option
def lift(site: str, egress_ip: str | None, tenant: str | None, stream: str | None, **given: Any) -> None:
    """Forget what was learnt of SITE, a name as `mailer sites slow` prints it: it is sent all there is.

    With --tenant and --stream only that stream is released, and what was learnt of the site stays.
    """
    if (tenant is None) != (stream is None):
        raise CommandFailed("--tenant and --stream go together")
    if tenant is not None and egress_ip is not None:
        raise CommandFailed("a stream is held at a site from all addresses: --egress-ip does not go with it")
    with open_store(load_settings(**given)) as store:
        whose = site if tenant is None else f"the stream {tenant}/{stream} at {site}"
        if not _lifted(store, site, egress_ip, (tenant, stream)):
            raise CommandFailed(
                f"{whose} is neither slowed nor suspended; `mailer sites slow` prints what is"
            )
    click.echo(f"{whose} is free again")


def _lifted(store: Store, site: str, egress_ip: str | None, part: tuple[str | None, str | None]) -> bool:
    from mailer.identity import streams, tenants
    from mailer.queue import pace

    tenant, stream = part
    if tenant is None or stream is None:
        return pace.lift(store, egress_ip, site) > 0
    tenant_id = tenants.named(store, tenant).id
    return pace.release_stream(store, tenant_id, streams.id_of(store, tenant_id, stream), site)


@sites.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Check the rules in FILE, laid over the shipped ones, before MAILER_SITES_FILE names it.

    Every fault is named with its line, and the exit code is then 2.
    """
    from mailer.config.load import site_rules

    rules = site_rules(file)
    own = sum(provider.place.startswith(f"{file}:") for provider in rules.providers)
    replies = sum(rule.place.startswith(f"{file}:") for rule in rules.automation.rules)
    click.echo(
        f"{file} is in order: {own} rules of its own, {len(rules.providers)} with the shipped ones;"
        f" {replies} on replies, {len(rules.automation.rules)} with the shipped ones"
    )


@sites.command()
@click.argument("host", metavar="HOST")
@data_dir_option
@json_option
def explain(host: str, as_json: bool, **given: Any) -> None:
    """Tell which site the MX host HOST belongs to, what limits it, and where that is written."""
    from mailer.policy.site_record import record_of

    settings = load_settings(**given)
    rules = rules_here(settings)
    name = host.lower().rstrip(".")
    if not name:
        raise CommandFailed("HOST must be the name of an MX host")
    site = rules.site([name])
    rule = rules.rule_of(site)
    connections = rules.connections(site, settings.connections_per_site)
    messages = rules.messages_per_session(site, settings.messages_per_session)
    if as_json:
        limits = {"site": site, "connections": connections, "messages_per_session": messages}
        replies = [_rule_as_json(each) for each in rules.automation.of(rules.provider_name(site))]
        print_json({**limits, "rule": None if rule is None else record_of(rule), "on_replies": replies})
        return
    click.echo(f"{name} belongs to the site {site}")
    click.echo(f"connections at a time: {connections}")
    click.echo(f"messages a session: {messages}")
    if rule is not None and _over_time(rule):
        click.echo(f"over time: {_over_time(rule)}")
    click.echo(f"TLS: {(rule and rule.tls) or 'as the recipient domain asks'}")
    if rule is None:
        click.echo("no provider's rule is for it; MAILER_CONNECTIONS_PER_SITE and _MESSAGES_PER_SESSION hold")
    else:
        name = "default" if rule is rules.default else f"provider.{rule.name}"
        click.echo(f"rule: {name} ({rule.place}); source: {rule.source}")

    for each in rules.automation.of(rules.provider_name(site)):
        click.echo(f"on replies: rule.{each.name}: {', '.join(sorted(each.actions))} ({each.place})")


def _limit(value: int | None) -> str:
    return "-" if value is None else str(value)


def _over_time(rule: Provider) -> str:
    """Limits over time, in one line; empty: none."""
    parts = [str(rate) for rate in rule.rates]
    if rule.connects:
        parts.append(f"{rule.connects.count} new connections/minute")
    parts += [f"{rate} from all addresses together" for rate in rule.together]
    return ", ".join(parts)


def _rule_as_json(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "provider": rule.provider,
        "text": None if rule.text is None else rule.text.pattern,
        "code": list(rule.codes),
        "status": [status.removesuffix(".") for status in rule.statuses],
        "phase": sorted(rule.phases),
        "class": sorted(rule.classes),
        "threshold": rule.threshold,
        "window_seconds": rule.window.total_seconds(),
        "action": sorted(rule.actions),
        "lasts_seconds": rule.lasts.total_seconds(),
        "source": rule.source,
        "place": rule.place,
    }
