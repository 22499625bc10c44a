"""`mailer sites set | unset`, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` on a database that is there."""

    def run(*arguments: str, **settings: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), **settings}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    assert run("provision").exit_code == 0
    return run


def rules(run: Run, **settings: str) -> dict[str, Any]:
    result = run("sites", "list", "--json", **settings)
    assert result.exit_code == 0, result.stderr
    return {rule["name"]: rule for rule in json.loads(result.stdout)}


def test_one_limit_of_a_shipped_rule_is_changed_and_the_rest_of_it_stays(run: Run) -> None:
    before = rules(run)["google"]
    said = run("sites", "set", "google", "connections=3", "together.messages_per_day=9000")
    during = rules(run)["google"]
    explained = run("sites", "explain", "aspmx.l.google.com").stdout
    run("sites", "set", "google", "together.messages_per_day=", "source=we tried it")
    after = rules(run)["google"]
    undone = run("sites", "unset", "google")

    assert said.exit_code == 0, said.stderr
    changes = {"connections": 3, "together": {"messages_per_day": 9000}, "place": "api"}
    assert during == before | changes
    assert after == before | {"connections": 3, "place": "api", "source": "we tried it"}
    assert "connections at a time: 3" in explained
    assert "rule: provider.google (api)" in explained
    assert undone.exit_code == 0
    assert rules(run)["google"] == before


def test_a_new_provider_and_the_default_are_made(run: Run) -> None:
    made = run(
        "sites", "set", "our-customer", "mx=mx.customer.example, mx2.customer.example", "one_site=false",
        "tls=required", "connections_per_minute=20", "source=agreed in 2026",
    )  # fmt: skip
    default = run("sites", "set", "default", "messages_per_minute=100", "source=assumed")
    again = run("sites", "set", "default", "messages_per_hour=900")
    found = rules(run)

    assert (made.exit_code, default.exit_code, again.exit_code) == (0, 0, 0)
    customer = found["our-customer"]
    assert customer["mx"] == ["mx.customer.example", "mx2.customer.example"]
    assert (customer["one_site"], customer["tls"]) == (False, "required")
    assert customer["connections_per_minute"] == 20
    assert (found["default"]["messages_per_minute"], found["default"]["messages_per_hour"]) == (100, 900)


def test_it_lies_over_the_operators_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sites.toml"
    file.write_text('[provider.mine]\nmx = ["mine.example"]\nconnections = 7\nsource = "assumed"\n')
    own = {"MAILER_SITES_FILE": str(file)}
    run("sites", "set", "mine", "connections=2", **own)
    over = rules(run, **own)["mine"]
    run("sites", "unset", "mine", **own)

    assert (over["connections"], over["place"]) == (2, "api")
    assert rules(run, **own)["mine"]["place"] == f"{file}:1"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("google", "connections"), "'connections' must be KEY=VALUE"),
        (("google", "connections=0"), "connections must be a number from 1 to 10000"),
        (("google", "connections=many"), "connections must be a number from 1 to 10000"),
        (("google", "conections=2"), "conections is not known; there are"),
        (("google", "messages_per_hour=0"), "messages_per_hour: a limit is a number from 1"),
        (("google", "together.tls=none"), "together.tls is not known"),
        (("google", "source="), "provider.google needs source"),
        (("Google!", "mx=a.example", "source=x"), "'Google!' must be a name of lower-case letters"),
        (("new", "connections=2", "source=x"), "provider.new needs mx"),
        (("new", "mx=google.com", "source=x"), "google.com belongs to provider.google (sites.toml:"),
    ],
)
def test_what_cannot_be_a_rule_changes_nothing(run: Run, words: tuple[str, ...], fault: str) -> None:
    before = rules(run)

    refused = run("sites", "set", *words)

    assert refused.exit_code == 1
    assert fault in refused.stderr
    assert rules(run) == before


def test_what_was_not_set_cannot_be_unset(run: Run) -> None:
    refused = run("sites", "unset", "google")

    assert refused.exit_code == 1
    assert "no rule of google is set" in refused.stderr


def test_without_a_database_the_files_rules_are_told(tmp_path: Path) -> None:
    env = {"MAILER_DATA_DIR": str(tmp_path / "none")}

    told = CliRunner(env=env).invoke(main, ["sites", "list"], catch_exceptions=False)
    refused = CliRunner(env=env).invoke(main, ["sites", "set", "google", "connections=2"])

    assert "google" in told.stdout
    assert refused.exit_code == 1
    assert "there is no database" in refused.stderr
