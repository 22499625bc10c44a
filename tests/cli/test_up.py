"""`mailer up` as a real process: what it prepares, promises, keeps running and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailer.store import Store, schema

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MAILER = (sys.executable, "-m", "mailer")


def environ(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
    return {**own, "PYTHONPATH": str(ROOT), **more}


class Instance:
    """A started `mailer up --json` and its one line of answer."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*MAILER, "up", "--data-dir", str(folder), "--http-port", "0", "--json", *options],
            env=environ(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.facts: dict[str, Any] = json.loads(self.process.stdout.readline())  # type: ignore[union-attr]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*MAILER, *arguments, "--data-dir", str(self.folder)]
        return subprocess.run(command, env=environ(), capture_output=True, text=True, check=False)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        stderr = self.process.communicate(timeout=70)[1]
        return self.process.returncode, stderr


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    started = Instance(tmp_path_factory.mktemp("up") / "data")
    yield started
    started.stop()


def refused(*arguments: str, **settings: str) -> tuple[int, str]:
    ended = subprocess.run(
        [*MAILER, "up", *arguments], env=environ(**settings), capture_output=True, text=True, check=False
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def alive(pid: int) -> bool:
    """Zombies count as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def death_of(pid: int) -> int:
    """A descriptor that can be read from when the process ends (pidfd_open(2))."""
    return os.pidfd_open(pid)


def await_death(pidfd: int) -> None:
    import select

    ended, _, _ = select.select([pidfd], [], [], 60)
    os.close(pidfd)
    assert ended


def test_one_line_tells_a_program_all_it_needs(instance: Instance) -> None:
    assert set(instance.facts) == {
        *("http_url", "smtp_host", "smtp_port", "smtps_port", "returns_port"),
        *("api_key", "domain", "inbox_url", "pids"),
    }
    assert set(instance.facts["pids"]) == {"http", "worker", "sweeper", "caller", "inbox"}
    assert instance.facts["domain"] == "sandbox.mailer.test"
    assert all(alive(pid) for pid in instance.facts["pids"].values())


def test_every_role_has_its_pid_and_its_log_in_the_data_folder(instance: Instance) -> None:
    kept = {path.stem: int(path.read_text()) for path in (instance.folder / "run").glob("*.pid")}

    assert kept == instance.facts["pids"]
    assert {path.stem for path in (instance.folder / "log").glob("*.log")} == set(kept)


def test_send_finds_the_instance_and_its_key_by_the_data_folder(instance: Instance) -> None:
    sent = instance.run(
        "send", "--from", "Shop <shop@sandbox.mailer.test>", "--to", "ann@example.org",
        "--subject", "Hello", "--text", "It works.", "--header", "X-Order: 7", "--tag", "welcome", "--json",
    )  # fmt: skip
    listed = instance.run("messages", "--json")

    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["id"] in {m["id"] for m in json.loads(listed.stdout)}


def test_a_refusal_is_told_with_its_reason_and_place(instance: Instance) -> None:
    sent = instance.run("send", "--from", "shop@elsewhere.example", "--to", "ann@example.org", "--text", "x")

    assert sent.returncode == 1
    assert sent.stderr.startswith("mailer: refused (")
    assert "(at /from)" in sent.stderr


def test_a_second_start_on_the_same_folder_is_refused(instance: Instance) -> None:
    code, sentence = refused("--data-dir", str(instance.folder), "--http-port", "0")

    pid = instance.process.pid
    assert (code, sentence) == (
        1, f"mailer: another `mailer up` runs on {instance.folder} already (pid {pid})\n",
    )  # fmt: skip


def test_a_killed_worker_is_started_again_under_a_new_pid(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "data", "--workers", "2")
    before = instance.facts["pids"]["worker-2"]

    os.kill(before, signal.SIGKILL)
    told = instance.process.stderr.readline()  # type: ignore[union-attr]
    code, _ = instance.stop()

    assert told == f"up        | worker-2 (pid {before}) was killed by SIGKILL; it starts again in 0.1 s\n"
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_every_role_in_order(tmp_path: Path, number: signal.Signals) -> None:
    instance = Instance(tmp_path / "data")

    code, stderr = instance.stop(number)

    assert (code, stderr) == (0, "")
    assert not [pid for pid in instance.facts["pids"].values() if alive(pid)]
    assert not list((instance.folder / "run").iterdir())


def test_roles_do_not_outlive_a_supervisor_that_is_killed_and_the_next_start_waits_for_them(
    tmp_path: Path,
) -> None:
    first = Instance(tmp_path / "data")
    deaths = [death_of(pid) for pid in first.facts["pids"].values()]
    port = first.facts["http_url"].rpartition(":")[2]

    first.stop(signal.SIGKILL)
    second = Instance(tmp_path / "data", MAILER_HTTP_PORT=port)

    for pidfd in deaths:
        await_death(pidfd)
    assert second.facts["api_key"] == first.facts["api_key"]
    assert second.stop() == (0, "")


def greeting_of(process: subprocess.Popen[str]) -> list[str]:
    """Lines up to the last one of the greeting, or to the end of the output."""
    lines: list[str] = []
    while not lines or lines[-1] not in {"", "Warnings appear below. Ctrl-C stops everything.\n"}:
        lines.append(process.stdout.readline())  # type: ignore[union-attr]
    return lines


def test_the_terminal_gets_a_greeting_and_a_curl_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*MAILER, "up", "--data-dir", str(tmp_path / "data"), "--http-port", "0"],
        env=environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    lines = greeting_of(process)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=70)

    assert lines[0].startswith("ECM Mailer ")
    assert any(line.startswith("  curl http://127.0.0.1:") for line in lines)
    assert process.returncode == 0


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        told = refused("--data-dir", str(tmp_path), "--http-port", str(port))

    assert told == (
        1,
        f"mailer: port {port} of 127.0.0.1 is in use: stop what listens there, "
        "or set MAILER_HTTP_PORT (--http-port)\n",
    )


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    code, sentence = refused("--data-dir", str(tmp_path / "file" / "data"), "--http-port", "0")

    assert (code, sentence) == (
        1, f"mailer: the data folder {tmp_path}/file/data cannot be written: Not a directory\n",
    )  # fmt: skip


def test_a_newer_schema_is_one_sentence(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mailer.sqlite3")
    schema.upgrade(store, epoch="test")
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_from_the_future'"))
    store.close()

    code, sentence = refused("--data-dir", str(tmp_path), "--http-port", "0")

    assert (code, sentence) == (
        1,
        "mailer: the database schema 9999_from_the_future is newer than this release: "
        "install the release that made it\n",
    )


def test_an_unknown_setting_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    told = refused("--data-dir", str(tmp_path), MAILER_HTTPPORT="1")

    assert told == (2, "mailer: MAILER_HTTPPORT is not a setting; did you mean MAILER_HTTP_PORT?\n")
