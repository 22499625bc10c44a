"""A limit over time with real processes: two workers keep it together, also when one is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.instance import Instance, installed, pause, wait_for

RECIPIENTS = 24
A_SECOND = 4
SETTINGS = {"MAILER_WORKERS": "2", "MAILER_SWEEP_SECONDS": "0.2", "MAILER_LEASE_SECONDS": "2"}


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    settings = dict(SETTINGS)
    if request.param == "postgres":
        settings["MAILER_DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    with installed(tmp_path / "data", settings, http_port=0) as running:
        yield running


def accepted(instance: Instance) -> str:
    assert instance.ready is not None
    to = [f"user{n}@d{n % 5}.example" for n in range(RECIPIENTS)]
    sender = {"from": f"shop@{instance.ready.domain}"}
    answer = instance.send(**sender, to=to, subject="Hello", text="It works.\n")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def delivered(instance: Instance, message_id: str) -> int:
    recipients = instance.get(f"/v1/messages/{message_id}")["recipients"]
    return sum(r["state"] == "delivered" for r in recipients)


def test_a_tenants_limit_holds_over_all_workers_and_over_a_crash(instance: Instance) -> None:
    said = instance.run("limit", "set", "default", f"{A_SECOND}/s")
    assert said.returncode == 0, said.stderr
    pause(3.0)  # workers read limits every other second

    message_id = accepted(instance)
    wait_for("some deliveries", lambda: delivered(instance, message_id) >= A_SECOND, within_seconds=60)
    explained = instance.run("explain", message_id, "--json")
    os.kill(instance.pid("worker"), signal.SIGKILL)
    wait_for("all", lambda: delivered(instance, message_id) == RECIPIENTS, within_seconds=120)

    [first, *_, last] = sorted(
        datetime.fromisoformat(e["at"]) for e in instance.events() if e["type"] == "delivered"
    )
    kinds = {o["kind"] for one in json.loads(explained.stdout) for o in one["obstacles"]}
    # So many cannot have been sent in less, wherever the first second began.
    assert (last - first).total_seconds() > RECIPIENTS / A_SECOND - 2
    assert "ceiling" in kinds
    assert instance.verify()[0] == 0
