"""A submitter by SMTP hears of what failed: the real command, a peer that refuses, a DSN in the inbox."""

from __future__ import annotations

import asyncio
import json
import mailbox
import re
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest

from tests.compose.verifiers import dkimpy_verdicts
from tests.support.instance import ROOT, Instance, environment, installed, wait_for
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.sink import running_sink

# What the product promises with these settings: the last failure is known after 4 s, others of its message
# are waited for up to 10 s, DSNs are made once a second, and an inbox that broke ten times as it was killed
# is asked again after 10 s. That is 25 s; the rest is for a machine that is busy with other things.
PATIENCE_SECONDS = 40
SENDER = "shop@sandbox.mailer.test"
HASTE = {"MAILER_RETRY_DELAYS": "1s", "MAILER_GIVE_UP_AFTER": "4s", "MAILER_DELAY_NOTICE_AFTER": "1s"}


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    """What is for example.net goes to a peer that does as its addresses say, everything else to the inbox."""
    with running_sink(tmp_path) as sink:
        settings = HASTE | {"MAILER_ROUTES": f"example.net=127.0.0.1:{sink.port};tls=none"}
        if request.param == "postgres":
            settings |= {"MAILER_DATABASE_URL": str(request.getfixturevalue("postgres_url"))}
        with installed(tmp_path / "data", settings, http_port=0) as running:
            yield running


Named = Sequence[tuple[str, Sequence[str]]]


def submit(instance: Instance, named: Named, *, sender: str = SENDER, options: Sequence[str] = ()) -> str:
    """The id of the message, sent by the standard library's client."""
    ready = instance.ready
    assert ready is not None
    letter = EmailMessage(policy=policy.SMTP)
    letter["From"], letter["To"], letter["Subject"] = SENDER, "customers:;", "Your order"
    letter.set_content("Thank you.\n")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # of the instance's own making
    with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=10) as client:
        client.starttls(context=context)
        client.login("any", ready.api_key)
        client.mail(sender, list(options))
        assert [client.rcpt(address, list(asked))[0] for address, asked in named] == [250] * len(named)
        code, words = client.data(letter.as_bytes())
    assert code == 250
    return words.split()[-1].decode()


def reports(instance: Instance, wanted: int) -> list[tuple[bytes, EmailMessage]]:
    """The DSNs in the inbox, once there are so many, the failures last."""
    parsed: dict[str, tuple[bytes, EmailMessage]] = {}  # each once: the processor is the product's

    def look() -> list[tuple[bytes, EmailMessage]] | None:
        box = mailbox.Maildir(instance.data / "inbox", create=False)
        for key in set(box.keys()) - parsed.keys():
            raw = box.get_bytes(key)
            parsed[key] = raw, message_from_bytes(raw, policy=policy.default)
        found = [(raw, m) for raw, m in parsed.values() if m.get_content_type() == "multipart/report"]
        return sorted(found, key=lambda pair: str(pair[1]["Subject"])) if len(found) >= wanted else None

    return wait_for(f"{wanted} reports", look, within_seconds=PATIENCE_SECONDS)


def groups(report: Message) -> list[dict[str, str]]:
    [machine] = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    payload: Any = machine.get_payload()
    return [{name: str(value) for name, value in group.items()} for group in payload if group.items()]


def records(instance: Instance) -> dict[str, str]:
    told = instance.run("domain", "records", "operator.mailer.test", "--mx", "x.example", "--json")
    return {record["name"].rstrip("."): record["value"] for record in json.loads(told.stdout)}


def recipients(instance: Instance, message_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = instance.get(f"/v1/messages/{message_id}")["recipients"]
    return found


def test_a_refused_message_comes_back_signed_and_tells_of_each_recipient_once(instance: Instance) -> None:
    named = [
        ("refuse.ann@example.net", ["ORCPT=rfc822;ann@example.com"]),
        ("refuse.bob@example.net", ["NOTIFY=NEVER"]),
        ("refuse.cid@example.net", ["NOTIFY=FAILURE"]),
        ("ok.dan@example.net", []),
    ]
    message_id = submit(instance, named, options=["RET=FULL", "ENVID=order-4711"])
    [(raw, report)] = reports(instance, 1)

    [of_message, *of_people] = groups(report)
    told = {group["Final-Recipient"]: group for group in of_people}
    assert set(told) == {"rfc822; refuse.ann@example.net", "rfc822; refuse.cid@example.net"}
    assert of_message["Original-Envelope-Id"] == "order-4711"
    assert {(g["Action"], g["Status"]) for g in of_people} == {("failed", "5.1.1")}
    assert told["rfc822; refuse.ann@example.net"]["Original-Recipient"] == "rfc822; ann@example.com"
    assert told["rfc822; refuse.cid@example.net"]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such mailbox"
    assert (report["To"], report["Return-Path"], report["Auto-Submitted"]) == (SENDER, "<>", "auto-replied")
    assert b"Thank you." in raw
    assert dkimpy_verdicts(raw, records(instance)) == [True, True]
    kinds = {r["address"]: [n["kind"] for n in r["notices"]] for r in recipients(instance, message_id)}
    assert kinds == {
        "refuse.ann@example.net": ["failed"], "refuse.bob@example.net": [],
        "refuse.cid@example.net": ["failed"], "ok.dan@example.net": [],
    }  # fmt: skip
    assert "DSN failed: sent" in instance.run("explain", message_id).stdout
    assert instance.verify()[0] == 0


def test_a_delay_and_the_end_of_it_are_told_where_they_are_asked_for(instance: Instance) -> None:
    submit(instance, [("defer99.ann@example.net", ["NOTIFY=DELAY,FAILURE"])])
    (_, delayed), (_, failed) = reports(instance, 2)

    assert [groups(report)[1]["Action"] for report in (delayed, failed)] == ["delayed", "failed"]
    assert groups(delayed)[1]["Status"] == "4.7.1"
    assert "Will-Retry-Until" in groups(delayed)[1]
    assert groups(failed)[1]["Status"] == "4.4.7"
    assert groups(failed)[1]["Diagnostic-Code"] == "smtp; 451 4.7.1 come back later"
    assert instance.verify()[0] == 0


def test_success_is_told_as_relayed_and_a_null_reverse_path_not_at_all(instance: Instance) -> None:
    submit(instance, [("refuse.x@example.net", ["NOTIFY=SUCCESS,FAILURE"])], sender="")
    submit(instance, [("ok.ann@example.net", ["NOTIFY=SUCCESS"])])
    [(_, report)] = reports(instance, 1)

    assert groups(report)[1]["Action"] == "relayed"
    assert instance.run("verify").returncode == 0


def test_what_was_owed_when_all_was_killed_is_told_once_after_the_next_start(instance: Instance) -> None:
    ids = [submit(instance, [(f"refuse.{n}@example.net", [])]) for n in range(10)]
    wait_for(
        "a failure",
        lambda: any(r["state"] == "bounced" for i in ids for r in recipients(instance, i)),
        within_seconds=PATIENCE_SECONDS,
    )
    instance.kill()
    instance.start()

    found = reports(instance, len(ids))

    told = [groups(report)[1]["Final-Recipient"] for _, report in found]
    assert sorted(told) == [f"rfc822; refuse.{n}@example.net" for n in range(10)]
    assert instance.verify()[0] == 0


def test_the_examples_of_the_documentation_work(instance: Instance) -> None:
    ready = instance.ready
    assert ready is not None
    document = (ROOT / "docs" / "notices.md").read_text()
    [program] = re.findall(r"^```python\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^    mailer (.+)$", document, re.MULTILINE)
    environ = environment({"MAILER_API_KEY": ready.api_key})

    done = subprocess.run(
        [sys.executable, "-c", program.replace("2587", str(ready.smtp_port))], env=environ, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    told = [instance.run(*command.split()) for command in commands]

    assert (done.returncode, done.stderr) == (0, "")
    assert [c.returncode for c in told] == [0] * len(commands)
    assert len(commands) == 2
    [(_, report)] = reports(instance, 1)
    assert groups(report)[1]["Action"] == "relayed"
    assert groups(report)[0]["Original-Envelope-Id"] == "order-1042"


async def test_a_smart_host_that_offers_dsn_is_told_what_was_asked_and_answers_for_it(tmp_path: Path) -> None:
    asked = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Ann+2BSales@example.com"]

    def go(port: int) -> tuple[list[dict[str, Any]], int]:
        settings = {"MAILER_ROUTES": f"example.net=127.0.0.1:{port};tls=none"}
        with installed(tmp_path / "data", settings, http_port=0) as running:
            message_id = submit(running, [("ann@example.net", asked)], options=["RET=HDRS", "ENVID=a+2Bb"])
            wait_for(
                "the delivery",
                lambda: recipients(running, message_id)[0]["state"] == "delivered",
                within_seconds=PATIENCE_SECONDS,
            )
            return recipients(running, message_id), running.verify()[0]

    async with ScriptedPeer(extensions=["mx.example.net", "PIPELINING", "DSN"]) as peer:
        [ann], verdict = await asyncio.to_thread(go, peer.port)

    [mail, rcpt] = [line for line in peer.conversations[0].heard if line[:4] in ("MAIL", "RCPT")]
    assert mail.endswith("@bounce.sandbox.mailer.test> RET=HDRS ENVID=a+2Bb")
    assert rcpt == ("RCPT TO:<ann@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ann+2BSales@example.com")
    assert ann["notices"] == []
    assert verdict == 0
