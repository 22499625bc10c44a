"""`mailer suppression`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from mailer import clock
from mailer.cli import main
from mailer.ids import IdMaker
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.suppression import Said, Share
from mailer.queue import suppressions, suppressionstorms
from mailer.queue.suppressions import Heard
from mailer.store import Store
from mailer.store.tables import tenant
from tests.support.mailroom import KEYS

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` on a database that is there, with the tenant "default"."""

    def run(*arguments: str, given: str | None = None) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data")}
        return CliRunner(env=env).invoke(main, arguments, input=given, catch_exceptions=False)

    assert run("provision").exit_code == 0
    return run


@pytest.fixture
def store(run: Run, tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/data/mailer.sqlite3")
    yield store
    store.close()


def listed(run: Run, *whose: str) -> Any:
    result = run("suppression", "list", *(whose or ("--tenant", "default")), "--json")
    assert result.exit_code == 0, result.stderr
    return [(e["target"], e["stream"], e["reason"]) for e in json.loads(result.stdout)]


def test_entries_are_added_found_and_removed(run: Run) -> None:
    said = run("suppression", "add", "Ada@Example.org", "--tenant", "default", "--note", "telephone").stdout
    again = run("suppression", "add", "ada@example.org", "--tenant", "default").stdout
    run("suppression", "add", "*.example.net", "--tenant", "default", "--stream", "transactional")
    found = run("suppression", "search", "AD", "--tenant", "default").stdout
    both = listed(run)
    gone = run("suppression", "remove", said.split()[0], "--tenant", "default")

    assert said.endswith(" added\n")
    assert again == f"{said.split()[0]} stood already\n"
    assert "ada@example.org" in found
    assert "telephone" in found
    assert both == [
        ("*.example.net", "transactional", "manual"), ("ada@example.org", None, "manual"),
    ]  # fmt: skip
    assert gone.exit_code == 0
    assert len(listed(run)) == 1


def test_the_operators_list_is_one_of_its_own(run: Run) -> None:
    run("suppression", "add", "example.org", "--global")

    assert listed(run) == []
    assert listed(run, "--global") == [("example.org", None, "manual")]


@pytest.mark.parametrize("whose", [(), ("--tenant", "default", "--global"), ("--tenant", "nobody")])
def test_it_says_whose_list_is_meant(run: Run, whose: tuple[str, ...]) -> None:
    result = run("suppression", "add", "ada@example.org", *whose)

    assert result.exit_code == 1
    assert result.stderr.startswith("mailer: ")


def test_a_list_is_imported_and_exported(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("address,reason\nada@example.org,complaint\nnobody\nexample.net,\n")

    imported = run("suppression", "import", str(file), "--tenant", "default")
    exported = run("suppression", "export", "--tenant", "default").stdout

    assert imported.exit_code == 1
    assert imported.stdout == "added 2, known 0, refused 1\n"
    assert imported.stderr.startswith("line 3: ")
    assert [line.split(",")[0] for line in exported.splitlines()] == [
        "address", "ada@example.org", "example.net",
    ]  # fmt: skip
    assert run("suppression", "import", "-", "--tenant", "default", given=exported).exit_code == 0


def test_a_person_is_erased_and_stays_on_the_list(run: Run) -> None:
    run("suppression", "add", "ada@example.org", "--tenant", "default", "--note", "ada asked")

    erased = run("suppression", "erase", "ADA@example.org").stdout

    shown = run("suppression", "list", "--tenant", "default").stdout
    assert erased == "entries erased: 1\n"
    assert "(erased)" in shown
    assert "ada" not in shown
    assert "stood already" in run("suppression", "add", "ada@example.org", "--tenant", "default").stdout


@pytest.mark.parametrize(("choice", "left"), [("--suppress", 1), ("--forget", 0)])
def test_what_a_storm_held_up_is_decided(run: Run, store: Store, choice: str, left: int) -> None:
    new_id, now, site = IdMaker(9, clock.wall_ms), clock.now(), "mx:big.example"
    with store.write() as connection:
        owner = connection.execute(select(tenant.c.id).where(tenant.c.name == "default")).scalar_one()
        suppressionstorms.count(
            connection, {site: Share(5000, 10)}, process_number=1, now=now - timedelta(days=1)
        )
        suppressionstorms.count(connection, {site: Share(100, 90)}, process_number=1, now=now)
        suppressions.apply(
            connection,
            Heard(
                recipient_id=1, message_id=2, tenant_id=owner, stream_id=3, address="ada@example.org",
                said=Said(bounce_class=BounceClass.INVALID_MAILBOX, blame=Blame.RECIPIENT), keys=KEYS,
                site=site, attempt_id=4,
            ),
            new_id,
            now,
        )  # fmt: skip

    shown = run("suppression", "review").stdout
    run("suppression", "review", site, choice)

    assert "90 of 100" in shown
    assert "0.20%" in shown
    assert len(listed(run)) == left
    assert run("suppression", "review", "--json").stdout == "[]\n"
