"""Mail goes out, and what comes back finds its way: bounces, complaints and forgeries over real SMTP, on both
engines, with the host that takes them killed at random."""

from __future__ import annotations

import itertools
import os
import signal
import smtplib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailer import clock, ids
from mailer.compose.verp import constant_keys
from mailer.identity.vault import Vault
from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.receiver import Receiver, receiving
from tests.support.returning import arf, dsn
from tests.support.servers import Postgres
from tests.support.sink import Sink, running_sink

pytestmark = pytest.mark.journey

SETTINGS = {"MAILER_LEASE_SECONDS": "5", "MAILER_SWEEP_SECONDS": "0.5", "MAILER_RETURNS_PER_MINUTE": "100000"}


@pytest.fixture(params=["sqlite", "durable_postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}"
    else:
        server: Postgres = request.getfixturevalue("durable_postgres")
        url = server.new_database()
    with installed(tmp_path / "data", SETTINGS | {"MAILER_DATABASE_URL": url}) as running:
        yield running


@dataclass(frozen=True)
class Out:
    """A message that its recipient's host took. path: the reverse-path as it stands there."""

    message_id: str
    recipient: str
    path: str
    rfc_message_id: str

    @property
    def token(self) -> str:
        return self.path.partition("@")[0]


def send(instance: Instance, *recipients: str) -> list[Out]:
    """One message to each, as they lie in the inbox."""
    assert instance.ready is not None
    made = []
    for to in recipients:
        answer = instance.send(
            **{"from": f"shop@{instance.ready.domain}", "to": [to], "subject": "order", "text": "hi"}
        )
        assert answer.status_code == 202, answer.text
        made.append((answer.json()["id"], to))
    return [_arrived(instance, message_id, to) for message_id, to in made]


def _arrived(instance: Instance, message_id: str, to: str) -> Out:
    caught = instance.get("/v1/inbox/wait", recipient=to, timeout=30)
    wait_for(
        "the state to be settled",
        lambda: instance.get(f"/v1/messages/{message_id}")["recipients"][0]["state"] == "delivered",
        within_seconds=20,
    )
    assert instance._http is not None
    raw = instance._http.get(f"/v1/inbox/{caught['key']}/raw").text
    field = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in raw.splitlines()}
    assert field["x-mailer-ref"] == field["return-path"].strip("<>").partition("@")[0]
    return Out(message_id, to, field["return-path"].strip("<>"), field["message-id"])


def come_back(instance: Instance, content: bytes, *to: str, sender: str = "") -> None:
    assert instance.ready is not None
    with smtplib.SMTP("127.0.0.1", instance.ready.returns_port, timeout=20) as client:
        client.starttls()
        client.sendmail(sender, list(to), content)


def events_of(instance: Instance, message_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = instance.get(f"/v1/messages/{message_id}")["events"]
    return [event for event in events if event["type"] not in ("accepted", "delivered")]


def await_event(instance: Instance, message_id: str, kind: str) -> dict[str, Any]:
    return wait_for(
        f"{kind}",
        lambda: next((e for e in events_of(instance, message_id) if e["type"] == kind), None),
        within_seconds=60,
    )


def await_read(ledger: Ledger) -> None:
    def is_read() -> bool:
        return ledger.count("state <> 'read'", "returned_mail") == 0

    wait_for("all to be read", is_read, within_seconds=30)


def reports_domain(out: Out) -> str:
    return out.path.rpartition("@")[2]


def test_a_bounce_and_a_complaint_are_told_by_event_and_webhook(instance: Instance) -> None:
    assert instance.ready is not None
    with receiving() as receiver:
        hook = httpx.post(
            f"{instance.ready.http_url}/v1/webhook-endpoints",
            headers={"Authorization": f"Bearer {instance.ready.api_key}"},
            json={"url": receiver.url + "/hook", "event_types": ["bounced", "complained"]},
            trust_env=False,
        )
        assert hook.status_code == 201, hook.text
        bounced, spam = send(instance, "ann@example.org", "ben@example.org")

        come_back(instance, dsn("ann@example.org"), bounced.path)
        report = arf(original=f"X-Mailer-Ref: {spam.token}\n")
        come_back(instance, report, f"complaints@{reports_domain(spam)}", sender="fbl@provider.example")

        told = await_event(instance, bounced.message_id, "bounced")
        assert (told["data"]["class"], told["data"]["blame"]) == ("invalid-mailbox", "recipient")
        await_event(instance, spam.message_id, "complained")
        wait_for("both calls", lambda: len(calls(receiver)) == 2, within_seconds=60)
        assert sorted(calls(receiver)) == ["bounced", "complained"]

    raw = instance.run("returned", "raw", told["data"]["returned_id"])
    assert "550 5.1.1 user unknown" in raw.stdout
    listed = instance.get("/v1/returned")["returned"]
    assert {one["bounce_class"] for one in listed} == {"invalid-mailbox", "complaint"}
    code, found = instance.verify()
    assert code == 0, found


def calls(receiver: Receiver) -> list[str]:
    return [call.payload["type"] for call in receiver.calls]


def test_a_recipient_cannot_speak_for_another(instance: Instance) -> None:
    """B got mail of the same sender as A, and knows the true Message-ID of A's."""
    a, b = send(instance, "anna@example.org", "bert@example.org")
    known = f"Message-ID: {a.rfc_message_id}\n"
    forgeries: Mapping[str, bytes] = {
        b.path: dsn(a.recipient, original=known),
        f"complaints@{reports_domain(b)}": arf(to=a.recipient, original=known),
        "postmaster": dsn(a.recipient, original=known),
    }
    for to, content in forgeries.items():
        come_back(instance, content, to, sender="bert@example.org")
    come_back(instance, arf(to=a.recipient, original=known), b.path)
    for guess in (b.token[:13] + a.token[13:], a.token[:13] + b.token[13:]):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            come_back(instance, dsn(a.recipient), f"{guess}@{reports_domain(a)}")
        assert set(refused.value.recipients.values()).pop()[0] == 550

    await_event(instance, b.message_id, "complained")
    ledger = Ledger(instance.settings["MAILER_DATABASE_URL"])
    wait_for(
        "all to be read", lambda: ledger.count("state <> 'read'", "returned_mail") == 0, within_seconds=30
    )
    assert events_of(instance, a.message_id) == []
    # Its own it may: B's mail did come back, to another address than B's, as B says.
    assert [e["type"] for e in events_of(instance, b.message_id)] == ["bounced", "complained"]
    unverified = instance.get("/v1/returned", verified="false")["returned"]
    assert {one["message_id"] for one in unverified} == {a.message_id}


def test_killed_between_the_answer_and_the_reading_it_loses_nothing(instance: Instance) -> None:
    assert instance.ready is not None
    out = send(instance, *[f"user{n}@example.org" for n in range(24)])
    for part in (out[:12], out[12:]):
        role = instance.pid("inbox")
        port = port_of(instance)
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            for one in part:
                client.sendmail("", [one.path], dsn(one.recipient))
            os.kill(role, signal.SIGKILL)
            client.close()
        instance.wait_for_successor("inbox", role)
    # What came once more, since its sender heard nothing, is told once.
    with smtplib.SMTP("127.0.0.1", port_of(instance), timeout=20) as client:
        client.sendmail("", [out[0].path], dsn(out[0].recipient))

    for one in out:
        await_event(instance, one.message_id, "bounced")
    ledger = Ledger(instance.settings["MAILER_DATABASE_URL"])
    wait_for(
        "all to be read", lambda: ledger.count("state <> 'read'", "returned_mail") == 0, within_seconds=30
    )
    assert ledger.count("1 = 1", "returned_mail") == 25

    def told() -> int:
        return sum(event["type"] == "bounced" for event in instance.events())

    # The log is numbered a moment after its events are written.
    wait_for("the log to tell of all", lambda: told() >= 24, within_seconds=30)
    assert told() == 24
    code, found = instance.verify()
    assert code == 0, found


def port_of(instance: Instance) -> int:
    import json

    return int(json.loads((instance.data / "run" / "inbox.json").read_text())["returns_port"])


def test_it_relays_nothing_under_any_sequence(instance: Instance) -> None:
    [out] = send(instance, "carl@example.org")
    ledger = Ledger(instance.settings["MAILER_DATABASE_URL"])
    before = ledger.count("1 = 1")
    for recipient in ("dora@example.org", f"dora%example.org@{reports_domain(out)}", "dora@[127.0.0.1]"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            come_back(instance, b"Subject: x\r\n\r\nx\r\n", recipient, sender=out.path)
    come_back(instance, b"Subject: x\r\n\r\nx\r\n", out.path, "postmaster", sender="dora@example.org")

    wait_for(
        "both to be read", lambda: ledger.count("state = 'read'", "returned_mail") == 2, within_seconds=30
    )
    assert ledger.count("1 = 1") == before


SECRET = b"w" * 32


@pytest.fixture(params=["sqlite", "durable_postgres"])
def beside_a_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Instance, Sink]]:
    """An instance that sends mail for later.test to a host of its own."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}"
    else:
        server: Postgres = request.getfixturevalue("durable_postgres")
        url = server.new_database()
    with running_sink(tmp_path) as sink:
        routes = {"MAILER_ROUTES": f"later.test=127.0.0.1:{sink.port};tls=none"}
        own = {"MAILER_SECRET": SECRET.hex(), "MAILER_RETRY_DELAYS": "1h", "MAILER_DATABASE_URL": url}
        with installed(tmp_path / "data", SETTINGS | routes | own) as running:
            yield running, sink


def state_of(instance: Instance, message_id: str) -> str:
    return str(instance.get(f"/v1/messages/{message_id}")["recipients"][0]["state"])


def test_a_complaint_stops_what_waits_for_a_time_for_a_retry_and_on_hold(
    beside_a_sink: tuple[Instance, Sink],
) -> None:
    instance, sink = beside_a_sink
    assert instance.ready is not None
    letter = {"from": f"shop@{instance.ready.domain}", "text": "hi", "to": ["ok.ann@later.test"]}
    numbers = itertools.count()

    def accept(**more: object) -> str:
        answer = instance.send(**letter, subject=f"news {next(numbers)}", **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    first = accept()
    wait_for("the first to arrive", lambda: state_of(instance, first) == "delivered", within_seconds=60)
    recipient = instance.get(f"/v1/messages/{first}")["recipients"][0]["id"]
    token = constant_keys(Vault(SECRET).derive("verp")).make(ids.parse("rcpt", recipient))
    later = accept(send_at=in_two_days())
    sink.close()  # and nobody listens there any more
    deferred = accept()
    wait_for("a deferral", lambda: state_of(instance, deferred) == "deferred", within_seconds=30)
    held = accept()
    done = instance.run("hold", "--message", held, "--reason", "a look at it")
    assert done.returncode == 0, done.stderr
    wait_for("the hold", lambda: "a look at it" in instance.run("explain", held).stdout, within_seconds=30)
    assert [state_of(instance, one) for one in (later, deferred)] == ["deferred", "deferred"]

    domain = f"bounce.{instance.ready.domain}"
    come_back(instance, arf(original=f"X-Mailer-Ref: {token}\n"), f"complaints@{domain}")

    for waiting in (later, deferred, held):
        wait_for(
            "it to be stopped", lambda one=waiting: state_of(instance, one) == "suppressed", within_seconds=60
        )
    assert [e["type"] for e in instance.get(f"/v1/messages/{held}")["events"]][-1] == "suppressed"
    [entry] = instance.get("/v1/suppressions")["suppressions"]
    assert (entry["reason"], entry["cause"], entry["target"]) == ("complaint", "report", "ok.ann@later.test")
    assert state_of(instance, accept()) == "suppressed"
    code, found = instance.verify()
    assert code == 0, found


def in_two_days() -> str:
    return (clock.now() + timedelta(days=2)).isoformat()
