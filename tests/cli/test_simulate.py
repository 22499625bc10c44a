"""`mailer simulate` and the commands that tell what was learnt of sites, as an operator types them."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.policy.automation import parse_rule
from mailer.policy.governor import Match, Observation
from mailer.policy.routing import RouteTable
from mailer.queue import pace
from mailer.simulate.plot import draw, draw_growth
from mailer.simulate.run import run as simulate
from mailer.simulate.script import parse
from mailer.simulate.warmed import Day, Growth
from mailer.store import Store

Run = Callable[..., Result]
SCRIPT = """
[traffic]
messages_per_day = 48000
[provider.small]
domains = ["small.test"]
does = [{ kind = "rate", limit = 300, per = "1h" }]
[provider.large]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str, **environ: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), **environ}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(SCRIPT)
    return str(path)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_run_prints_a_line_a_day_and_provider(run: Run, script: str) -> None:
    told = run("simulate", "run", "--script", script, "--days", "2", "--seed", "7")

    lines = [line.split() for line in told.stdout.splitlines()]
    assert told.exit_code == 0
    assert lines[0][:3] == ["PROVIDER", "DAY", "ACCEPTED"]
    assert [line[:2] for line in lines[1:]] == [
        ["small", "1"],
        ["small", "2"],
        ["large", "1"],
        ["large", "2"],
    ]
    assert 0.9 * 7200 <= int(lines[2][2]) <= 7500
    assert "slowed" in lines[2]
    assert "free" in lines[4]


def test_a_run_as_json_has_every_hour_and_repeats_itself(run: Run, script: str) -> None:
    arguments = ("simulate", "run", "--script", script, "--json")

    first, again = answer(run(*arguments)), answer(run(*arguments))

    assert first == again
    assert [hour["hour"] for hour in first["providers"]["small"]] == list(range(24))
    assert first["providers"]["large"][5]["rate_per_hour"] is None


def test_shipped_scripts_are_listed(run: Run) -> None:
    assert "europe" in {one["name"] for one in answer(run("simulate", "scripts", "--json"))}


def test_an_own_rule_changes_what_is_learnt(run: Run, script: str, tmp_path: Path) -> None:
    """The proving ground for rules: where one says that no reply is about us, nothing is learnt from them."""
    own = tmp_path / "sites.toml"
    own.write_text(
        '[rule.rate-said-with-4yz]\naction = []\nsource = "tried"\n'
        '[rule.nothing-about-us]\ncode = [4]\naction = ["retry"]\nsource = "tried"\n'
    )

    found = answer(run("simulate", "run", "--script", script, "--json", MAILER_SITES_FILE=str(own)))

    assert sum(hour["refused_for_rate"] for hour in found["providers"]["small"]) > 5000


def test_faults_of_a_script_are_sentences(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[provider.p]\nweight = 0\ndoes = [{ kind = "odd" }]\n')

    told = run("simulate", "run", "--script", str(bad))

    assert told.exit_code == 2
    assert "provider.p: weight must be a number above 0" in told.stderr
    assert "does 1: needs kind" in told.stderr


def test_a_plot_without_matplotlib_says_what_installs_it(
    run: Run, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    told = run("simulate", "run", "--script", script, "--plot", str(tmp_path / "x.png"))

    assert told.exit_code == 1
    assert "pip install 'ecm-mailer[plots]'" in told.stderr


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    from mailer.config.load import site_rules

    draw(simulate(parse("mine", SCRIPT), site_rules(None), hours=12, seed=1), tmp_path / "x.png")

    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG\r\n")


# ---- a warm-up -----------------------------------------------------------------------------------------


def test_a_warm_up_prints_a_line_a_day_and_ip(run: Run) -> None:
    told = run("simulate", "warm-up", "--days", "2", "--volume", "300")

    lines = [line.split() for line in told.stdout.splitlines()]
    assert told.exit_code == 0
    assert lines[0][:5] == ["IP", "DAY", "CAP", "OFFERED", "ACCEPTED"]
    assert [line[:2] for line in lines[1:]] == [
        ["192.0.2.1", "1"],
        ["192.0.2.1", "2"],
        ["192.0.2.2", "1"],
        ["192.0.2.2", "2"],
    ]
    assert "green" in lines[1]


def test_a_warm_up_as_json_shows_what_comes_of_none(run: Run) -> None:
    arguments = (
        "simulate",
        "warm-up",
        "--days",
        "1",
        "--volume",
        "2000",
        "--plan",
        "none",
        "--alone",
        "--json",
    )

    found = answer(run(*arguments))

    [day] = found["ips"]["192.0.2.1"]
    assert day["blocked"] > 0.2 * day["offered"]
    assert found["waiting"][0] > 500
    assert found["warm_on"] is None


def test_a_warm_up_by_a_plan_that_there_is_not_names_those_that_are(run: Run) -> None:
    told = run("simulate", "warm-up", "--plan", "swift")

    assert told.exit_code == 1
    assert "there are steady, sparkpost, sendgrid, and none" in told.stderr


def test_a_warm_up_is_drawn(tmp_path: Path) -> None:
    day = Day(number=1, ip="192.0.2.1", offered=200, accepted=190, cap=200)
    growth = Growth("mine", 1, {"192.0.2.1": [day]}, [0], [0])

    draw_growth(growth, tmp_path / "x.png")

    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_served_providers_print_their_routes_and_count(script: str, tmp_path: Path) -> None:
    environ = {**os.environ, "MAILER_DATA_DIR": str(tmp_path / "data"), "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-m", "mailer", "simulate", "serve", "--script", script, "--port", "0"]
    with subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        variable, _, routes = process.stdout.readline().strip().partition("=")
        route = RouteTable.parse(routes).match("small.test")
        assert route is not None
        with smtplib.SMTP("127.0.0.1", route.port, timeout=30) as client:
            client.sendmail("a@sender.example", ["b@small.test"], b"Subject: x\r\n\r\nhello\r\n")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)

    assert variable == "MAILER_ROUTES"
    assert ["small", "1", "0", "0"] in [line.split() for line in rest.splitlines()]
    assert process.returncode == 0


def test_strangers_may_not_fill_the_sink(run: Run, script: str) -> None:
    told = run("simulate", "serve", "--script", script, "--host", "0.0.0.0")

    assert told.exit_code == 1
    assert "--host must be an address of loopback" in told.stderr


# ---- what was learnt -----------------------------------------------------------------------------------


def test_what_is_slowed_is_told_with_its_rule_and_lifted(run: Run, tmp_path: Path) -> None:
    assert run("provision").exit_code == 0
    none = answer(run("sites", "slow", "--json"))
    rule, _ = parse_rule(
        "r", {"code": [4], "action": ["suspend"], "lasts": "2h", "source": "s"}, "own.toml:7"
    )
    assert rule is not None
    seen = Observation(matches=(Match(rule=rule, count=1, words="421 go away (to mail)"),))
    store = Store(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
    pace.report(store, {("", "mx:mx.example"): seen}, {}, most_of=lambda site: 8, now=clock.now())
    store.close()

    [found] = answer(run("sites", "slow", "--json"))
    table = run("sites", "slow").stdout
    lifted = run("sites", "lift", "mx:mx.example")
    again = run("sites", "lift", "mx:mx.example")

    assert none == []
    assert (found["site"], found["kind"], found["rule"]) == ("mx:mx.example", "suspended", "own.toml:7")
    assert "421 go away (to mail)" in found["what"]
    assert found["until"] > found["facts"]["since"]
    assert "own.toml:7" in table
    assert lifted.exit_code == 0
    assert again.exit_code == 1
    assert answer(run("sites", "slow", "--json")) == []


def test_rules_on_replies_are_printed_in_their_order(run: Run) -> None:
    rules = answer(run("sites", "rules", "--json"))
    explained = run("sites", "explain", "mta5.am0.yahoodns.net").stdout

    assert rules[0]["place"].startswith("automation.toml:")
    assert all(rule["source"] for rule in rules)
    assert "on replies: rule.yahoo-complaints: suspend (automation.toml:" in explained
    assert "rule.google-rate" not in explained
