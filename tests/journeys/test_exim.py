"""Debian's Exim as the receiving MX: a self-signed certificate, greylisting, DSN, and what it stores."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compose.verifiers import dkimpy_verdicts
from tests.journeys.test_postfix import dkim_records
from tests.support.certificates import server_context
from tests.support.exim import Exim
from tests.support.instance import Instance, installed, wait_for
from tests.support.servers import MissingServer

PATIENCE_SECONDS = 30
ANN, REGULAR = "ann@example.net", "regular@example.net"
REFUSALS = 20
# What mail servers like to mend: dots, blanks at line ends, tabs, long lines, octets that are no UTF-8,
# empty lines at the end.
BODY = (
    b".\r\n..\r\n.dot \t \r\n\ttab\r\n"
    + b"x" * 998
    + b"\r\nGr\xc3\xbc\xc3\x9fe \xff\r\nFrom here\r\n\r\n\r\n"
)


@dataclass(frozen=True)
class Pair:
    """instance delivers to mx."""

    instance: Instance
    mx: Exim

    def submit(
        self, to: str, of_mail: tuple[str, ...] = (), of_rcpt: tuple[str, ...] = (), body: bytes = BODY
    ) -> bytes:
        """Hands in a message by SMTP; the octets that it had."""
        ready = self.instance.ready
        assert ready is not None
        sender = f"shop@{ready.domain}"
        content = (
            f"From: Shop <{sender}>\r\nTo: {to}\r\nSubject:  two  blanks \r\n\tand a fold\r\n"
            f"Message-ID: <1@{ready.domain}>\r\nDate: Mon, 09 Mar 2026 12:00:00 +0000\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\n"
        ).encode() + body
        with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=20) as client:
            client.login("any", ready.api_key)
            assert client.sendmail(sender, [to], content, ["BODY=8BITMIME", *of_mail], of_rcpt) == {}
        return content

    def arrivals(self, mailbox: str, count: int) -> list[bytes]:
        """So many messages, in the order in which they came, once they are there."""
        return wait_for(
            f"{count} to {mailbox}",
            lambda: kept if len(kept := self.mx.kept(mailbox)) == count else None,
            within_seconds=PATIENCE_SECONDS,
        )

    def said(self, message_id: str) -> list[str]:
        """What we said after EHLO, by attempt."""
        [recipient] = self.instance.get(f"/v1/messages/{message_id}")["recipients"]
        return [_said(attempt["conversation"]) for attempt in recipient["attempts"]]

    def until(self, last: str) -> list[dict[str, Any]]:
        """All events, once that one is among them."""

        def look() -> list[dict[str, Any]] | None:
            log = self.instance.events()
            return log if last in types(log) else None

        return wait_for(last, look, within_seconds=PATIENCE_SECONDS)

    def arrived(self, mailbox: str) -> bytes:
        """The one message that a mailbox has, once it has one."""
        [message] = wait_for(
            f"mail to {mailbox}", lambda: self.mx.kept(mailbox), within_seconds=PATIENCE_SECONDS
        )
        return message


def _said(steps: list[dict[str, Any]]) -> str:
    lines = " ".join(step["line"] for step in steps if step["who"] == "us")
    return lines[lines.index("MAIL FROM") :]


def types(log: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in log]


@contextmanager
def pair(folder: Path, *, tls: str = "opportunistic", **settings: str) -> Iterator[Pair]:
    """Both run, and are gone after the block."""
    server_context(folder, "mx.example.net")
    with closing(Exim(folder / "mx.example.net.pem")) as mx:
        mx.start()
        given = {
            "MAILER_ROUTES": f"*=127.0.0.1:{mx.port};tls={tls}",
            "MAILER_RETRY_DELAYS": "1s",
            "MAILER_SMTP_AUTH_IN_CLEAR": "true",
        }
        with installed(folder / "data", given | settings) as instance:
            try:
                yield Pair(instance, mx)
            except Exception as error:
                error.add_note(f"{instance.tail()}\n{mx.told()[-4000:]}")
                raise


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "sqlite":
        return {}
    return {"MAILER_DATABASE_URL": request.getfixturevalue("postgres").new_database()}


def test_without_exim_the_command_that_makes_it_available_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.exim.UNPACKED", tmp_path)

    with pytest.raises(MissingServer, match=r"run as root: make test-packages"):
        Exim(tmp_path / "mx.example.net.pem")


def test_a_route_that_asks_for_more_than_a_self_signed_certificate_gives_it_nothing(tmp_path: Path) -> None:
    with pair(tmp_path, tls="required") as run:
        run.submit(ANN)
        log = run.until("delayed")
        heard = run.mx.heard("MAIL")

    assert "delivered" not in types(log)
    assert heard == []


def test_mailboxes_that_exim_does_not_have_are_bounces_at_once(tmp_path: Path) -> None:
    """Also when it ends a session for the RSETs between them, of which it takes three here."""
    with pair(tmp_path, MAILER_CONNECTIONS_PER_SITE="1") as run:  # so that one session has all of them
        for n in range(REFUSALS):  # each another one: after its first refusal an address is suppressed
            run.submit(f"nobody{n}@example.net")
        log = wait_for(
            "all ends",
            lambda: log if types(log := run.instance.events()).count("bounced") == REFUSALS else None,
            within_seconds=PATIENCE_SECONDS,
        )
        told = run.mx.told()

    assert sorted(types(log)) == ["accepted"] * REFUSALS + ["bounced"] * REFUSALS
    assert "too many nonmail commands" in told


def test_mail_that_is_greylisted_comes_again_and_is_stored_octet_for_octet(
    tmp_path: Path, database: dict[str, str]
) -> None:
    with pair(tmp_path, **database) as run:
        content = run.submit(ANN)
        log = run.until("delivered")
        stored = run.arrived(ANN)
        heard = run.mx.heard("MAIL")
        verdicts = dkimpy_verdicts(stored, dkim_records(run.instance))
        verdict, findings = run.instance.verify()

    assert types(log) == ["accepted", "delayed", "delivered"]
    assert stored.endswith(content)
    assert verdicts == [True, True]
    assert b"with esmtps " in stored.partition(b"\r\n\r\n")[0]
    # The same reverse-path on every try: whoever greylists knows us again by it.
    assert len(heard) == 2
    assert len(set(heard)) == 1
    assert verdict == 0, findings


def test_mail_comes_by_bdat_in_one_flight_octet_for_octet(tmp_path: Path) -> None:
    """Also behind a refused mailbox, which keeps BDAT from the next one, and one that is taken after that."""
    with pair(tmp_path, MAILER_CONNECTIONS_PER_SITE="1") as run:
        contents = [run.submit(REGULAR)]
        run.until("delivered")
        run.submit("nobody@example.net")
        run.until("bounced")
        for _ in range(2):
            contents.append(run.submit(REGULAR))
            stored = run.arrivals(REGULAR, len(contents))
        told = run.mx.told()
        verdicts = [dkimpy_verdicts(one, dkim_records(run.instance)) for one in stored]
        [said] = run.said(run.until("delivered")[0]["message_id"])
        verdict, findings = run.instance.verify()

    # Exim's log has K where a message came by BDAT. The notice of the bounce comes to it, too.
    arrivals = [line for line in told.splitlines() if " <= " in line and " id=1@" in line]
    assert [" K " in line for line in arrivals] == [True, False, True]
    assert all(one.endswith(content) for one, content in zip(stored, contents, strict=True))
    assert verdicts == [[True, True]] * 3
    assert re.fullmatch(r"MAIL FROM:.+ RCPT TO:<regular@example.net> BDAT \d+ LAST <\d+ octets>", said)
    assert verdict == 0, findings


def test_what_was_asked_of_dsns_is_asked_of_exim_which_answers(tmp_path: Path) -> None:
    of_mail = ("RET=HDRS", "ENVID=order+2B1042")
    of_rcpt = ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Ann+2BSales@example.org")
    with pair(tmp_path) as run:
        run.submit(ANN, of_mail, of_rcpt)
        run.until("delivered")
        of_mail_heard, of_rcpt_heard = run.mx.heard("MAIL"), run.mx.heard("RCPT")
        reverse_path = of_mail_heard[0].partition("<")[2].partition(">")[0]
        answer = run.arrived(reverse_path)

    assert len(of_mail_heard) == len(of_rcpt_heard) == 2
    for line in of_mail_heard:
        assert set(of_mail) <= set(line.split())
    for line in of_rcpt_heard:
        assert line.split() == ["RCPT", f"TO:<{ANN}>", *of_rcpt]
    for field in (b"Original-Envelope-ID: order+2B1042", b"Action: delivered", b"Status: 2.0.0"):
        assert field in answer
    assert BODY not in answer  # RET=HDRS
