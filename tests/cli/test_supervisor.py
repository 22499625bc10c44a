"""The supervisor with real child processes (role.py), in this very process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailer import clock
from mailer.cli.child import Child, Death, Role, next_pause
from mailer.cli.faults import CommandFailed
from mailer.cli.signals import Signals
from mailer.cli.supervisor import Supervisor

SCRIPT = str(Path(__file__).parent / "role.py")


class Stage:
    """A supervisor, its children's folder, and what it told of deaths."""

    def __init__(self, folder: Path, signals: Signals) -> None:
        self.folder = folder
        self.deaths: list[Death] = []
        self.supervisor = Supervisor(
            signals, monotonic=clock.monotonic, on_death=self.deaths.append, stop_seconds=5.0
        )

    def start(self, name: str, fault: str = "none", echo: Callable[[str, str], None] | None = None) -> Child:
        role = Role(name, (sys.executable, SCRIPT, fault, name, str(self.folder)))
        child = Child(role, run_dir=self.folder, log_dir=self.folder, echo=echo, monotonic=clock.monotonic)
        self.supervisor.start(child, {})
        return child

    def await_ready(self, *children: Child) -> None:
        self.supervisor.wait_until(lambda: all(c.announced() for c in children), seconds=20, what="a role")

    @property
    def story(self) -> list[str]:
        return (self.folder / "story").read_text().splitlines()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Signals() as signals:
        made = Stage(tmp_path, signals)
        yield made
        made.supervisor.stop(())


def test_a_running_role_has_its_pid_on_disk_and_leaves_nothing_there(stage: Stage) -> None:
    child = stage.start("http")
    stage.await_ready(child)
    kept = (stage.folder / "http.pid").read_text()

    in_order = stage.supervisor.stop([child])

    assert kept == f"{child.pid}\n"
    assert in_order
    assert not list(stage.folder.glob("http.pid")) + list(stage.folder.glob("http.json"))


def test_an_announcement_of_an_earlier_process_does_not_count(stage: Stage) -> None:
    (stage.folder / "http.json").write_text('{"pid": 1, "port": 25}')
    child = stage.start("http")
    before = child.announced()

    stage.await_ready(child)

    assert before is None
    assert child.announced() == {"pid": child.pid, "port": 4711}


def test_a_role_that_dies_is_started_again_until_it_is_told_to_stop(stage: Stage) -> None:
    child = stage.start("worker", "dies-twice")

    stage.supervisor.watch()

    assert [(death.name, death.how) for death in stage.deaths] == [("worker", "was killed by SIGKILL")] * 2
    assert child.pid not in {death.pid for death in stage.deaths}
    assert int((stage.folder / "worker.pid").read_text()) == child.pid


def test_a_role_that_dies_before_it_is_ready_ends_the_start_with_its_last_words(stage: Stage) -> None:
    child = stage.start("http", "never-ready")

    with pytest.raises(CommandFailed) as caught:
        stage.await_ready(child)

    assert str(caught.value) == "the role http ended with code 3 before it was ready: cannot find my hat"


def test_a_role_that_is_not_ready_in_time_ends_the_start(stage: Stage) -> None:
    with pytest.raises(CommandFailed, match=r"^the moon was not ready after 0 seconds$"):
        stage.supervisor.wait_until(lambda: False, seconds=0.0, what="the moon")


def test_output_is_passed_on_line_by_line(stage: Stage) -> None:
    read_end, write_end = os.pipe()
    child = stage.start(
        "http", "never-ready", lambda name, line: os.write(write_end, f"{name}|{line}".encode())
    )

    heard = os.read(read_end, 100)

    os.close(read_end)
    os.close(write_end)
    assert heard == b"http|cannot find my hat"
    assert child.name == "http"


def test_those_named_end_before_the_others_are_told(stage: Stage) -> None:
    inbox, worker = stage.start("inbox"), stage.start("worker")
    stage.await_ready(inbox, worker)

    in_order = stage.supervisor.stop([worker])

    assert in_order
    assert stage.story[-2:] == ["worker SIGTERM", "inbox SIGTERM"]


def test_an_impatient_second_ctrl_c_kills_what_still_drains(stage: Stage) -> None:
    child = stage.start("worker", "asks-again")
    stage.await_ready(child)

    in_order = stage.supervisor.stop([child])

    assert not in_order
    assert not child.is_alive


def test_who_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    with Signals() as signals:
        stage = Stage(tmp_path, signals)
        stage.supervisor = Supervisor(
            signals, monotonic=clock.monotonic, on_death=stage.deaths.append, stop_seconds=0.2
        )
        child = stage.start("worker", "stubborn")
        stage.await_ready(child)

        in_order = stage.supervisor.stop([child])

    assert not in_order
    assert not child.is_alive


def test_a_port_once_taken_is_given_to_successors(stage: Stage) -> None:
    child = stage.start("worker", "dies-twice")
    stage.supervisor.pin(child, MAILER_HTTP_PORT="4711")

    stage.supervisor.watch()

    environ = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert b"MAILER_HTTP_PORT=4711" in environ.split(b"\0")


@pytest.mark.parametrize(
    ("pause", "lived_seconds", "then"),
    [
        (0.0, 0.0, 0.1),
        (0.1, 0.5, 0.2),
        (0.2, 9.9, 0.4),
        (3.2, 1.0, 5.0),
        (5.0, 1.0, 5.0),
        (5.0, 10.0, 0.1),
    ],
)
def test_the_pause_doubles_up_to_five_seconds_and_a_long_life_resets_it(
    pause: float, lived_seconds: float, then: float
) -> None:
    assert next_pause(pause, lived_seconds=lived_seconds) == pytest.approx(then)
