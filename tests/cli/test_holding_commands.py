"""Holding, releasing, requeueing and bouncing, as an operator types them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock, ids
from mailer.cli import main
from mailer.identity import pools
from mailer.identity.pools import NewPool
from mailer.queue import claim, verify
from mailer.store import Store
from mailer.store.tables import stream
from tests.support.mailroom import HEARD_451, HOUR, Mailroom, deferral

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
    return Mailroom.furnish(store, now=clock.now())


@pytest.fixture
def run(tmp_path: Path, room: Mailroom) -> Run:
    def run(*arguments: str, **environ: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), "MAILER_MODE": "live", **environ}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_hold_is_placed_shown_and_released(run: Run, room: Mailroom) -> None:
    room.accept(room.message("a.example", "b.example"))

    counted = answer(run("hold", "--domain", "A.example", "--reason", "trouble", "--dry-run", "--json"))
    placed = answer(run("hold", "--domain", "a.example", "--reason", "trouble", "--for", "2h", "--json"))
    [listed] = answer(run("queue", "holds", "--json"))
    table = run("queue", "holds")
    released = answer(run("release", placed["id"], "--json"))

    assert (counted["recipients"], placed["recipients"]) == (1, 1)
    assert (listed["id"], listed["wanted"], listed["reason"]) == (
        placed["id"], {"domain": "a.example"}, "trouble",
    )  # fmt: skip
    assert "domain a.example" in table.stdout
    assert [h["id"] for h in released["released"]] == [placed["id"]]
    assert answer(run("queue", "holds", "--json")) == []
    assert [a["kind"] for a in answer(run("queue", "actions", "--json"))] == ["release", "hold"]
    assert "a.example" in run("queue", "actions").stdout


def test_holds_are_released_by_what_they_say(run: Run) -> None:
    run("hold", "--domain", "a.example", "--tenant", "acme", "--reason", "x")
    run("hold", "--domain", "b.example", "--reason", "x")

    tried = answer(run("release", "--domain", "a.example", "--dry-run", "--json"))
    done = answer(run("release", "--domain", "a.example", "--json"))

    assert tried["released"] == done["released"]
    assert [h["wanted"]["domain"] for h in answer(run("queue", "holds", "--json"))] == ["b.example"]
    assert "no hold is meant" in run("release", "--domain", "a.example").stdout


def test_deferred_mail_is_requeued(run: Run, room: Mailroom) -> None:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    meant = ("--site", "mx:mx.example", "--reason", "they are back", "--json")

    counted = answer(run("requeue", *meant, "--dry-run"))
    done = answer(run("requeue", *meant))

    assert (counted["recipients"], done["recipients"]) == (1, 1)
    assert len(claim.waiting_lanes(room.store, limit=9)) == 1


def test_mail_is_bounced(run: Run, room: Mailroom) -> None:
    m, other = room.message(), room.message()
    room.accept(m, other)
    meant = ("--message", ids.show("msg", m.id), "--reason", "not wanted")

    counted = answer(run("bounce", *meant, "--dry-run", "--json"))
    told = run("bounce", *meant, "--status", "5.7.2")
    explained = run("explain", ids.show("msg", m.id))

    assert counted["recipients"] == 1
    assert told.stdout == "1 recipients are bounced\n"
    assert "5.7.2 not wanted" in explained.stdout
    assert verify.verify(room.store).holds


def test_the_site_of_a_route_is_known(run: Run, room: Mailroom) -> None:
    room.accept(room.message("a.example"), room.message("b.example"))
    meant = ("hold", "--site", "route:hub.example:25", "--reason", "x", "--dry-run", "--json")

    assert answer(run(*meant, MAILER_ROUTES="a.example=hub.example"))["recipients"] == 1
    assert answer(run(*meant))["recipients"] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["hold", "--reason", "x"], "say which mail is meant"),
        (["hold", "--domain", "a.example"], "--reason"),
        (["hold", "--domain", "a..example", "--reason", "x"], "--domain"),
        (["hold", "--message", "rcpt_0000000000005", "--reason", "x"], "--message"),
        (["hold", "--all", "--reason", "x", "--for", "soon"], "--for"),
        (["hold", "--tenant", "nobody", "--all", "--reason", "x"], "nobody"),
        (["bounce", "--all", "--reason", "x", "--status", "4.2.2"], "class 5"),
        (["bounce", "--all", "--reason", "x", "--status", "no"], "--status"),
        (["bounce", "--all", "--reason", "x\ny"], "--reason"),
        (["release", "hold_0000000000005"], "no hold"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    run: Run, room: Mailroom, words: list[str], complaint: str
) -> None:
    room.accept(room.message())

    result = run(*words)

    assert result.exit_code in (1, 2)
    assert complaint in result.stderr
    assert answer(run("queue", "actions", "--json")) == []


# ---- the queue at a glance


@pytest.mark.parametrize(("by", "name"), [("site", "mx:mx.example"), ("domain", "example.org")])
def test_the_queue_is_shown_once(run: Run, room: Mailroom, by: str, name: str) -> None:
    room.accept(room.message())
    room.settle(room.claim(), deferral(clock.now() + HOUR), HEARD_451)
    room.accept(room.message())

    told = answer(run("queue", "top", "--by", by, "--json"))
    table = run("queue", "top", "--by", by, "--once").stdout

    [row] = told["rows"]
    assert (row["name"], row["queued"], row["deferred"]) == (name, 1, 1)
    assert row["outcomes"] == {"refused 4yz": 1}
    assert told["totals"]["queued"] == 1
    assert name in table
    assert "1 refused 4yz" in table


def test_what_is_no_terminal_is_shown_one_look(run: Run) -> None:
    assert "TENANT" in run("queue", "top", "--by", "tenant").stdout


def test_a_terminal_is_shown_look_after_look_until_it_is_interrupted(room: Mailroom, tmp_path: Path) -> None:
    room.accept(room.message("a.example"))
    ours, theirs = pty.openpty()
    words = ["queue", "top", "--by", "domain", "--every", "0.5"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAILER_")} | {
        "MAILER_DATA_DIR": str(tmp_path / "data"), "MAILER_MODE": "live", "TERM": "xterm",
    }  # fmt: skip
    # A background job's children are born with SIGINT ignored, which Python then leaves so.
    start = "import signal, runpy; signal.signal(2, signal.default_int_handler);"
    start += "runpy.run_module('mailer', run_name='__main__', alter_sys=True)"
    run = subprocess.Popen([sys.executable, "-c", start, *words], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = b""
    while seen.count(b"a.example") < 3:
        seen += os.read(ours, 4096)
    run.send_signal(signal.SIGINT)
    code = run.wait(60)
    os.close(ours)

    assert code == 1  # as click ends what is interrupted
    assert b"Traceback" not in seen


def test_a_recipient_is_explained_with_what_holds_it(run: Run, room: Mailroom) -> None:
    m = room.message("a.example", "b.example")
    room.accept(m)
    held, other = (ids.show("rcpt", r.id) for r in m.recipients)
    placed = answer(run("hold", "--recipient", held, "--reason", "complaints", "--json"))

    [told] = answer(run("explain", held, "--json"))
    story = run("explain", held).stdout

    assert [o["kind"] for o in told["obstacles"]] == ["held", "unresolved"]
    assert f"held: the operator holds recipient {held}: complaints; release {placed['id']}" in story
    assert "held" not in run("explain", other).stdout


def test_mail_is_moved_to_a_pool(run: Run, room: Mailroom) -> None:
    pools.create(room.store, NewPool(name="spare"), new_id=room.new_id, now=clock.now())
    room.accept(room.message("a.example"), room.message("b.example"))
    meant = ("move", "--domain", "a.example", "--reason", "the main one is blocked")

    tried = run(*meant, "--to-pool", "spare", "--dry-run")
    moved = run(*meant, "--to-pool", "spare")
    nowhere = run(*meant, "--to-pool", "none")
    both = run(*meant, "--to-pool", "spare", "--to-stream", "news")

    assert (tried.exit_code, moved.exit_code) == (0, 0)
    assert "to leave from the pool spare" in moved.stdout
    assert (nowhere.exit_code, both.exit_code) == (1, 1)
    assert "there is no pool 'none'" in nowhere.stderr
    assert "say either --to-stream or --to-pool" in both.stderr


def test_mail_is_moved_to_another_stream(run: Run, room: Mailroom) -> None:
    room.accept(room.message("a.example"))
    with room.store.write() as c:
        c.execute(
            stream.insert().values(
                id=room.new_id(), tenant_id=room.tenant_id, name="news", kind="broadcast",
                in_doubt="retry", state="active", created_at=clock.now(),
            )
        )  # fmt: skip
    meant = ("move", "--domain", "a.example", "--reason", "a campaign", "--to-stream")

    counted = answer(run(*meant, "news", "--dry-run", "--json"))
    done = answer(run(*meant, "news", "--json"))
    nowhere = run(*meant, "none")

    assert (counted["recipients"], done["recipients"]) == (1, 1)
    assert nowhere.exit_code == 1
    assert "'none'" in nowhere.stderr
