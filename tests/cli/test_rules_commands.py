"""`mailer rules check | explain`, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer.cli import main

Run = Callable[..., Result]
OWN = '\n[rule.mine]\ntext = ["our example"]\nclass = "rate-limited"\nblame = "our-ip"\nsource = "agreed"\n'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str, **settings: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), **settings}
        return CliRunner(env=env).invoke(main, arguments)

    return run


def test_the_shipped_rules_and_a_file_of_ones_own_are_checked(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)

    assert "in order, 0 rules of its own" in run("rules", "check").stdout
    assert f"{file}: in order, 1 rules of its own" in run("rules", "check", str(file)).stdout


def test_every_fault_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN + '[rule.worse]\ntext = ["@nothing"]\nclass = "nice"\nsource = "s"\n')

    checked = run("rules", "check", str(file))
    settings = run("check-config", MAILER_BOUNCE_RULES_FILE=str(file))
    gone = run("check-config", MAILER_BOUNCE_RULES_FILE=str(tmp_path / "none.toml"))

    assert [checked.exit_code, settings.exit_code, gone.exit_code] == [2, 2, 2]
    assert f"mailer: {file}:7: class of rule.worse must be one of: invalid-mailbox" in checked.stderr
    assert f"{file}:7: " in settings.stderr
    assert "none.toml cannot be read" in gone.stderr


def test_a_line_is_explained_by_the_rule_that_decided(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    line = "550 5.7.27 this is our example"

    shipped = json.loads(run("rules", "explain", line, "--provider", "google", "--json").stdout)
    own = json.loads(run("rules", "explain", line, "--json", MAILER_BOUNCE_RULES_FILE=str(file)).stdout)
    refused = json.loads(run("rules", "explain", "550 no", "--phase", "rcpt", "--json").stdout)
    said = run("rules", "explain", "550 5.1.1 no such user").stdout

    assert (shipped["class"], shipped["rule"]) == ("auth-failure", "google-authentication")
    assert shipped["place"].startswith("bounces/google.toml:")
    assert shipped["source"] == "https://support.google.com/a/answer/3726730"
    assert own == {
        "class": "rate-limited", "group": "soft", "action": "slow-down", "blame": "our-ip",
        "status": "5.7.27",
        "rule": "mine", "place": f"{file}:2", "source": "agreed",
    }  # fmt: skip
    assert refused["class"] == "recipient-refused"
    assert "class    invalid-mailbox\n" in said
    assert "rule     no-such-mailbox\n" in said
