"""`mailer sites set | unset`, and the rules for sites as commands know them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import data_dir_option, load_settings, open_store, sqlite_file

if TYPE_CHECKING:
    from mailer.bootstrap.kept_rules import Found
    from mailer.config import Settings
    from mailer.policy.sites import SiteRules
    from mailer.store import Store

_TRUTHS = {"true": True, "false": False}


def rules_of(settings: Settings, store: Store) -> SiteRules:
    """The files' and those in the database."""
    from mailer.bootstrap.site_rules import rules_in_force
    from mailer.queue import ownrules

    return rules_in_force(_found(settings), ownrules.all_of(store))


def _found(settings: Settings) -> Found:
    """As processes have them; a warning where that is not what the operator's file says."""
    from mailer.bootstrap import kept_rules

    found = kept_rules.find(settings.sites_file, settings.data_dir)
    if found.faults:
        click.echo(f"mailer: {found.warning(settings.sites_file)}", err=True)
    return found


def rules_here(settings: Settings) -> SiteRules:
    """The same; without a database, the files'."""
    file = sqlite_file(settings)
    if file is not None and not file.exists():
        return _found(settings).rules
    with open_store(settings) as store:
        return rules_of(settings, store)


@click.command("set")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@data_dir_option
def set_(name: str, values: tuple[str, ...], **given: Any) -> None:
    """Change the rule of the provider NAME, or make one, in the database: over those of all files.

    KEY is one of a rules' file: connections=5, messages_per_hour=2000, together.messages_per_day=9000, and
    mx=a.example,b.example for a new provider. What is not named stays as the rule in force has it, and KEY=
    takes something away. NAME may be default. Workers follow within seconds.
    """
    from mailer import clock
    from mailer.bootstrap.site_rules import rules_in_force
    from mailer.policy.site_file import parse_provider
    from mailer.policy.sites import API, SiteRuleError, SiteRules
    from mailer.queue import ownrules

    settings = load_settings(**given)
    with open_store(settings) as store:
        found = _found(settings)
        rules = rules_in_force(found, ownrules.all_of(store))
        wanted = _changed(_section(rules, name), values)
        _, wrong = parse_provider(name, wanted, API)
        if wrong:
            raise CommandFailed("; ".join(each.sentence for each in wrong))
        try:
            check = partial(SiteRules.parse, found.files)
            ownrules.put(store, name, wanted, check=check, now=clock.now())
        except SiteRuleError as error:
            raise CommandFailed(str(error)) from None
    click.echo(f"the rule of {name} is set; `mailer sites unset {name}` brings back that of the files")


@click.command()
@click.argument("name")
@data_dir_option
def unset(name: str, **given: Any) -> None:
    """Forget what `mailer sites set` or the API said of the provider NAME: the files' rule holds again."""
    from mailer.policy.sites import SiteRuleError, SiteRules
    from mailer.queue import ownrules

    settings = load_settings(**given)
    with open_store(settings) as store:
        try:
            check = partial(SiteRules.parse, _found(settings).files)
            removed = ownrules.remove(store, name, check=check)
        except SiteRuleError as error:
            raise CommandFailed(str(error)) from None
    if removed is None:
        raise CommandFailed(f"no rule of {name} is set; `mailer sites list` tells where each rule stands")
    click.echo(f"the rule of {name} is that of the files again, if they have one")


def _section(rules: SiteRules, name: str) -> dict[str, Any]:
    """Of the rule in force; empty: there is none."""
    from mailer.policy.site_file import DEFAULT
    from mailer.policy.site_record import section_of

    named = {provider.name: provider for provider in rules.providers}
    found = rules.default if name == DEFAULT else named.get(name)
    section = {} if found is None else section_of(found)
    if name == DEFAULT:
        section.pop("mx", None)
    return section


def _changed(section: dict[str, Any], values: tuple[str, ...]) -> dict[str, Any]:
    wanted = {**section, "together": dict(section.get("together", {}))}
    for text in values:
        key, sign, value = text.partition("=")
        if not sign:
            raise CommandFailed(f"{text!r} must be KEY=VALUE, as in connections=5")
        part = wanted["together"] if key.startswith("together.") else wanted
        name = key.removeprefix("together.")
        part.pop(name, None)
        if value:
            part[name] = _value(name, value)
    if not wanted["together"]:
        del wanted["together"]
    return wanted


def _value(key: str, text: str) -> Any:
    if key == "mx":
        return [end.strip() for end in text.split(",")]
    if key in ("source", "pool"):
        return text
    return int(text) if text.isascii() and text.isdigit() else _TRUTHS.get(text, text)
