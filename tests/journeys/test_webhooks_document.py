"""docs/webhooks.md, as its reader follows it: an endpoint is made, a consumer verifies, none is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, environment, installed, wait_for
from tests.support.processes import free_port

DOCUMENT = (ROOT / "docs/webhooks.md").read_text()
MAKING, CONSUMING, RECONCILING = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with installed(tmp_path / "data", {}, http_port=0) as running:
        yield running


def program(instance: Instance, text: str, port: int) -> str:
    assert instance.ready is not None
    return text.replace("http://127.0.0.1:8025", instance.ready.http_url).replace("9000", str(port))


def run(instance: Instance, text: str, port: int) -> str:
    """What the example prints."""
    assert instance.ready is not None
    done = subprocess.run(
        [sys.executable, "-c", program(instance, text, port)], capture_output=True, text=True, timeout=60,
        env=environment({"MAILER_API_KEY": instance.ready.api_key}), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_work_together(instance: Instance, tmp_path: Path) -> None:
    assert instance.ready is not None
    port, told = free_port(), tmp_path / "told"
    endpoint, secret = run(instance, MAKING, port).split()
    with told.open("wb") as output:
        consumer = subprocess.Popen(
            [sys.executable, "-c", program(instance, CONSUMING, port)], stdout=output,
            stderr=subprocess.DEVNULL, env=environment({"WEBHOOK_SECRET": secret}),
        )  # fmt: skip
    try:
        sender = f"shop@{instance.ready.domain}"
        sent = instance.send(**{"from": sender}, to="ann@example.net", subject="Hello", text="x").json()["id"]
        wait_for("both events", lambda: told.read_text().count("\n") >= 2, within_seconds=60)
    finally:
        consumer.kill()
        consumer.wait()

    assert sorted(told.read_text().splitlines()) == [f"1 accepted {sent}", f"2 delivered {sent}"]
    assert run(instance, RECONCILING, port) == "[]\n"
    assert endpoint in {e["id"] for e in instance.get("/v1/webhook-endpoints")["endpoints"]}
