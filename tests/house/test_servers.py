"""The tests' own servers can be crashed, paused and brought back, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.processes import Tree, lives, wait_until
from tests.support.servers import MissingServer, Postgres, RabbitMQ, Redis, Server

pytestmark = pytest.mark.servers
SERVERS = [Postgres, Redis, RabbitMQ]


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind: type[Server] = request.param
    started = kind()
    started.start()
    yield started
    started.close()


def processes_in(folder: Path) -> list[Path]:
    """Those whose working folder it is or was."""
    return [p for p in Path("/proc").glob("[0-9]*/cwd") if _target(p).startswith(str(folder))]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_a_killed_server_comes_back_at_the_same_address(server: Server) -> None:
    url, pid = server.url, server.pid
    server.kill()
    assert not lives(pid)
    server.start()

    assert server.url == url
    assert server.pid != pid


def test_a_closed_server_leaves_nothing_behind(server: Server) -> None:
    server.close()

    assert processes_in(server.folder) == []
    assert not server.folder.exists()


def test_a_server_that_was_paused_ends_all_the_same(server: Server) -> None:
    server.pause()
    server.close()

    assert processes_in(server.folder) == []
    assert not server.folder.exists()


def test_what_was_committed_outlives_kill_and_restart() -> None:
    server = Postgres(durable=True)
    try:
        server.start()
        conninfo = server.new_database().replace("+psycopg", "")
        with psycopg.connect(conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.kill()
        server.start()
        server.restart()
        with psycopg.connect(conninfo) as connection:
            kept = connection.execute("SELECT one FROM kept").fetchall()
    finally:
        server.close()

    assert kept == [(1,)]


def test_a_dropped_database_ends_the_sessions_in_it(postgres: Postgres) -> None:
    url = postgres.new_database()
    with psycopg.connect(url.replace("+psycopg", "")) as session:
        postgres.drop_database(url)

        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def test_a_tree_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    """A kill -9 of the test run leaves it no time to end its servers itself."""
    folder = tmp_path / "doomed"
    folder.mkdir()
    program = (
        "import signal, sys; from pathlib import Path; from tests.support.processes import Tree;"
        "tree = Tree(['sleep', '600'], folder=Path(sys.argv[1]), log=Path(sys.argv[1], 'log'));"
        "print(tree.pid, flush=True); signal.pause()"
    )
    run = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    run.kill()
    run.communicate()

    wait_until("the server has ended", lambda: not lives(pid), seconds=10)
    wait_until("its folder is removed", lambda: not folder.exists(), seconds=10)


def test_a_kill_reaches_the_children_of_the_children(tmp_path: Path) -> None:
    told = tmp_path / "grandchild"
    script = f"sh -c 'sleep 600 & echo $! > {told}.new; mv {told}.new {told}; wait'; true"
    tree = Tree(["sh", "-c", script], folder=tmp_path, log=tmp_path / "log")
    wait_until("the grandchild runs", told.exists, seconds=10)
    tree.kill()

    assert not lives(int(told.read_text()))


def test_a_missing_server_fails_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Redis()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("tests.support.servers.SYSTEM_FOLDERS", "")

    with pytest.raises(MissingServer, match=r"apt-get install redis-server"):
        server.start()
    server.close()
