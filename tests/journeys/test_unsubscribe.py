"""Somebody leaves a stream: mail goes out with its signed links, and what readers do with them holds."""

from __future__ import annotations

import os
import re
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.compose.verifiers import dkimpy_verdicts
from tests.journeys.test_postfix import dkim_records
from tests.support.instance import ROOT, Instance, installed, wait_for

DOCUMENT = ROOT / "docs/unsubscribe.md"
PATIENCE_SECONDS = 40
SETTINGS = {
    "MAILER_SWEEP_SECONDS": "0.2",
    "MAILER_PUBLIC_URL": "https://links.acme.example/mail",
    "MAILER_INBOX_PORT": "0",
}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = dict(SETTINGS)
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        settings["MAILER_DATABASE_URL"] = server.new_database()
    with installed(tmp_path_factory.mktemp("unsubscribe") / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture
def stranger(instance: Instance) -> Iterator[httpx.Client]:
    """A mail reader's server: it has the link, and no key."""
    assert instance.ready is not None
    with httpx.Client(
        base_url=instance.ready.http_url, timeout=30, trust_env=False, follow_redirects=False
    ) as client:
        yield client


def raw_of(instance: Instance, message_id: str) -> bytes:
    """The message as the inbox took it from the relay."""
    assert instance.ready is not None

    def look() -> str | None:
        found = instance.get("/v1/inbox", message_id=message_id)["messages"]
        return found[0]["key"] if found else None

    key = wait_for("the message in the inbox", look, within_seconds=PATIENCE_SECONDS)
    answer = httpx.get(f"{instance.ready.inbox_url}/messages/{key}/raw", trust_env=False)
    raw = answer.raise_for_status().content
    return raw[raw.index(b"DKIM-Signature:") :]


def by_http(instance: Instance, to: str, **more: object) -> str:
    assert instance.ready is not None
    letter = {
        "from": f"news@{instance.ready.domain}", "to": to, "subject": "News", "stream": "broadcast",
        "text": "Leave: {{unsubscribe_url}}\n", **more,
    }  # fmt: skip
    answer = instance.send(**letter)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def by_smtp(instance: Instance, to: str) -> str:
    assert instance.ready is not None
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = f"news@{instance.ready.domain}", to, "News"
    letter["X-Mailer-Stream"] = "broadcast"
    letter.set_content("Leave: {{unsubscribe_url}}\nGr\u00fc\u00dfe\n")
    letter.add_alternative('<p><a href="{{ unsubscribe_url }}">leave</a> \u00fc</p>\n', subtype="html")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(instance.ready.smtp_host, instance.ready.smtp_port, timeout=30) as client:
        client.starttls(context=context)
        client.login("any", instance.ready.api_key)
        client.ehlo_or_helo_if_needed()
        client.mail("news@acme.example")
        client.rcpt(to)
        code, words = client.data(letter.as_bytes(policy=policy.SMTP))
    assert code == 250, words
    return words.decode().rpartition(" ")[2]


def events_of(instance: Instance, message_id: str) -> list[dict[str, Any]]:
    return list(instance.get(f"/v1/messages/{message_id}")["events"])


def told(instance: Instance, message_id: str) -> list[str]:
    return [e["data"]["reason"] for e in events_of(instance, message_id) if e["type"] == "unsubscribed"]


def path_of(raw: bytes) -> str:
    """Of the one HTTPS URI, behind the proxy that stands before the door."""
    [field] = message_from_bytes(raw, policy=policy.default).get_all("List-Unsubscribe")
    [url] = re.findall(r"<(https:[^>]+)>", field)
    assert url.startswith("https://links.acme.example/mail/u/")
    return urlsplit(url).path.removeprefix("/mail")


@pytest.mark.parametrize("send", [by_http, by_smtp])
def test_a_one_click_from_the_mail_itself_is_told_with_its_message(
    instance: Instance, stranger: httpx.Client, send: Any
) -> None:
    """As Gmail does it: DKIM over both fields, one HTTPS URI, a POST without cookies (RFC 8058 §3, §4)."""
    message_id = send(instance, f"{send.__name__}@example.org")
    raw = raw_of(instance, message_id)
    read = message_from_bytes(raw, policy=policy.default)
    path = path_of(raw)

    prefetched = [stranger.request(method, path) for method in ("GET", "HEAD")]
    before = told(instance, message_id)
    clicks = [
        stranger.post(path, data=ONE_CLICK),
        stranger.post(path, files={"List-Unsubscribe": (None, "One-Click")}),
    ]

    signature = re.sub(r"\s", "", read.get_all("DKIM-Signature")[0])
    covered = signature.partition(";h=")[2].partition(";")[0].split(":")
    assert dkimpy_verdicts(raw, dkim_records(instance)) == [True, True]
    assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(covered)
    assert read.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
    for part in read.walk():
        if not part.is_multipart():
            assert f"https://links.acme.example/mail{path}" in part.get_content()
    assert [a.status_code for a in prefetched] == [200, 200]
    assert before == []
    assert [(a.status_code, a.has_redirect_location, dict(a.cookies)) for a in clicks] == [
        (200, False, {})
    ] * 2
    assert told(instance, message_id) == ["one_click"]


def test_whoever_left_gets_nothing_more_of_the_stream_and_all_of_others(
    instance: Instance, stranger: httpx.Client
) -> None:
    """Also not what was accepted before and waits for its time."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = by_http(instance, "Tim@example.org")
    waiting = by_http(instance, "tim@example.org", send_at=later)
    stranger.post(path_of(raw_of(instance, first)), data=ONE_CLICK).raise_for_status()
    again = by_http(instance, "tim@example.org")
    other = by_http(instance, "tim@example.org", stream="transactional", text="hi")
    somebody = by_http(instance, "tom@example.org")

    def states() -> dict[str, str] | None:
        found = {
            name: instance.get(f"/v1/messages/{message_id}")["recipients"][0]["state"]
            for name, message_id in {
                "waiting": waiting, "again": again, "other": other, "somebody": somebody
            }.items()
        }  # fmt: skip
        return found if set(found.values()) <= {"suppressed", "delivered"} else None

    assert wait_for("all to end", states, within_seconds=60) == {
        "waiting": "suppressed", "again": "suppressed", "other": "delivered", "somebody": "delivered",
    }  # fmt: skip
    assert [e["type"] for e in events_of(instance, again)] == ["accepted", "suppressed"]


def test_a_person_is_asked_in_their_language_and_leaves_by_the_button(
    instance: Instance, stranger: httpx.Client
) -> None:
    message_id = by_http(instance, "bob@example.org")
    path = path_of(raw_of(instance, message_id))
    browser = {"Accept": "text/html", "Accept-Language": "de"}

    page = stranger.get(path, headers=browser)
    form = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]+)"', page.text))
    done = stranger.post(path, data=form, headers=browser)

    assert '<html lang="de">' in page.text
    assert (done.status_code, told(instance, message_id)) == (200, ["page"])


def test_the_inbox_of_a_sandbox_leads_to_the_page_by_its_own_door(
    instance: Instance, stranger: httpx.Client
) -> None:
    message_id = by_http(instance, "sue@example.org")
    path = path_of(raw_of(instance, message_id))
    [kept] = instance.get("/v1/inbox", message_id=message_id)["messages"]

    page = stranger.get(f"/inbox/view/{kept['key']}")

    assert f'<a href="{path}" rel="noreferrer">the page that asks</a>, and one click' in page.text
    assert stranger.get(path).status_code == 200
    assert told(instance, message_id) == []


def test_the_example_of_the_document_works(instance: Instance) -> None:
    assert instance.ready is not None
    [example] = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    here = example.replace("http://127.0.0.1:8025", instance.ready.http_url)

    done = subprocess.run(
        [sys.executable, "-c", here], env={**os.environ, "MAILER_API_KEY": instance.ready.api_key},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("2\n", "")


def test_a_mail_to_the_address_unsubscribes_and_a_changed_one_does_not(instance: Instance) -> None:
    message_id = by_http(instance, "eve@example.org")
    read = message_from_bytes(raw_of(instance, message_id), policy=policy.default)
    assert read["List-Unsubscribe"].count("<https:") == 1
    [address] = re.findall(r"<mailto:([^?]+)\?subject=unsubscribe%20[a-z2-7]+>", read["List-Unsubscribe"])
    local, _, domain = address.partition("@")
    port = int(
        re.findall(r"\d+", (instance.data / "run" / "inbox.json").read_text().partition('"port"')[2])[0]
    )

    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        for to in (f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}", f"{local}@other.example"):
            client.sendmail("eve@example.org", [to], b"Subject: unsubscribe\r\n\r\n")
        before = told(instance, message_id)
        client.sendmail("eve@example.org", [f"{local.upper()}@{domain}"], b"Subject: unsubscribe\r\n\r\n")

    after = wait_for("the event", lambda: told(instance, message_id), within_seconds=PATIENCE_SECONDS)
    assert before == []
    assert after == ["unsubscribe_mail"]


def test_transactional_mail_has_no_such_fields_unless_it_asks(instance: Instance) -> None:
    plain = by_http(instance, "joe@example.org", stream="transactional", text="hi")
    asked = by_http(instance, "joe@example.org", stream="transactional", text="hi", unsubscribe=True)
    own = by_http(
        instance, "joe@example.org", headers={"List-Unsubscribe": "<mailto:leave@acme.example>"}, text="hi"
    )

    counts = [
        (raw.count(b"\r\nList-Unsubscribe:"), raw.count(b"\r\nList-Unsubscribe-Post:"))
        for raw in (raw_of(instance, message_id) for message_id in (plain, asked, own))
    ]
    assert counts == [(0, 0), (1, 1), (1, 0)]
