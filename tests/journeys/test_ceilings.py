"""Limits over time with real processes: workers keep one together, also over a crash, and so do doors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.support.instance import ROOT, Instance, environment, installed, pause, wait_for
from tests.support.processes import free_port

RECIPIENTS = 24
A_SECOND = 4
OF_A_KEY = 40  # in a minute
OF_A_TENANT = 55  # in a day
SETTINGS = {
    "MAILER_WORKERS": "2", "MAILER_SWEEP_SECONDS": "0.2", "MAILER_LEASE_SECONDS": "2",
    "MAILER_KEY_MESSAGES_PER_MINUTE": str(OF_A_KEY),
}  # fmt: skip


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
    kinds: set[str] = set()

    def is_told() -> bool:
        # Between two turns of the limit nothing waits for it: one look may come just then.
        explained = instance.run("explain", message_id, "--json")
        kinds.update(o["kind"] for one in json.loads(explained.stdout) for o in one["obstacles"])
        return "ceiling" in kinds

    wait_for("the ceiling to be told", is_told, within_seconds=20)
    os.kill(instance.pid("worker"), signal.SIGKILL)
    wait_for("all", lambda: delivered(instance, message_id) == RECIPIENTS, within_seconds=120)

    [first, *_, last] = sorted(
        datetime.fromisoformat(e["at"]) for e in instance.events() if e["type"] == "delivered"
    )
    # So many cannot have been sent in less, wherever the first second began.
    assert (last - first).total_seconds() > RECIPIENTS / A_SECOND - 2
    assert instance.verify()[0] == 0


@contextmanager
def another_door(instance: Instance, folder: Path) -> Iterator[str]:
    """URL of a second `mailer http` on the same database, as a second host has it."""
    port = free_port()
    database = instance.settings.get("MAILER_DATABASE_URL", f"sqlite:///{instance.data}/mailer.sqlite3")
    own = {
        "MAILER_DATA_DIR": str(folder), "MAILER_DATABASE_URL": database,
        "MAILER_SECRET": (instance.data / "secret.key").read_text().strip(), "MAILER_HTTP_PORT": str(port),
        "MAILER_SMTP_PORT": "0", "MAILER_SMTPS_PORT": "0",
    }  # fmt: skip
    process = subprocess.Popen(
        Instance.command("http"), cwd=ROOT, env=environment({**instance.settings, **own}),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for("the second door", (folder / "run" / "http.json").exists, within_seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def rush(urls: list[str], key: str, sender: str, seconds: float) -> Counter[str]:
    """What was answered to as many as came through in a while."""
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def go(url: str) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30) as client:
            while time.monotonic() < until:
                body = {"from": sender, "to": "ann@example.net", "subject": "x", "text": "x"}
                answer = client.post(f"{url}/v1/messages", json=body).json()
                seen[answer.get("type") or answer["status"]] += 1

    threads = [threading.Thread(target=go, args=(url,)) for url in urls * 2]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return seen


def test_a_keys_rate_and_a_tenants_quota_hold_over_all_doors(instance: Instance, tmp_path: Path) -> None:
    assert instance.ready is not None
    said = instance.run("limit", "set", "default", f"{OF_A_TENANT}/day", "--accept")
    key = json.loads(instance.run("key", "create", "--json").stdout)["api_key"]
    sender = f"shop@{instance.ready.domain}"
    with another_door(instance, tmp_path / "second") as url:
        first = rush([instance.ready.http_url, url], instance.ready.api_key, sender, 5.0)
        second = rush([instance.ready.http_url, url], key, sender, 5.0)
    [held] = json.loads(instance.run("limit", "list", "--json").stdout)

    assert said.returncode == 0, said.stderr
    assert (first["accepted"], first["/problems/rate-limited"] > 0) == (OF_A_KEY, True)
    assert (second["accepted"], second["/problems/quota-exceeded"] > 0) == (OF_A_TENANT - OF_A_KEY, True)
    assert set(first) | set(second) == {"accepted", "/problems/rate-limited", "/problems/quota-exceeded"}
    assert (held["of"], held["used"], held["room_now"]) == ("accepting", OF_A_TENANT, 0)
    assert instance.verify()[0] == 0
