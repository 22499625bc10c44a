"""Legacy software sends: the real command, SMTP with and without STARTTLS, into the local inbox."""

from __future__ import annotations

import mailbox
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mailer.cli.greeting import Facts, as_text
from tests.support.certificates import server_context
from tests.support.instance import Instance, Ready, installed, wait_for

PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("smtp") / "data", {}, http_port=0) as running:
        yield running


@pytest.fixture
def ready(instance: Instance) -> Ready:
    assert instance.ready is not None
    return instance.ready


def arrived(instance: Instance, subject: str) -> bytes:
    """The octets of the message with this subject, once it lies in the inbox."""

    def look() -> bytes | None:
        box = mailbox.Maildir(instance.data / "inbox", create=False)
        copies = [box.get_bytes(key) for key in box.iterkeys()]
        return next((copy for copy in copies if f"Subject: {subject}".encode() in copy), None)

    return wait_for(subject, look, within_seconds=PATIENCE_SECONDS)


def letter(ready: Ready, subject: str) -> EmailMessage:
    made = EmailMessage(policy=policy.SMTP)
    made["From"], made["To"], made["Subject"] = (
        f"Shop <shop@{ready.domain}>",
        "Ann <ann@example.net>",
        subject,
    )
    made["X-Mailer-Tags"] = "order"
    made.set_content("Thank you.\n.\nGrüße\n", cte="8bit")
    return made


def untrusting() -> ssl.SSLContext:
    """The certificate is of the instance's own making."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_starttls_and_a_key_are_all_it_takes(instance: Instance, ready: Ready) -> None:
    with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=10) as client:
        client.starttls(context=untrusting())
        client.login("any", ready.api_key)
        client.send_message(letter(ready, "by-starttls"))

    copy = BytesParser(policy=policy.default).parsebytes(arrived(instance, "by-starttls"))
    assert isinstance(copy, EmailMessage)
    assert copy.get_content().splitlines() == ["Thank you.", ".", "Grüße"]
    assert copy["X-Mailer-Tags"] is None
    assert len(copy.get_all("DKIM-Signature", [])) == 2
    assert "ESMTPSA" in str(copy.get_all("Received", [])[-1])


def test_implicit_tls_works_alike(instance: Instance, ready: Ready) -> None:
    with smtplib.SMTP_SSL(ready.smtp_host, ready.smtps_port, timeout=10, context=untrusting()) as client:
        client.login("any", ready.api_key)
        client.send_message(letter(ready, "by-implicit-tls"))

    assert b"ann@example.net" in arrived(instance, "by-implicit-tls")


def test_nobody_logs_in_in_clear(ready: Ready) -> None:
    with (
        smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=10) as client,
        pytest.raises(smtplib.SMTPNotSupportedError),
    ):
        client.login("any", ready.api_key)


def test_the_lines_of_the_greeting_work_when_pasted(instance: Instance, ready: Ready) -> None:
    facts = Facts(
        http_url=ready.http_url, smtp_host=ready.smtp_host, smtp_port=ready.smtp_port,
        smtps_port=ready.smtps_port, returns_port=ready.returns_port, api_key=ready.api_key,
        key_is_kept=True, domain=ready.domain,
        has_inbox=True, pids=ready.pids, data_dir=instance.data,
    )  # fmt: skip
    text = as_text(facts)
    swaks = text[text.index("  swaks") : text.index("  python3 -c")]
    program = text[text.index("  python3 -c") : text.index("and look at")]

    for command in (swaks, program):
        done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    assert b"It works." in arrived(instance, "Hello")
    assert b"test" in arrived(instance, "test")


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    for name in ("one.example.net", "two.example.net"):
        server_context(tmp_path, name)
    shown = tmp_path / "shown.pem"
    shutil.copyfile(tmp_path / "one.example.net.pem", shown)
    with installed(tmp_path / "data", {"MAILER_SMTP_CERT_FILE": str(shown)}, http_port=0) as instance:
        assert instance.ready is not None
        before = [names_shown(instance.ready, is_implicit=way) for way in (False, True)]
        half = tmp_path / "half.pem"
        shutil.copyfile(tmp_path / "two.example.net.pem", half)
        half.rename(shown)
        after = [names_shown(instance.ready, is_implicit=way) for way in (False, True)]
        still = instance.process is not None and instance.process.poll() is None

    assert before == ["one.example.net"] * 2
    assert after == ["two.example.net"] * 2
    assert still


def names_shown(ready: Ready, *, is_implicit: bool) -> str:
    """Whose certificate the door shows in a handshake."""
    if is_implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL(
            ready.smtp_host, ready.smtps_port, timeout=10, context=untrusting()
        )
    else:
        client = smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=10)
        client.starttls(context=untrusting())
    with client:
        assert isinstance(client.sock, ssl.SSLSocket)
        octets = client.sock.getpeercert(binary_form=True)
    assert octets is not None
    [name] = x509.load_der_x509_certificate(octets).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def test_what_was_answered_250_survives_a_kill(tmp_path: Path) -> None:
    # What was in doubt at the kill is tried again after the first delay.
    with installed(tmp_path / "data", {"MAILER_RETRY_DELAYS": "1s"}) as instance:
        ready = instance.ready
        assert ready is not None
        with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=10) as client:
            client.starttls(context=untrusting())
            client.login("any", ready.api_key)
            for number in range(20):
                client.send_message(letter(ready, f"killed-{number:02}"))
        instance.kill()
        instance.start()

        for number in range(20):
            arrived(instance, f"killed-{number:02}")
        assert instance.verify()[0] == 0
