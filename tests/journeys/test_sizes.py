"""Many recipients of one message, and many big messages at once: what is kept, and what it takes."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.big_mail import Plan, message, submit_all
from tests.support.instance import Instance, Ledger, Ready, installed, wait_for
from tests.support.sink import running_sink

PATIENCE_SECONDS = 120
MIB = 1024 * 1024
BUDGET_BYTES = 256 * MIB  # the default
BODY = b"Thank you very much.\r\n" * 20_000  # more than is kept in a row on SQLite


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}"
    return str(request.getfixturevalue("postgres").new_database())


def by_smtp(instance: Instance, ready: Ready, people: list[str]) -> None:
    """One transaction."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = f"From: shop@{ready.domain}\r\nTo: everybody: ;\r\nSubject: bid=all\r\n\r\n".encode()
    with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=60) as client:
        client.starttls(context=context)
        client.login("any", ready.api_key)
        assert client.sendmail(f"shop@{ready.domain}", people, head + BODY) == {}


def by_http(instance: Instance, ready: Ready, people: list[str]) -> None:
    """One request."""
    answer = instance.send(
        **{"from": f"shop@{ready.domain}", "bcc": people, "subject": "bid=all", "text": BODY.decode()}
    )
    assert answer.status_code == 202, answer.text


DOORS: Mapping[str, Callable[[Instance, Ready, list[str]], None]] = {"smtp": by_smtp, "http": by_http}


@pytest.mark.parametrize("door", DOORS)
def test_a_thousand_recipients_of_one_message_share_one_body(
    tmp_path: Path, database: str, door: str
) -> None:
    people = [f"ok.{number:04}@example.net" for number in range(1000)]
    with running_sink(tmp_path) as sink:
        settings = {"MAILER_DATABASE_URL": database, "MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none"}
        with installed(tmp_path / "data", settings, http_port=0) as instance:
            assert instance.ready is not None
            ledger = Ledger(database)
            DOORS[door](instance, instance.ready, people)
            wait_for("all copies", lambda: not ledger.waiting(), within_seconds=PATIENCE_SECONDS)
            kept = [ledger.count("1 = 1", table) for table in ("message", "content", "recipient")]
            code, findings = instance.verify()
        taken = sink.records()

    files = bodies(tmp_path / "data")
    assert kept == [1, 1, 1000]
    assert files == ({hashlib.sha256(BODY).hexdigest()} if database.startswith("sqlite") else set())
    assert sorted(dot.recipient for dot in taken) == people
    assert code == 0, findings


@pytest.mark.timeout(900)
def test_a_hundred_big_messages_at_once_stay_within_the_byte_budget(tmp_path: Path) -> None:
    """A content is held once while it is read, with what a growing buffer has in reserve (an eighth), and up
    to twice more on each of the four threads that work on big ones: together less than twice the budget."""
    settings = {
        "MAILER_SMTP_AUTH_IN_CLEAR": "true",
        "MAILER_BYTE_BUDGET_MB": str(BUDGET_BYTES // MIB),
        # Nobody is there: what was accepted stays, and can be looked at.
        "MAILER_ROUTES": "*=127.0.0.1:1;tls=none",
        "MAILER_RETRY_DELAYS": "1h",
    }
    with installed(tmp_path / "data", settings, http_port=0) as instance:
        ready = instance.ready
        assert ready is not None
        plan = Plan(
            host=ready.smtp_host, port=ready.smtp_port, key=ready.api_key, sender=f"shop@{ready.domain}",
            sessions=100, octets=25_000_000,
        )  # fmt: skip
        pid, before = instance.pid("http"), resident(instance, "VmRSS")
        outcome = submit_all(plan, within_seconds=600)
        peak = resident(instance, "VmHWM")
        after = instance.pid("http")
        code, findings = instance.verify()
        ledger = Ledger(f"sqlite:///{tmp_path / 'data/mailer.sqlite3'}")
        kept = [ledger.count("1 = 1", table) for table in ("message", "content", "recipient")]

    print(f"{(peak - before) / MIB:.0f} MiB beyond {before / MIB:.0f}; put off: {outcome.put_off}")
    assert outcome.refused == []
    assert {words[:9] for words in outcome.put_off} == {"452 4.3.1"}
    assert after == pid
    assert peak - before < 2 * BUDGET_BYTES
    assert len(set(outcome.message_ids)) == 100
    assert kept == [100, 100, 100]
    assert bodies(tmp_path / "data") == {body_name(plan, number) for number in range(100)}
    assert code == 0, findings


def resident(instance: Instance, field: str) -> int:
    """Of the HTTP role, which has the SMTP door: octets."""
    status = Path(f"/proc/{instance.pid('http')}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def bodies(data: Path) -> set[str]:
    """Names of the kept bodies, which are their SHA-256; read again, since a name is easily written."""
    found = {path.name: path for path in data.rglob("*") if len(path.name) == 64}
    return {name for name, path in found.items() if hashlib.sha256(path.read_bytes()).hexdigest() == name}


def body_name(plan: Plan, number: int) -> str:
    return hashlib.sha256(message(plan, number).partition(b"\r\n\r\n")[2]).hexdigest()
