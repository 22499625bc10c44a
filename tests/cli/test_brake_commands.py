"""`mailer brake`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.config.load import brake_rules
from mailer.policy.brake import Counts
from mailer.queue import brake, braking
from mailer.queue.pieces import Means
from mailer.store import Store
from mailer.store.tables import stream
from tests.support.mailroom import Mailroom

Run = Callable[..., Result]


@pytest.fixture
def store(furnished_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "data" / "mailer.sqlite3"
    path.parent.mkdir()
    path.write_bytes(furnished_sqlite.read_bytes())
    opened = Store(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def room(store: Store) -> Mailroom:
    made = Mailroom.furnish(store, now=clock.now())
    campaign = made.new_id()
    with store.write() as c:
        c.execute(
            stream.insert().values(
                id=campaign, tenant_id=made.tenant_id, name="news", kind="broadcast",
                in_doubt="retry", created_at=clock.now(),
            )
        )  # fmt: skip
        counts = {(made.tenant_id, campaign): Counts(delivered=100, bounced=900)}
        braking.count(c, counts, process_number=1, now=clock.now())
    return made


@pytest.fixture
def run(tmp_path: Path, room: Mailroom) -> Run:
    def run(*arguments: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), "MAILER_MODE": "live"}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    return run


def judge(room: Mailroom) -> list[str]:
    means = Means(room.store, room.new_id, room.worker.process_number, clock.now)
    return [change.type for change in brake.judge(means, brake_rules(None))]


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_paused_stream_is_listed_overridden_and_judged_again(run: Run, room: Mailroom) -> None:
    paused = judge(room)
    [before] = answer(run("brake", "list", "--json"))
    listed = run("brake", "list").stdout
    said = run("brake", "override", "acme", "--stream", "news", "--for", "7d", "--reason", "cleaned").stdout
    [over] = answer(run("brake", "list", "--json"))
    meanwhile = judge(room)
    cleared = run("brake", "clear", "acme", "--stream", "news").stdout

    assert (paused, meanwhile, judge(room)) == (["stream_paused"], [], ["stream_paused"])
    assert (before["tenant"], before["stream"], before["mark"], before["paused"]) == (
        "acme", "news", "pause", True,
    )  # fmt: skip
    assert "90.00% hard bounces, 900 of 1000" in listed
    assert "1 paused stream goes on" in said
    assert (over["paused"], over["override"]["reason"]) == (False, "cleaned")
    assert cleared == "stream news of tenant acme is judged again\n"


def test_holds_and_the_record_show_the_brake(run: Run, room: Mailroom) -> None:
    judge(room)
    run(
        "brake", "override", "acme", "--until", f"{clock.now() + timedelta(days=2):%Y-%m-%d}", "--reason", "x"
    )

    deeds = answer(run("queue", "actions", "--json"))

    assert [d["kind"] for d in deeds] == ["release", "override", "hold"]
    assert [d["done_by"] == "brake" for d in deeds] == [False, False, True]
    assert answer(run("queue", "holds", "--json")) == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("override", "acme", "--reason", "x"), "say how long"),
        (("override", "acme", "--reason", "x", "--for", "1h", "--until", "2030-01-01"), "say how long"),
        (("override", "acme", "--reason", "x", "--until", "2020-01-01"), "that time is over"),
        (("override", "acme", "--reason", "x", "--for", "soon"), "--for"),
        (("override", "acme", "--reason", "x\ny", "--for", "1h"), "must be one line"),
        (("override", "nobody", "--reason", "x", "--for", "1h"), "nobody"),
        (("override", "acme", "--stream", "none", "--reason", "x", "--for", "1h"), "no such stream"),
        (("clear", "acme"), "there is no override for just tenant acme"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    run: Run, room: Mailroom, words: tuple[str, ...], fault: str
) -> None:
    judge(room)

    result = run("brake", *words)

    assert result.exit_code != 0
    assert fault in result.stderr
    assert [one["paused"] for one in answer(run("brake", "list", "--json"))] == [True]


def test_a_file_of_thresholds_that_cannot_be_used_is_named_at_the_start(tmp_path: Path) -> None:
    own = tmp_path / "brake.toml"
    own.write_text("[hard_bounces]\nwran = 0.1\n")

    result = CliRunner(env={"MAILER_BRAKE_FILE": str(own)}).invoke(main, ["check-config"])

    assert result.exit_code == 2
    assert "hard_bounces.wran is no key of the brake" in result.stderr
