"""A bad list meets the brake: the stream is paused by the sweeper, its tenant hears of it, and an override
lets it go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Instance, installed, pause, wait_for
from tests.support.receiver import Receiver, receiving

JUDGED_SECONDS = 75  # it judges once a minute, and first at its start
PATIENCE_SECONDS = 20
THRESHOLDS = """
[hard_bounces]
least = 3

[window.day]
answers = 6

[window.week]
answers = 6
"""


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    thresholds = tmp_path / "brake.toml"
    thresholds.write_text(THRESHOLDS)
    settings = {"MAILER_BRAKE": "true", "MAILER_BRAKE_FILE": str(thresholds)}
    if request.param == "postgres":
        settings |= {"MAILER_DATABASE_URL": str(request.getfixturevalue("postgres_url"))}
    with installed(tmp_path / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def told(instance: Instance, *words: str) -> Any:
    done = instance.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def send(instance: Instance, to: str, stream: str = "broadcast") -> str:
    assert instance.ready is not None
    answer = instance.send(
        **{"from": f"shop@{instance.ready.domain}"}, to=to, subject="News", text="x", stream=stream
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state(instance: Instance, message_id: str) -> str:
    return str(instance.get(f"/v1/messages/{message_id}")["recipients"][0]["state"])


def reaches(instance: Instance, message_id: str, wanted: str) -> None:
    wait_for(
        f"{message_id}: {wanted}", lambda: state(instance, message_id) == wanted,
        within_seconds=PATIENCE_SECONDS,
    )  # fmt: skip


def stream_events(receiver: Receiver) -> list[tuple[str, str, str]]:
    """Type, stream and reason, as they were called."""
    payloads = [call.payload for call in receiver.calls]
    return [
        (p["type"], p["data"]["data"]["stream"], p["data"]["data"]["reason"])
        for p in payloads if p["type"].startswith("stream_")
    ]  # fmt: skip


def obstacles(instance: Instance, message_id: str) -> list[Any]:
    """But that its domain was never looked up."""
    [one] = told(instance, "explain", message_id)
    return [obstacle for obstacle in one["obstacles"] if obstacle["kind"] != "unresolved"]


def restart_sweeper(instance: Instance) -> None:
    """As after a crash of it."""
    old = instance.pid("sweeper")
    os.kill(old, signal.SIGKILL)
    instance.wait_for_successor("sweeper", old)


def test_a_bad_list_pauses_its_stream_and_nothing_else_until_it_is_let_go(
    instance: Instance, receiver: Receiver
) -> None:
    made = instance.post("/v1/webhook-endpoints", {"url": f"http://127.0.0.1:{receiver.port}/"})
    assert made.status_code == 201, made.text
    listed = [send(instance, f"bounce+{n}@simulator.mailer.test") for n in range(8)]
    for message_id in listed:
        reaches(instance, message_id, "bounced")
    restart_sweeper(instance)  # its successor judges at once; else it would within a minute
    wait_for("the pause", lambda: stream_events(receiver), within_seconds=JUDGED_SECONDS)
    pause(1.5)  # workers read the holds once a second

    [marked] = told(instance, "brake", "list")
    new, urgent = send(instance, "ann@example.net"), send(instance, "ann@example.net", "transactional")
    reaches(instance, urgent, "delivered")
    before = state(instance, new), obstacles(instance, new)
    instance.stop()
    instance.start()
    reaches(instance, send(instance, "bob@example.net", "transactional"), "delivered")
    after = state(instance, new), obstacles(instance, new)
    let_go = told(instance, "brake", "override", "default", "--for", "1d", "--reason", "they cleaned it")
    reaches(instance, new, "delivered")
    wait_for("the callback", lambda: len(stream_events(receiver)) > 1, within_seconds=PATIENCE_SECONDS)

    why = "100.00% hard bounces, 8 of 8 in 24 h: from 10.00% on it is paused"
    assert (marked["stream"], marked["paused"], marked["reason"]) == ("broadcast", True, why)
    waits, [held] = before
    assert (waits, held["kind"], held["facts"]["by"]) == ("queued", "held", "the brake")
    assert held["what"].startswith("the brake holds")
    assert held["what"].endswith(f"stream broadcast: {why}")
    assert held["until"] == marked["until"]
    assert after == before
    assert let_go["let_go"] == 1
    assert stream_events(receiver) == [
        ("stream_paused", "broadcast", why),
        ("stream_resumed", "broadcast", "the operator lets it go on"),
    ]
    assert instance.verify()[0] == 0
