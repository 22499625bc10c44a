"""`mailer limit`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.policy.limits import Rate
from mailer.queue import metering
from mailer.store import Store

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` on a database that is there, with the tenant "default"."""

    def run(*arguments: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data")}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    assert run("provision").exit_code == 0
    return run


def limits(run: Run) -> Any:
    result = run("limit", "list", "--json")
    assert result.exit_code == 0, result.stderr
    return [(found["tenant"], found["stream"], found["limit"]) for found in json.loads(result.stdout)]


def test_limits_are_set_replaced_listed_and_removed(run: Run) -> None:
    said = run("limit", "set", "default", "5000/h", "50/s").stdout
    run("limit", "set", "default", "100/min", "--stream", "transactional")
    both = limits(run)
    run("limit", "set", "default", "9/day")
    run("limit", "remove", "default", "--stream", "transactional")

    assert said == "tenant default: 50/second, 5000/hour\n"
    assert both == [
        ("default", None, "50/second"),
        ("default", None, "5000/hour"),
        ("default", "transactional", "100/minute"),
    ]
    assert limits(run) == [("default", None, "9/day")]
    assert "has room" in run("limit", "list").stdout


def test_what_is_accepted_is_limited_beside_what_is_sent(run: Run) -> None:
    run("limit", "set", "default", "5000/h")
    said = run("limit", "set", "default", "9/day", "5/min", "--accept").stdout
    shown = run("limit", "list").stdout
    both = json.loads(run("limit", "list", "--json").stdout)
    wrong = run("limit", "set", "default", "9/day", "--accept", "--stream", "transactional")
    removed = run("limit", "remove", "default", "--accept").stdout

    assert said == "tenant default: accepting 5/minute, 9/day\n"
    assert [(one["of"], one["limit"], one["used"]) for one in both] == [
        ("sending", "5000/hour", 0), ("accepting", "5/minute", 0), ("accepting", "9/day", 0),
    ]  # fmt: skip
    assert "accepting" in shown
    assert "without --stream" in wrong.stderr
    assert removed == "tenant default may submit any number\n"
    assert limits(run) == [("default", None, "5000/hour")]


def test_a_new_tenant_is_capped_where_a_setting_or_an_option_says_so(run: Run) -> None:
    run("tenant", "create", "plain")
    run("tenant", "create", "capped", "--daily-cap", "200")
    before = limits(run)
    shown = run("limit", "list").stdout
    trusted = run("limit", "trust", "capped").stdout

    assert before == [("capped", None, "200/day")]
    assert "(new)" in shown
    assert trusted == "tenant capped has no cap of a new tenant any more\n"
    assert limits(run) == []
    assert "has no cap of a new tenant" in run("limit", "trust", "capped").stderr


def test_the_setting_caps_tenants_made_from_then_on(tmp_path: Path, run: Run) -> None:
    env = {"MAILER_DATA_DIR": str(tmp_path / "data"), "MAILER_NEW_TENANT_DAILY_CAP": "100"}
    runner = CliRunner(env=env)
    runner.invoke(main, ["tenant", "create", "first"])
    runner.invoke(main, ["tenant", "create", "free", "--daily-cap", "0"])

    assert limits(run) == [("first", None, "100/day")]


def test_how_the_limits_of_sites_stand_is_listed(run: Run, tmp_path: Path) -> None:
    run("sites", "set", "slow", "mx=slow.example", "connections_per_minute=1", "source=assumed")
    store = Store(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
    rates = {"connects:|provider:slow": [Rate(60, 1)]}
    with store.write() as connection:
        till = metering.Till(connection, rates, now=clock.now(), monotonic=clock.monotonic)
        till.take(rates)
        till.close()
    store.close()

    [found] = json.loads(run("limit", "sites", "--json").stdout)
    told = run("limit", "sites").stdout

    assert (found["site"], found["of"], found["limit"]) == ("provider:slow", "connections", "1/minute")
    assert (found["place"], found["room_now"]) == ("api", 0)
    assert "new connections" in told
    assert "used up until 20" in told


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("default", "lots"), "'lots' must be a number, / and s, min, h or d"),
        (("default", "0/h"), "a limit is a number from 1"),
        (("default", "5/h", "6/h"), "two of the same contradict each other"),
        (("nobody", "5/h"), "nobody"),
        (("default", "5/h", "--stream", "none"), "no such stream"),
    ],
)
def test_what_cannot_be_a_limit_is_named_and_sets_nothing(
    run: Run, words: tuple[str, ...], fault: str
) -> None:
    result = run("limit", "set", *words)

    assert result.exit_code != 0
    assert fault in result.stderr
    assert limits(run) == []
