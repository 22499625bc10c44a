"""The programs of docs/client.md print what they say there, against the real command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.instance import ROOT, Instance, installed

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/client.md").read_text(), re.DOTALL)
PRINTED = [
    r"(queued|leased|delivered|deferred) .+\n",
    r"invalid-field /to/1 /problems/invalid-field\n",
    r"3 0\n(\d+ msg_\w{13}\n)*",
    r"\['4711'\]\n",
]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("client") / "data", {}, http_port=0) as running:
        yield running


def test_each_program_is_known() -> None:
    assert len(PROGRAMS) == len(PRINTED)


@pytest.mark.parametrize(
    ("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=False)), ids=range(len(PRINTED))
)
def test_a_program_prints_what_it_says(instance: Instance, program: str, printed: str) -> None:
    assert instance.ready is not None
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8025", instance.ready.http_url)],
        env=os.environ | {"MAILER_API_KEY": instance.ready.api_key}, cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(printed, done.stdout)
