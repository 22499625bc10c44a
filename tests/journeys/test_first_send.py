"""What a newcomer does in the first minutes, with the real command: start, send, look, stop, start again."""

from __future__ import annotations

import mailbox
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.sink import Sink, running_sink

HELLO = {"to": "Ann <ann@example.net>", "subject": "Hello", "text": "It works.\n", "html": "<p>It works.</p>"}
PATIENCE_SECONDS = 20


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with installed(tmp_path / "data", {}, http_port=0) as running:
        yield running


def caught(instance: Instance) -> list[EmailMessage]:
    """What lies in the local inbox, parsed by the standard library."""
    box = mailbox.Maildir(instance.data / "inbox", create=False)
    parser = BytesParser(policy=policy.default)
    return [parser.parsebytes(box.get_bytes(key)) for key in box.iterkeys()]


def delivered(instance: Instance, message_id: str) -> dict[str, Any]:
    """The message, once its first recipient is delivered."""

    def look() -> dict[str, Any] | None:
        message = cast("dict[str, Any]", instance.get(f"/v1/messages/{message_id}"))
        return message if message["recipients"][0]["state"] == "delivered" else None

    return wait_for("the delivery", look, within_seconds=PATIENCE_SECONDS)


def numbered(instance: Instance, wanted: int) -> list[dict[str, Any]]:
    """The event log, once it is that long."""
    return wait_for(
        f"{wanted} events",
        lambda: log if len(log := instance.events()) >= wanted else None,
        within_seconds=PATIENCE_SECONDS,
    )


def test_a_message_is_accepted_signed_delivered_and_told_of(instance: Instance) -> None:
    assert instance.ready is not None
    answer = instance.send(**HELLO, **{"from": f"Shop <shop@{instance.ready.domain}>"})
    message = delivered(instance, answer.json()["id"])
    [copy] = caught(instance)
    log = numbered(instance, 2)

    assert answer.status_code == 202
    assert (copy["Subject"], copy["To"]) == ("Hello", "Ann <ann@example.net>")
    assert [p.get_content_type() for p in copy.iter_parts()] == ["text/plain", "text/html"]
    assert len(copy.get_all("DKIM-Signature", [])) == 2
    assert [e["type"] for e in log] == ["accepted", "delivered"]
    assert {e["message_id"] for e in log} == {answer.json()["id"]}
    assert [a["state"] for a in message["recipients"][0]["attempts"]] == ["settled"]


def test_the_line_for_curl_works(instance: Instance) -> None:
    assert instance.ready is not None
    body = f'{{"from":"a@{instance.ready.domain}","to":["b@example.net"],"subject":"Hi","text":"x"}}'
    done = subprocess.run(
        [
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{instance.ready.http_url}/v1/messages",
            "-H", f"Authorization: Bearer {instance.ready.api_key}",
            "-H", "Content-Type: application/json", "-d", body,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "202"


def test_a_second_start_finds_everything_as_it_was(instance: Instance) -> None:
    assert instance.ready is not None
    first = instance.ready
    answer = instance.send(**HELLO, **{"from": f"shop@{first.domain}"})
    delivered(instance, answer.json()["id"])
    log = numbered(instance, 2)
    before = instance.get(f"/v1/messages/{answer.json()['id']}")
    code = instance.stop()
    second = instance.start()

    assert code == 0
    assert (second.api_key, second.domain) == (first.api_key, first.domain)
    assert instance.get(f"/v1/messages/{answer.json()['id']}") == before
    assert instance.events() == log
    assert len(caught(instance)) == 1
    assert instance.verify()[0] == 0


def test_instances_run_side_by_side(instance: Instance, tmp_path: Path) -> None:
    with installed(tmp_path / "other", {}, http_port=0) as other:
        assert instance.ready is not None
        assert other.ready is not None
        mine = instance.send(**HELLO, **{"from": f"shop@{instance.ready.domain}"})
        delivered(instance, mine.json()["id"])

        assert instance.ready.http_url != other.ready.http_url
        assert caught(other) == []


def test_health_and_metrics_say_that_all_is_well(instance: Instance) -> None:
    assert instance.ready is not None
    answers = [
        httpx.get(f"{instance.ready.http_url}/{p}") for p in ("health/live", "health/ready", "metrics")
    ]

    assert [a.status_code for a in answers] == [200, 200, 200]
    assert "mailer_unaccounted_recipients 0.0" in answers[2].text


# ---- starts that fail --------------------------------------------------------------------------------------


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code not 0, and one line on stderr that says why."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def up(data: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return Instance(data, {}, 0).run("up", "--data-dir", str(data), "--json", *options, **settings)


def test_a_port_in_use_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = up(tmp_path / "data", "--http-port", str(port))

    assert_one_sentence(done, str(port), "in use")


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    done = up(in_the_way / "data", "--http-port", "0")

    assert_one_sentence(done, str(in_the_way))


def test_an_unknown_setting_is_said_in_one_sentence(tmp_path: Path) -> None:
    done = up(tmp_path / "data", "--http-port", "0", MAILER_CONECTIONS="5")

    assert_one_sentence(done, "MAILER_CONECTIONS")


def test_all_bad_settings_are_said_at_once(tmp_path: Path) -> None:
    done = up(tmp_path / "data", "--http-port", "0", MAILER_LEASE_SECONDS="soon", MAILER_MODE="wild")

    assert done.returncode != 0
    assert "MAILER_LEASE_SECONDS" in done.stderr
    assert "MAILER_MODE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_schema_is_said_in_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with installed(data, {}, http_port=0) as instance:
        instance.stop()
    with sqlite3.connect(data / "mailer.sqlite3") as database:
        database.execute("UPDATE alembic_version SET version_num = 'pre_9999_of_the_future'")
    database.close()
    done = up(data, "--http-port", "0")

    assert_one_sentence(done, "newer")


def test_a_second_up_on_the_same_folder_is_refused(instance: Instance) -> None:
    done = up(instance.data, "--http-port", "0")

    assert_one_sentence(done, "already")


# ---- Ctrl-C ------------------------------------------------------------------------------------------------


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    # By DATA there is a time before the dot; by BDAT it goes along with the envelope.
    with running_sink(tmp_path, offers_chunking=False) as running:
        yield running


def test_ctrl_c_awaits_sessions_after_the_dot_and_resets_those_before(sink: Sink, tmp_path: Path) -> None:
    settings = {
        "MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none",
        "MAILER_CONNECTIONS_PER_SITE": "2",
        "MAILER_RETRY_DELAYS": "1s",
    }
    with installed(tmp_path / "data", settings) as instance:
        ledger = Ledger(f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}")
        assert instance.ready is not None
        sender = f"shop@{instance.ready.domain}"
        people = [
            "slow30.a@example.net",
            "hangbefore.a@example.net",
            *(f"ok.{n}@example.net" for n in range(5)),
        ]
        ids = [
            instance.send(**{"from": sender}, to=[address], subject=f"bid={n}", text="x").json()["id"]
            for n, address in enumerate(people)
        ]
        wait_for(
            "a session after its dot and one before",
            lambda: (s := sink.status()).after_dot == 1 and s.busy == 2,
            within_seconds=PATIENCE_SECONDS,
        )
        code = instance.stop(signal.SIGINT)
        records = sink.records()
        left = ledger.leased()
        instance.start()
        wait_for("the rest", lambda: not ledger.waiting(), within_seconds=PATIENCE_SECONDS)
        people_after = [instance.get(f"/v1/messages/{i}")["recipients"][0] for i in ids]

        assert code == 0
        # The quick ones may have been sent before the two slow ones took both connections.
        taken = [d.recipient for d in records if not d.recipient.startswith("ok.")]
        assert taken == ["slow30.a@example.net"]
        assert left == 0
        assert {r["state"] for r in people_after} == {"delivered"}
        assert all(a["state"] != "in_doubt" for r in people_after for a in r["attempts"])
        assert sorted(d.recipient for d in sink.records()) == sorted(people)
