"""The examples of the README work as they stand there, but for the ports of this instance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, Ready, installed, wait_for

TEXT = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    re.sub(r"^    ", "", block, flags=re.MULTILINE)
    for block in re.findall(r"(?:^    .*\n)+", TEXT, re.MULTILINE)
    if block.startswith("    curl ")
]
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("readme") / "data", {}, http_port=0) as running:
        yield running


@pytest.fixture
def ready(instance: Instance) -> Ready:
    assert instance.ready is not None
    return instance.ready


def here(example: str, ready: Ready) -> str:
    """The example with the ports of this instance."""
    return example.replace("http://127.0.0.1:8025", ready.http_url).replace("2587", str(ready.smtp_port))


def run(command: list[str], ready: Ready) -> str:
    done = subprocess.run(
        command, env=os.environ | {"MAILER_API_KEY": ready.api_key}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def delivered(instance: Instance, count: int) -> int:
    """How many messages have arrived in all, once there are so many."""
    return wait_for(
        f"{count} deliveries",
        lambda: n if (n := sum(e["type"] == "delivered" for e in instance.events())) >= count else None,
        within_seconds=PATIENCE_SECONDS,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split("\n\n")[0].split()[-1])
def test_a_program_sends(instance: Instance, ready: Ready, program: str) -> None:
    before = len([e for e in instance.events() if e["type"] == "accepted"])
    run([sys.executable, "-c", here(program, ready)], ready)

    assert delivered(instance, before + 1)


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_sends(instance: Instance, ready: Ready, command: str) -> None:
    before = len([e for e in instance.events() if e["type"] == "accepted"])
    told = run(["sh", "-c", here(command, ready)], ready)

    assert '"status":"accepted"' in told
    assert delivered(instance, before + 1)


def test_there_are_examples() -> None:
    assert (len(PROGRAMS), len(COMMANDS)) == (2, 1)


def test_the_ports_are_those_of_the_settings() -> None:
    settings = Path(ROOT / "docs/settings.md").read_text()

    assert "| `MAILER_HTTP_PORT` | `8025` |" in settings
    assert "| `MAILER_SMTP_PORT` | `2587` |" in settings
