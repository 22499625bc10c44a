"""Debian's Postfix on both sides: an office's server relays into us, a mailbox host receives from us."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.compose.verifiers import dkimpy_verdicts
from tests.support.certificates import server_context
from tests.support.instance import Instance, installed, wait_for
from tests.support.postfix import Mx, Postfix, smart_host_client
from tests.support.processes import free_port

PATIENCE_SECONDS = 60
_CHUNKS = re.compile(r"disconnect from .*\bbdat=(\d+)")
TEXT = "Thank you.\n.\n..\nGrüße, 渡辺\n"


@dataclass(frozen=True)
class Chain:
    """office hands to instance, instance delivers to mx."""

    office: Postfix
    instance: Instance
    mx: Mx

    def post(self, *to: str) -> None:
        """Hands a message to the office's server."""
        assert self.instance.ready is not None
        letter = EmailMessage(policy=policy.SMTP)
        letter["From"], letter["To"] = f"Shop <shop@{self.instance.ready.domain}>", ", ".join(to)
        letter["Subject"] = "hello"
        letter.set_content(TEXT, cte="8bit")
        with self.office.client() as client:
            assert client.send_message(letter) == {}

    def last_words(self) -> str:
        """Logs of all three, for the one who reads a failure."""
        return "\n".join((self.instance.tail(), self.office.last_words(), self.mx.last_words()))


@contextmanager
def chain(folder: Path, *, is_tls: bool, **settings: str) -> Iterator[Chain]:
    """All three run, and are gone after the block."""
    server_context(folder, "mx.example.net")
    with ExitStack() as stack:
        mx = stack.enter_context(closing(Mx(certificate=folder / "mx.example.net.pem" if is_tls else None)))
        mx.start()
        # A port that stays the same when the instance is started again.
        given = {
            "MAILER_SMTP_PORT": str(free_port()),
            "MAILER_ROUTES": f"*=127.0.0.1:{mx.port};tls={'opportunistic' if is_tls else 'none'}",
            "MAILER_RETRY_DELAYS": "1s",
            "MAILER_SMTP_AUTH_IN_CLEAR": "false" if is_tls else "true",
        }
        instance = stack.enter_context(installed(folder / "data", given | settings))
        assert instance.ready is not None
        certificate = folder / "data/tls/smtp.pem" if is_tls else None
        office = stack.enter_context(
            closing(
                smart_host_client(instance.ready.smtp_port, instance.ready.api_key, certificate=certificate)
            )
        )
        office.start()
        made = Chain(office, instance, mx)
        try:
            yield made
        except Exception as error:
            error.add_note(made.last_words())
            raise


def dkim_records(instance: Instance) -> dict[str, str]:
    assert instance.ready is not None
    told = json.loads(instance.run("domain", "records", instance.ready.domain, "--json").stdout)
    return {r["name"].rstrip("."): r["value"] for r in told if r["type"] == "TXT"}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "sqlite":
        return {}
    return {"MAILER_DATABASE_URL": request.getfixturevalue("postgres").new_database()}


@pytest.mark.parametrize(
    ("database", "is_tls"),
    [("sqlite", True), ("postgres", False)],
    indirect=["database"],
    ids=["tls", "clear"],
)
def test_a_message_passes_from_postfix_through_us_to_postfix(
    tmp_path: Path, database: dict[str, str], is_tls: bool
) -> None:
    with chain(tmp_path, is_tls=is_tls, **database) as run:
        run.post("ann@example.net", "bob@example.com")
        [one, _] = wait_for(
            "both copies",
            lambda: k if len(k := run.mx.kept()) == 2 else None,
            within_seconds=PATIENCE_SECONDS,
        )
        verdicts = dkimpy_verdicts(_before_delivery(one), dkim_records(run.instance))
        by_bdat = wait_for(
            "its farewell", lambda: _CHUNKS.findall(run.mx.told()), within_seconds=PATIENCE_SECONDS
        )
        people = run.mx.kept_of("Delivered-To")

    assert people == ["ann@example.net", "bob@example.com"]
    assert one.endswith(TEXT.encode())
    assert verdicts == [True, True]
    assert sum(map(int, by_bdat)) >= 1
    # Postfix folds its own Received; ours and the office's stand below it.
    header = b" ".join(one.partition(b"\n\n")[0].split())
    assert (b"ESMTPS id" in header) == is_tls
    assert (b"with ESMTPSA id msg_" in header) == is_tls
    assert (b"with ESMTPA id msg_" in header) != is_tls
    assert b"by office.example.org (Postfix)" in header


def _before_delivery(stored: bytes) -> bytes:
    """The message with CRLF, as it came to the MX: its own fields on top are not signed."""
    return stored.replace(b"\n", b"\r\n")


def test_a_mailbox_that_postfix_does_not_have_is_a_bounce_for_us(tmp_path: Path) -> None:
    with chain(tmp_path, is_tls=True) as run:
        run.post("nobody@example.net", "ann@example.net")
        log = wait_for(
            "both ends",
            lambda: log if len(log := run.instance.events()) >= 4 else None,
            within_seconds=PATIENCE_SECONDS,
        )
        # The office's server asked for nothing else, so that its sender is told by a DSN (RFC 3461 4.1).
        people = wait_for(
            "the message and the DSN",
            lambda: p if len(p := run.mx.kept_of("Delivered-To")) >= 2 else None,
            within_seconds=PATIENCE_SECONDS,
        )
        assert run.instance.ready is not None
        sender = f"shop@{run.instance.ready.domain}"

    assert sorted(e["type"] for e in log)[2:] == ["bounced", "delivered"]
    assert sorted(people) == ["ann@example.net", sender]


def test_a_restart_in_the_middle_loses_and_doubles_nothing(tmp_path: Path, database: dict[str, str]) -> None:
    with chain(tmp_path, is_tls=True, **database) as run, ThreadPoolExecutor(1) as pool:
        enough = threading.Event()
        posting = pool.submit(_post_until, run, enough)
        try:
            wait_for(
                "some to arrive", lambda: len(run.mx.kept()) >= 50 or None, within_seconds=PATIENCE_SECONDS
            )
            code = run.instance.stop()
        finally:
            enough.set()
        posted, left = posting.result(), run.office.queued()
        run.instance.start()
        wait_for(
            "all to arrive",
            lambda: (len(run.mx.kept()) >= len(posted) and not run.office.queued()) or None,
            within_seconds=PATIENCE_SECONDS,
        )
        arrived = run.mx.kept_of("Subject")
        verdict, findings = run.instance.verify()

    assert code == 0
    assert left > 0
    assert arrived == posted
    assert verdict == 0, findings


def _post_until(run: Chain, enough: threading.Event) -> list[str]:
    """The office's people go on whatever becomes of us; returns the subjects of all they wrote."""
    assert run.instance.ready is not None
    sender, posted = f"shop@{run.instance.ready.domain}", []
    with run.office.client() as client:
        while not enough.is_set():
            posted.append(f"order {len(posted):05}")
            letter = f"From: {sender}\r\nTo: ann@example.net\r\nSubject: {posted[-1]}\r\n\r\nThank you.\r\n"
            assert client.sendmail(sender, ["ann@example.net"], letter) == {}
    return posted
