"""`mailer sites slow | lift`: what was learnt of a site, and what a rule put on one tenant's stream there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.identity import streams, tenants
from mailer.policy.automation import Rule, parse_rule
from mailer.policy.governor import Match, Observation
from mailer.queue import pace
from mailer.store import Store

Run = Callable[..., Result]
SITE = "mx:mx.example"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data")}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    assert run("provision").exit_code == 0
    return run


@pytest.fixture
def store(run: Run, tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
    yield opened
    opened.close()


def match(action: str) -> Match:
    rule, _ = parse_rule(
        "busy", {"code": [4], "source": "s", "action": [action], "lasts": "2h"}, "sites.toml:12"
    )
    assert isinstance(rule, Rule)
    return Match(rule=rule, count=1, words="421 busy (to mail)")


def hold_the_stream(store: Store) -> None:
    tenant_id = tenants.named(store, "default").id
    part = (tenant_id, streams.id_of(store, tenant_id, "transactional"), SITE)
    suspended = {("", SITE): Observation(matches=(match("suspend"),))}
    pace.report(store, suspended, {part: [match("hold-stream")]}, most_of=lambda site: 8, now=clock.now())


def slowed(run: Run) -> list[tuple[Any, ...]]:
    told = json.loads(run("sites", "slow", "--json").stdout)
    return [(each["kind"], each["site"], each["tenant"], each["stream"]) for each in told]


def test_a_held_stream_is_listed_beside_the_site_and_released_alone(run: Run, store: Store) -> None:
    hold_the_stream(store)

    before, shown = slowed(run), run("sites", "slow").stdout
    said = run("sites", "lift", SITE, "--tenant", "default", "--stream", "transactional")
    between = slowed(run)
    run("sites", "lift", SITE)

    assert before == [
        ("suspended", SITE, None, None),
        ("stream_held", SITE, "default", "transactional"),
    ]
    assert "default/transactional" in shown
    assert said.stdout == f"the stream default/transactional at {SITE} is free again\n"
    assert between == [("suspended", SITE, None, None)]
    assert slowed(run) == []


def test_the_way_to_release_it_is_told_with_it(run: Run, store: Store) -> None:
    hold_the_stream(store)

    told = json.loads(run("sites", "slow", "--json").stdout)[-1]

    assert f"`mailer sites lift {SITE} --tenant default --stream transactional`" in told["remedy"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--tenant", "default"], "--tenant and --stream go together"),
        (["--stream", "transactional"], "--tenant and --stream go together"),
        (["--tenant", "nobody", "--stream", "transactional"], "nobody"),
        (["--tenant", "default", "--stream", "nothing"], "no such stream"),
        (["--tenant", "default", "--stream", "broadcast"], "neither slowed nor suspended"),
        (
            ["--tenant", "default", "--stream", "transactional", "--egress-ip", "192.0.2.1"],
            "--egress-ip does not go with it",
        ),
    ],
)
def test_what_cannot_be_released_is_said_and_changes_nothing(
    run: Run, store: Store, arguments: list[str], why: str
) -> None:
    hold_the_stream(store)

    result = run("sites", "lift", SITE, *arguments)

    assert result.exit_code != 0
    assert why in result.stderr
    assert len(slowed(run)) == 2
