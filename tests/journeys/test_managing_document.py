"""docs/managing.md, as its reader follows it: every example in turn, with the real command running."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, environment, installed

DOCUMENT = (ROOT / "docs/managing.md").read_text()
WRITTEN_URL = "http://127.0.0.1:8025"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("managing") / "data", {}, http_port=0) as running:
        yield running


def examples(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


def test_the_examples_in_python_run_in_one_go(instance: Instance, tmp_path: Path) -> None:
    assert instance.ready is not None
    script = tmp_path / "examples.py"
    script.write_text(examples("python").replace(WRITTEN_URL, instance.ready.http_url))
    done = subprocess.run(
        [sys.executable, str(script)], env=environment({"MAILER_API_KEY": instance.ready.api_key}),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert "Your order 1042" in lines[0]
    assert lines[1:3] == ["active", "['transactional', 'broadcast', 'newsletter']"]
    assert [line.split()[1][:3] for line in lines[3:5]] == ["mk_", "mk_"]
    assert lines[5].startswith("[('shop, since May', 'active'), ('shop', 'revoked')")
    assert lines[6].startswith("['rcpt_")


def test_the_commands_run(instance: Instance) -> None:
    commands = examples("sh").strip().splitlines()
    answers = [instance.run(*command.split()[1:]) for command in commands]

    assert [a.returncode for a in answers] == [0, 0]
    assert answers[0].stdout.startswith("mk_")
    assert "transactional  sandbox.mailer.test" in answers[1].stdout


def test_the_command_for_finding_finds(instance: Instance) -> None:
    [command] = re.findall(r"`mailer (messages --state bounced .*?)`", DOCUMENT)
    answer = instance.run(*command.split())

    assert (answer.returncode, len(answer.stdout.splitlines())) == (0, 1)
