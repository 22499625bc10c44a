"""`mailer rules check | explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.options import data_dir_option, json_option, load_settings, print_json
from mailer.protocol.phase import Phase

if TYPE_CHECKING:
    from mailer.policy.classifier import Judgement


@click.group()
def rules() -> None:
    """What refusals and returned mail mean: which rule says so, and where that was read."""


@rules.command()
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="[FILE...]"
)
def check(files: tuple[Path, ...]) -> None:
    """Check the rules in the FILEs, laid over the shipped ones, before MAILER_BOUNCE_RULES_FILE names one.

    Every fault is named with its line, and the exit code is then 2. Without a FILE the shipped rules are
    checked.
    """
    from mailer.config.load import bounce_texts
    from mailer.policy.classifier import Classifier, shipped_files

    found = Classifier.parse(shipped_files(), bounce_texts(*files))
    own = sum(rule.written.place.startswith(f"{file}:") for rule in found.rules for file in files)
    names = ", ".join(map(str, files)) or "what is shipped"
    click.echo(f"{names}: in order, {own} rules of its own, {len(found.rules)} in all")


@rules.command()
@click.argument("line", metavar="LINE")
@click.option("--provider", metavar="NAME", help="Whose site said it, as `mailer sites list` has it.")
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]), help="What it was said to.")
@data_dir_option
@json_option
def explain(line: str, provider: str | None, phase: str | None, as_json: bool, **given: Any) -> None:
    """Tell what LINE means, such as "550 5.7.1 Message rejected", and which rule decided.

    The rules of MAILER_BOUNCE_RULES_FILE are asked first.
    """
    from mailer.config.load import refusal_rules
    from mailer.policy.classifier import Said

    classifier = refusal_rules(load_settings(**given).bounce_rules_file)
    judged = classifier.classify(Said(line, provider=provider, phase=None if phase is None else Phase(phase)))
    if as_json:
        print_json(_as_json(judged))
        return
    for name, value in _as_json(judged).items():
        click.echo(f"{name:8} {'-' if value is None else value}")


def _as_json(judged: Judgement) -> dict[str, Any]:
    return {
        "class": judged.bounce_class,
        "group": judged.bounce_class.group,
        "action": judged.action,
        "blame": judged.blame,
        "status": None if judged.status is None else str(judged.status),
        "rule": judged.rule or None,
        "place": judged.place or None,
        "source": judged.source or None,
    }
