"""`mailer check-config`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import data_dir_option, json_option, load_settings, print_json, print_table

if TYPE_CHECKING:
    from mailer.config import Settings
    from mailer.config.describe import SettingLine


@click.command()
@data_dir_option
@json_option
@click.option("--explain", is_flag=True, help="Say what each setting means, its range and an example.")
@click.option("--markdown", is_flag=True, help="Print the table of the documentation; no value is read.")
def check_config(as_json: bool, explain: bool, markdown: bool, **given: Any) -> None:
    """Check the settings and print them as they would hold.

    Every fault and every unknown MAILER_* variable is named, and the exit code is then 2. Secrets are
    not printed, nor passwords in URLs.
    """
    from mailer.config import Settings, describe
    from mailer.config.load import refusal_rules, site_rules

    if markdown:
        click.echo(describe.markdown(Settings))
        return
    settings = load_settings(**given)
    if settings.sites_file is not None:
        site_rules(settings.sites_file)  # its faults are this command's; processes start without it
    refusal_rules(settings.bounce_rules_file)  # likewise
    for warning in settings.warnings:
        click.echo(f"mailer: {warning}", err=True)
    settings_lines = describe.lines(Settings)
    if as_json:
        print_json([_as_json(settings, line) for line in settings_lines])
    elif explain:
        for line in settings_lines:
            click.echo(_paragraph(settings, line))
    else:
        rows = [[line.variable, _source(settings, line), _value(settings, line)] for line in settings_lines]
        print_table(["SETTING", "FROM", "VALUE"], rows)


def _value(settings: Settings, line: SettingLine) -> str:
    from mailer.config import describe

    return describe.shown_value(settings, line.name)


def _source(settings: Settings, line: SettingLine) -> str:
    return "set" if settings.is_set(line.name) else "default"


def _as_json(settings: Settings, line: SettingLine) -> dict[str, object]:
    return {**asdict(line), "value": _value(settings, line), "from": _source(settings, line)}


def _paragraph(settings: Settings, line: SettingLine) -> str:
    facts = [
        f"now {_value(settings, line) or 'not set'}",
        f"default {line.default or 'none'}",
        line.kind,
        f"for example {line.example}",
    ]
    body = textwrap.fill(
        f"{line.meaning} ({'; '.join(facts)})", 96, initial_indent="    ", subsequent_indent="    "
    )
    return f"{line.variable}\n{body}\n"
