"""Every example of docs/sending.md does what it says, against the real command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance, installed

DOCUMENT = Path(__file__).parents[2] / "docs/sending.md"
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("examples") / "data", {}, http_port=0) as running:
        yield running


def run(instance: Instance, language: str, text: str, folder: Path) -> str:
    """What the example prints; it succeeds."""
    assert instance.ready is not None
    (folder / "invoice.pdf").write_bytes(b"%PDF-1.7\n")
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n")
    program = text.replace("http://127.0.0.1:8025", instance.ready.http_url).replace(
        "sandbox.mailer.test", instance.ready.domain
    )
    command = ["sh", "-ec", program] if language == "sh" else [sys.executable, "-c", program]
    environment = {**os.environ, "MAILER_API_KEY": instance.ready.api_key}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("language", "text"), EXAMPLES, ids=lambda part: part.split("\n")[0][:30])
def test_the_example_works(instance: Instance, tmp_path: Path, language: str, text: str) -> None:
    printed = run(instance, language, text, tmp_path)

    if "/validate" in text:
        found = json.loads(printed)
        assert [problem["pointer"] for problem in found["problems"]] == ["/to/1"]
        assert {warning["warning"] for warning in found["warnings"]} == {"no-text-part", "empty-subject"}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4
