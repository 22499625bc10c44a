"""Programs that people have: each submits by STARTTLS, by implicit TLS and in clear, on both databases."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest

from tests.support.instance import Instance, installed, wait_for
from tests.support.mail_programs import PROGRAMS, Door, Letter, Way

PATIENCE_SECONDS = 20
TEXT = "Thank you.\n.\n..\nGrüße, 渡辺\n"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {"MAILER_SMTP_AUTH_IN_CLEAR": "true"}
    if request.param == "postgres":
        settings["MAILER_DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    with installed(tmp_path_factory.mktemp("programs") / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture
def door(instance: Instance) -> Door:
    ready = instance.ready
    assert ready is not None
    return Door(
        host=ready.smtp_host, starttls_port=ready.smtp_port, implicit_port=ready.smtps_port,
        key=ready.api_key, certificate=instance.data / "tls/smtp.pem",
    )  # fmt: skip


def caught(instance: Instance, subject: str) -> list[EmailMessage]:
    """What lies in the inbox with this subject, once it is delivered as often as it was accepted."""

    def look() -> list[EmailMessage] | None:
        box = mailbox.Maildir(instance.data / "inbox", create=False)
        parser = BytesParser(policy=policy.default)
        copies = [parser.parsebytes(box.get_bytes(key)) for key in box.iterkeys()]
        found = [copy for copy in copies if copy["Subject"] == subject]
        return found if len(found) >= 2 else None

    return wait_for(subject, look, within_seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_submits_arrives_as_it_was_written(
    instance: Instance, door: Door, program: str, way: Way
) -> None:
    assert instance.ready is not None
    subject = f"by {program}, {way}"
    people = ["ann@example.net", "bob@example.com"]
    PROGRAMS[program](
        door, way, Letter(sender=f"shop@{instance.ready.domain}", to=people, subject=subject, text=TEXT)
    )
    copies = caught(instance, subject)

    texts = [copy.get_body(("plain",)) for copy in copies]
    assert [t.get_content().splitlines() for t in texts if t is not None] == [TEXT.splitlines()] * 2
    assert sorted(copy["Delivered-To"] for copy in copies) == people
    assert all(len(copy.get_all("DKIM-Signature", [])) == 2 for copy in copies)
    how = "ESMTPA" if way is Way.CLEAR else "ESMTPSA"
    assert all(f" with {how} id msg_" in str(copy.get_all("Received", [])[-1]) for copy in copies)


def test_nothing_was_doubled_and_the_books_balance(instance: Instance) -> None:
    """Runs after the others of its instance."""
    code, findings = instance.verify()

    assert code == 0, findings
    assert len(mailbox.Maildir(instance.data / "inbox", create=False)) == 2 * len(PROGRAMS) * len(Way)


def test_who_logs_in_in_clear_is_warned_of(instance: Instance) -> None:
    log = (instance.data / "log/http.log").read_text()

    assert "smtp.auth_in_clear_allowed" in log
    assert "smtp.auth_in_clear " in log
