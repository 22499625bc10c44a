"""An operator's afternoon with real processes: hold a domain, see why its mail waits, restart, release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Instance, installed, pause, wait_for

PATIENCE_SECONDS = 30


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with installed(tmp_path / "data", {}, http_port=0) as running:
        yield running


def told(instance: Instance, *words: str) -> Any:
    done = instance.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def send(instance: Instance, to: str) -> str:
    assert instance.ready is not None
    answer = instance.send(
        **{"from": f"shop@{instance.ready.domain}"}, to=to, subject="Hello", text="It works.\n"
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state(instance: Instance, message_id: str) -> str:
    return str(instance.get(f"/v1/messages/{message_id}")["recipients"][0]["state"])


def delivered(instance: Instance, message_id: str) -> None:
    wait_for(
        f"the delivery of {message_id}", lambda: state(instance, message_id) == "delivered",
        within_seconds=PATIENCE_SECONDS,
    )  # fmt: skip


def kinds(instance: Instance, message_id: str) -> list[str]:
    [one] = told(instance, "explain", message_id)
    return [obstacle["kind"] for obstacle in one["obstacles"]]


def test_mail_is_held_explained_kept_over_a_restart_and_released(instance: Instance) -> None:
    placed = told(instance, "hold", "--domain", "held.example", "--reason", "complaints")
    pause(1.5)  # workers read the holds once a second
    held, free = send(instance, "ann@held.example"), send(instance, "ann@free.example")
    delivered(instance, free)
    before = state(instance, held), kinds(instance, held)
    [row] = [r for r in told(instance, "queue", "top", "--by", "domain")["rows"] if r["queued"]]

    instance.stop()
    instance.start()
    later = send(instance, "ann@free.example")
    delivered(instance, later)
    after = state(instance, held), kinds(instance, held)
    released = told(instance, "release", placed["id"])
    delivered(instance, held)

    assert before == after == ("queued", ["held", "unresolved"])  # none was tried yet
    assert row["name"] == "held.example"
    assert [one["id"] for one in released["released"]] == [placed["id"]]
    assert instance.verify()[0] == 0


def test_a_hold_ends_by_itself_and_held_mail_can_be_bounced(instance: Instance) -> None:
    told(instance, "hold", "--domain", "held.example", "--reason", "complaints", "--for", "6s")
    told(instance, "hold", "--domain", "never.example", "--reason", "complaints")
    pause(1.5)
    held, never = send(instance, "ann@held.example"), send(instance, "ann@never.example")
    done = told(
        instance, "bounce", "--domain", "never.example", "--reason", "not wanted", "--status", "5.7.2"
    )
    delivered(instance, held)

    log = wait_for(
        "the events", lambda: found if len(found := instance.events()) >= 4 else None,
        within_seconds=PATIENCE_SECONDS,
    )  # fmt: skip
    [bounced] = [event for event in log if event["type"] == "bounced"]
    lapsed = [one["kind"] for one in told(instance, "queue", "actions")]
    assert (done["recipients"], state(instance, never)) == (1, "bounced")
    assert bounced["data"]["status"] == "5.7.2"
    assert lapsed.count("lapse") == 1
    assert instance.verify()[0] == 0
