"""docs/queue.md, as its reader follows it: every command and the program, with the real command running."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, environment, installed

DOCUMENT = (ROOT / "docs/queue.md").read_text()
WRITTEN_URL = "http://127.0.0.1:8025"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {"MAILER_BRAKE": "true"}  # else `brake list` says that it judges nothing
    with installed(tmp_path_factory.mktemp("queue") / "data", settings, http_port=0) as running:
        yield running


def examples(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


def test_the_commands_run(instance: Instance) -> None:
    assert instance.run("tenant", "create", "acme").returncode == 0  # whose stream the document lets go on
    _explain, *commands = filter(None, examples("sh").splitlines())
    answers = [instance.run(*shlex.split(command)[1:]) for command in commands]

    assert [(a.returncode, a.stderr) for a in answers] == [(0, "")] * len(commands)
    assert answers[0].stdout == "0 recipients are meant\n"
    assert "domain held.example" in answers[2].stdout
    assert "is released" in answers[3].stdout
    assert answers[-1].stdout.startswith("mk_")


def test_the_program_runs(instance: Instance, tmp_path: Path) -> None:
    assert instance.ready is not None
    script = tmp_path / "example.py"
    script.write_text(examples("python").replace(WRITTEN_URL, instance.ready.http_url))
    settings = {"MAILER_API_KEY": instance.ready.api_key}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment(settings) | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.stderr == ""
    assert "its tenant holds tenant" in done.stdout
    assert "their postmaster asked for a pause" in done.stdout
