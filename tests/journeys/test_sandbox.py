"""A developer tries out every outcome on a laptop: the real command, HTTP in, the real relay, and back."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.instance import ROOT, Instance, environment, installed, wait_for

PATIENCE_SECONDS = 40
SETTINGS = {"MAILER_RETRY_DELAYS": "1s", "MAILER_SWEEP_SECONDS": "0.2"}
_serial = itertools.count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = dict(SETTINGS)
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        settings["MAILER_DATABASE_URL"] = server.new_database()
    with installed(tmp_path_factory.mktemp("sandbox") / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture
def client(instance: Instance) -> Iterator[httpx.Client]:
    assert instance.ready is not None
    with httpx.Client(
        base_url=instance.ready.http_url,
        headers={"Authorization": f"Bearer {instance.ready.api_key}"},
        timeout=60,
        trust_env=False,
    ) as connected:
        yield connected


@dataclass
class Sent:
    """A message to one simulated recipient."""

    client: httpx.Client
    id: str

    def look(self) -> dict[str, Any]:
        return dict(self.client.get(f"/v1/messages/{self.id}").raise_for_status().json())

    def await_events(self, *types: str) -> dict[str, Any]:
        """The message, once its events are these."""

        def met() -> dict[str, Any] | None:
            message = self.look()
            return message if [e["type"] for e in message["events"]] == list(types) else None

        try:
            return wait_for(f"the events {types}", met, within_seconds=PATIENCE_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.look()}") from None


Send = Callable[..., Sent]


@pytest.fixture
def send(instance: Instance, client: httpx.Client) -> Send:
    """Sends to a simulated recipient by its name."""
    assert instance.ready is not None
    sender = f"shop@{instance.ready.domain}"

    def send(name: str, **more: object) -> Sent:
        letter = {
            "from": sender, "to": f"{name}@simulator.mailer.test", "subject": "Hello", "text": "It works.\n",
            **more,
        }  # fmt: skip
        return Sent(client, client.post("/v1/messages", json=letter).raise_for_status().json()["id"])

    return send


def recipient(message: dict[str, Any]) -> dict[str, Any]:
    [one] = message["recipients"]
    return dict(one)


def outcomes(message: dict[str, Any]) -> list[tuple[str, int | None, str | None]]:
    return [(a["state"], a["code"], a["status"]) for a in recipient(message)["attempts"]]


@pytest.mark.parametrize("name", ["success", "SUCCESS+order-1042"])
def test_success_is_delivered(send: Send, name: str) -> None:
    message = send(name).await_events("accepted", "delivered")

    assert recipient(message)["state"] == "delivered"


def test_bounce_is_a_bounce_for_good(send: Send) -> None:
    message = send("bounce+1").await_events("accepted", "bounced")

    assert outcomes(message) == [("settled", 550, "5.1.1")]
    assert message["events"][-1]["data"]["phase"] == "rcpt"


def test_a_full_mailbox_bounces_with_its_own_status(send: Send) -> None:
    message = send("full").await_events("accepted", "bounced")

    assert outcomes(message) == [("settled", 552, "5.2.2")]


def test_an_unknown_recipient_of_the_simulator_bounces(send: Send) -> None:
    message = send("nobody").await_events("accepted", "bounced")

    assert outcomes(message) == [("settled", 550, "5.1.1")]


def test_a_deferred_one_expires_in_the_end(send: Send) -> None:
    deadline = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    sent = send("defer", expires_at=deadline)
    message = wait_for(
        "the end", lambda: m if recipient(m := sent.look())["state"] == "expired" else None,
        within_seconds=PATIENCE_SECONDS,
    )  # fmt: skip

    types = [e["type"] for e in message["events"]]
    assert (types[0], types[-1]) == ("accepted", "expired")
    assert set(types[1:-1]) == {"delayed"}
    assert {o[1] for o in outcomes(message)} == {451}


def test_a_greylisted_one_is_delivered_when_it_comes_again(send: Send) -> None:
    message = send("greylist").await_events("accepted", "delayed", "delivered")

    assert [o[1] for o in outcomes(message)] == [451, 250]
    assert "try again in 5 seconds" in recipient(message)["attempts"][0]["reply"]


def test_a_slow_one_is_delivered_after_a_silence(send: Send) -> None:
    message = send("slow+3").await_events("accepted", "delivered")

    [attempt] = recipient(message)["attempts"]
    steps = attempt["conversation"]
    sent_at = max(step["ms"] for step in steps if step["who"] == "us")
    assert steps[-1]["ms"] - sent_at > 2500


def test_a_dropped_connection_leaves_it_in_doubt_and_the_retry_delivers(
    send: Send, client: httpx.Client
) -> None:
    sent = send("drop-after-dot")
    message = sent.await_events("accepted", "delayed", "delivered")
    copies = client.get("/v1/inbox", params={"message_id": sent.id}).json()

    assert [o[0] for o in outcomes(message)] == ["in_doubt", "settled"]
    assert recipient(message)["in_doubt"]
    assert copies["total"] == 2


@pytest.mark.parametrize(
    ("name", "event"), [("complaint", "complained"), ("unsubscribe", "unsubscribed"), ("oof", "auto_replied")]
)
def test_what_comes_back_is_told_beside_the_delivery(
    instance: Instance, send: Send, name: str, event: str
) -> None:
    sent = send(f"{name}+x")
    message = sent.await_events("accepted", "delivered", event)
    told = wait_for(
        "the event in the log",
        lambda: [e for e in instance.events() if e["message_id"] == sent.id and e["type"] == event],
        within_seconds=PATIENCE_SECONDS,
    )

    assert recipient(message)["state"] == "delivered"
    assert [e["version"] for e in message["events"]] == [1, 2, 3]
    assert told[0]["recipient_id"] == recipient(message)["id"]
    assert told[0]["data"]


# ---- an application's own end-to-end test


def test_an_application_waits_for_its_mail_and_follows_the_link(send: Send, client: httpx.Client) -> None:
    user = f"ann-{next(_serial)}@example.org"
    link = "https://shop.example/confirm?token=f00"
    waiting = {"recipient": user, "subject": "confirm", "timeout": 30}

    send("unused", to=user, subject="Please confirm", html=f'<p><a href="{link}">Confirm</a></p>')
    message = client.get("/v1/inbox/wait", params=waiting).raise_for_status().json()
    client.delete(f"/v1/inbox/{message['key']}").raise_for_status()
    left = client.get("/v1/inbox", params={"recipient": user}).json()["messages"]

    assert message["links"][0] == {"url": link, "text": "Confirm"}
    assert [verdict["result"] for verdict in message["dkim"]] == ["pass", "pass"]
    assert left == []


def test_a_test_fails_with_the_reason_where_no_mail_comes(client: httpx.Client) -> None:
    answer = client.get("/v1/inbox/wait", params={"recipient": "nobody@example.org", "timeout": 1})

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/nothing-came")


def test_who_waits_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with installed(tmp_path / "data", SETTINGS, http_port=0) as instance:
        assert instance.ready is not None
        program = (
            "import httpx, sys; key = {'Authorization': f'Bearer {sys.argv[2]}'};"
            "print(httpx.get(sys.argv[1], headers=key, timeout=130, trust_env=False).status_code)"
        )
        url = f"{instance.ready.http_url}/v1/inbox/wait?timeout=120"
        with subprocess.Popen(
            [sys.executable, "-c", program, url, instance.ready.api_key], stdout=subprocess.PIPE, text=True
        ) as waiting:
            wait_for(
                "the request to be under way",
                lambda: _connections(instance) > 0,
                within_seconds=PATIENCE_SECONDS,
            )
            code = instance.stop()
            said, _ = waiting.communicate(timeout=30)

    assert code == 0
    assert said == "503\n"


def _connections(instance: Instance) -> int:
    """Established ones to the HTTP port."""
    assert instance.ready is not None
    port = int(instance.ready.http_url.rpartition(":")[2])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for f in lines if f[1].endswith(f":{port:04X}") and f[3] == "01")


# ---- the documents


BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["sandbox.md", "inbox.md"])
def test_the_examples_of_the_document_work(instance: Instance, name: str) -> None:
    assert instance.ready is not None
    url, key = instance.ready.http_url, instance.ready.api_key
    text = (ROOT / "docs" / name).read_text().replace("http://127.0.0.1:8025", url)
    programs = BLOCK.findall(text)
    done = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment({}) | {"MAILER_API_KEY": key},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        for program in programs
    ]

    assert programs
    assert [(d.returncode, d.stderr) for d in done] == [(0, "")] * len(programs)


def test_after_all_that_nothing_is_lost_or_doubled(instance: Instance) -> None:
    assert instance.verify()[0] == 0
