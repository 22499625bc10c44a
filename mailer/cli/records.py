"""`mailer domain records`: what a sending domain must publish in the DNS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import data_dir_option, load_settings, open_store

if TYPE_CHECKING:
    from dns_templates import DkimKey, DomainFacts
    from mailer.identity.custody import PublishedKey

_UNNAMED = "localhost.localdomain"


@click.command()
@click.argument("name")
@click.option(
    "--format", "how", default="table", show_default=True,
    type=click.Choice(["table", "zone", "include", "json"]),
    help="table for people; zone: a zone file a name server loads; include: lines for a zone that exists.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--mx", help="Host that takes bounces and sends (default MAILER_HOSTNAME).")
@click.option("--spf-include", help="Domain whose SPF record lists the sending hosts, if there are several.")
@click.option(
    "--dmarc-policy", default="none", show_default=True, type=click.Choice(["none", "quarantine", "reject"]),
    help="What receivers shall do with mail in this name that is not ours.",
)  # fmt: skip
@click.option("--dmarc-reports-to", help="Mailbox for DMARC reports (default: here, see `mailer reports`).")
@click.option("--no-reports", is_flag=True, help="Ask nobody for reports.")
@data_dir_option
def records(
    name: str, how: str, as_json: bool, mx: str | None, spf_include: str | None, **given: Any
) -> None:
    """Print the DNS records that the sending domain NAME must publish.

    DKIM: one key for each of its keys. Return path: where bounces come back to, and SPF. DMARC: its
    policy; leave that out where the domain has one. TLS reports: on TLS with the return path's host.
    """
    import dns_templates
    from mailer.config.load import NO_PUBLIC_URL
    from mailer.identity import domains

    policy, elsewhere = given.pop("dmarc_policy"), given.pop("dmarc_reports_to")
    no_reports = given.pop("no_reports")
    settings = load_settings(**given)
    host = mx or settings.hostname
    with open_store(settings) as store:
        domain, keys = domains.described(store, name)
    if host == _UNNAMED:
        click.echo("mailer: this host has no public name: set MAILER_HOSTNAME or give --mx", err=True)
    if settings.public_url is None:
        click.echo(f"mailer: {NO_PUBLIC_URL}", err=True)
    facts = dns_templates.DomainFacts(
        domain=domain.name,
        keys=tuple(_dkim_key(key) for key in keys),
        return_path_domain=domain.return_path_domain,
        return_path_mx=host,
        spf_include=spf_include,
        dmarc_policy=policy,
    )
    if not no_reports:
        facts = _with_reports(facts, elsewhere)
    click.echo(dns_templates.render(dns_templates.records(facts), "json" if as_json else how), nl=False)


def _with_reports(facts: DomainFacts, elsewhere: str | None) -> DomainFacts:
    from mailer.report import addresses

    dmarc = elsewhere or addresses.dmarc_reports(facts.return_path_domain)
    return replace(
        facts,
        dmarc_reports_to=dmarc,
        dmarc_failures_to=dmarc,
        tls_reports_to=addresses.tls_reports(facts.return_path_domain),
    )


def _dkim_key(key: PublishedKey) -> DkimKey:
    from dns_templates import DkimKey

    return DkimKey(key.selector, key.key_type, key.public_key)
