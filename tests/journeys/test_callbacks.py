"""Events told to a receiver that fails, hangs, redirects and is away, by callers that are killed.

None is missing: the receiver keeps its own record of what it took, and at the end that is held against the
event log, number by number, as a consumer would.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.receiver import OK, Answer, Call, Receiver, receiving
from tests.support.servers import Postgres

PATIENCE_SECONDS = 60.0
SETTINGS = {
    # Quick, and more of them than faults that one callback can meet here.
    "MAILER_CALLBACK_DELAYS": "100ms,200ms,300ms,500ms,500ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s",
    "MAILER_CALLBACK_TIMEOUT_SECONDS": "0.5",
    "MAILER_LEASE_SECONDS": "5",
    "MAILER_SWEEP_SECONDS": "0.5",
}


@pytest.fixture(params=["sqlite", "durable_postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """On each engine."""
    if request.param == "sqlite":
        return SETTINGS | {"MAILER_DATABASE_URL": f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}"}
    server: Postgres = request.getfixturevalue("durable_postgres")
    return SETTINGS | {"MAILER_DATABASE_URL": server.new_database()}


@pytest.fixture
def instance(settings: Mapping[str, str], tmp_path: Path) -> Iterator[Instance]:
    with installed(tmp_path / "data", settings) as running:
        yield running


def ledger_of(instance: Instance) -> Ledger:
    return Ledger(instance.settings["MAILER_DATABASE_URL"])


def endpoint_of(instance: Instance, url: str) -> dict[str, Any]:
    """Made as its tenant makes it."""
    assert instance.ready is not None
    answer = httpx.post(
        f"{instance.ready.http_url}/v1/webhook-endpoints",
        headers={"Authorization": f"Bearer {instance.ready.api_key}"},
        json={"url": url},
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def send(instance: Instance, messages: int) -> None:
    """Each is accepted once: a 503, as after a restart of the database, is asked again under the same key."""
    assert instance.ready is not None
    sender = f"shop@{instance.ready.domain}"
    keyed = {"Authorization": f"Bearer {instance.ready.api_key}"}
    url = f"{instance.ready.http_url}/v1/messages"
    for n in range(messages):
        body = {"from": sender, "to": f"user{n}@example.net", "subject": f"order {n}", "text": "x"}
        headers = keyed | {"Idempotency-Key": secrets.token_hex(8)}
        post = partial(httpx.post, url, headers=headers, json=body, trust_env=False)
        wait_for("a 202", lambda post=post: post().status_code == 202, within_seconds=PATIENCE_SECONDS)


def await_told(instance: Instance, events: int) -> None:
    """So many events are numbered, and every callback is delivered."""
    ledger = ledger_of(instance)
    wait_for(
        f"{events} delivered callbacks",
        lambda: ledger.count("state = 'delivered'", "webhook_callback") >= events,
        within_seconds=PATIENCE_SECONDS,
    )
    assert ledger.count("state <> 'delivered'", "webhook_callback") == 0


class Moody:
    """Every event meets a fault of its kind first, and is taken at a later call.

    taken  of every call that was answered with 204, in order
    """

    def __init__(self, released: threading.Event) -> None:
        self.taken: list[Call] = []
        self._faults = [
            Answer(status=500),
            Answer(drops=True),
            Answer(status=307, headers={"Location": "http://127.0.0.1:9/"}),
            Answer(after=released),
            Answer(status=429, headers={"Retry-After": "1"}),
            OK,
        ]
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Answer:
        with self._lock:
            self._seen[call.id] += 1
            fault = self._faults[call.payload["data"]["number"] % len(self._faults)]
            if self._seen[call.id] == 1 and fault is not OK:
                return fault
            self.taken.append(call)
            return OK


def assert_complete(instance: Instance, taken: list[Call], secret: str) -> None:
    """What a consumer can prove: every number is there, one event each, as the log has it, signed by us."""
    log = {event["number"]: event for event in instance.events()}
    told = {call.payload["data"]["number"]: call.payload["data"] for call in taken}
    assert sorted(told) == list(range(1, len(log) + 1))
    assert told == log
    assert len({(call.id, call.payload["data"]["number"]) for call in taken}) == len(log)
    for call in taken:
        assert Webhook(secret).verify(call.body.decode(), dict(call.headers)) == call.payload
    code, findings = instance.verify()
    assert code == 0, findings


@pytest.mark.timeout(300)
def test_whatever_the_receiver_and_the_processes_do_no_event_is_missing(
    instance: Instance, request: pytest.FixtureRequest
) -> None:
    released = threading.Event()
    moody = Moody(released)
    with receiving(moody) as receiver:
        endpoint = endpoint_of(instance, receiver.url)
        send(instance, 20)
        wait_for("some to be taken", lambda: len(moody.taken) > 5, within_seconds=PATIENCE_SECONDS)
        for role in ("caller", "sweeper"):
            pid = instance.pid(role)
            os.kill(pid, signal.SIGKILL)
            instance.wait_for_successor(role, pid)
        receiver.stop()
        send(instance, 20)
        if "postgresql" in instance.settings["MAILER_DATABASE_URL"]:
            server: Postgres = request.getfixturevalue("durable_postgres")
            server.kill()
            server.start()
        receiver.start()
        send(instance, 10)
        instance.stop()
        instance.start()
        send(instance, 10)
        await_told(instance, 120)
        released.set()

        assert_complete(instance, moody.taken, endpoint["secret"])


@pytest.mark.timeout(120)
def test_a_caller_killed_after_it_was_answered_tells_again_under_the_same_id(instance: Instance) -> None:
    released = threading.Event()
    with receiving(lambda call: Answer(after=released)) as receiver:
        endpoint_of(instance, receiver.url)
        send(instance, 1)
        wait_for("the first call", lambda: receiver.calls, within_seconds=PATIENCE_SECONDS)
        pid = instance.pid("caller")
        os.kill(pid, signal.SIGSTOP)
        first = list(receiver.calls)
        released.set()  # the answer is on its way, and nobody is there to settle it
        os.kill(pid, signal.SIGKILL)
        await_told(instance, 2)

    again = receiver.calls[len(first) :]
    assert {call.id for call in first} <= {call.id for call in again}
    assert len({call.id for call in receiver.calls}) == 2
    assert {call.body for call in first} <= {call.body for call in again}
    assert instance.verify()[0] == 0


def test_a_receiver_that_was_away_for_a_while_catches_up(instance: Instance) -> None:
    taken: list[Call] = []

    def take(call: Call) -> Answer:
        taken.append(call)
        return OK

    receiver = Receiver(take)
    receiver.stop()
    endpoint = endpoint_of(instance, receiver.url)
    send(instance, 5)
    ledger = ledger_of(instance)
    wait_for(
        "calls that nobody took", lambda: ledger.count("status IS NULL", "webhook_attempt") > 3,
        within_seconds=PATIENCE_SECONDS,
    )  # fmt: skip
    receiver.start()
    await_told(instance, 10)
    receiver.stop()

    page = instance.get(f"/v1/webhook-endpoints/{endpoint['id']}/attempts", limit=1000)
    assert {a["cause"] for a in page["attempts"]} == {None, "nobody took the connection"}
    assert_complete(instance, taken, endpoint["secret"])
