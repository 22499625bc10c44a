"""From a simulated recipient back to its event: by SMTP, the signed return-path, and the database."""

from __future__ import annotations

import shutil
import smtplib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailer import clock
from mailer.compose.verp import constant_keys, make_token
from mailer.policy.classifier import shipped
from mailer.queue import read, verify
from mailer.report.desk import DeskParts, Reception
from mailer.report.inbox import Habits, serve_inbox
from mailer.report.pacing import PeerPace
from mailer.report.reader import Reader, ReaderParts
from mailer.report.serving import Server
from mailer.store import Store
from tests.support.instance import wait_for
from tests.support.mailroom import DELIVERED, KEYS, Mailroom, register
from tests.support.returning import Fragile

SECRET = b"s" * 32
DOMAIN = "bounce.acme.example"
LETTER = b"From: shop@acme.example\r\nSubject: hello\r\nMessage-ID: <1@acme.example>\r\n\r\nhi\r\n"
UNSUBSCRIBE = b"Subject: unsubscribe\r\n\r\n"


@pytest.fixture
def store(furnished_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copyfile(furnished_sqlite, tmp_path / "mailer.sqlite3")
    opened = Store(f"sqlite:///{tmp_path}/mailer.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


@pytest.fixture
def fragile(room: Mailroom) -> Fragile:
    return Fragile(room.store)


@pytest.fixture
def inbox(room: Mailroom, folder: Path, tmp_path: Path, fragile: Fragile) -> Iterator[Server]:
    keys = constant_keys(SECRET)
    reader = Reader(
        ReaderParts(
            store=room.store, me=register(room.store, role="inbox").id, process_number=1,
            token_keys=lambda: keys, classifier=shipped, find_subscriber=lambda words: None,
            is_trusted=lambda content: False, pass_on=lambda connection, mail: "no",
            signer_of=lambda content: None, keys=KEYS, new_id=room.new_id, now=clock.now,
            monotonic=clock.monotonic, on_fenced=lambda: None,
        )
    )  # fmt: skip
    reception = Reception(
        DeskParts(
            store=fragile,  # type: ignore[arg-type]  # speaks as one
            host="inbox.localhost", token_keys=lambda: keys, read_unsubscribe=lambda token: None,
            pace=PeerPace(mails=1000, misses=1000, monotonic=clock.monotonic), new_id=room.new_id,
            now=clock.now, on_kept=reader.wake,
        )
    )  # fmt: skip
    reader.start()
    habits = Habits(reply_delays=(0.01,) * 5)
    server = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls", returns=reception, habits=habits)
    yield server
    server.stop()
    reader.stop()


def send(inbox: Server, content: bytes, recipient: str, sender: str = "a@b.example") -> None:
    with smtplib.SMTP("127.0.0.1", inbox.port, local_hostname="c.example", timeout=10) as client:
        client.sendmail(sender, [recipient], content)


@dataclass
class Sent:
    """A message that was delivered. path: its recipient's reverse-path."""

    room: Mailroom
    message_id: int
    path: str

    def told(self) -> list[str]:
        view = read.message_of(self.room.store, self.room.tenant_id, self.message_id)
        assert view is not None
        return [e.type for e in view.events][2:]

    def facts(self) -> Mapping[str, Any]:
        view = read.message_of(self.room.store, self.room.tenant_id, self.message_id)
        assert view is not None
        return view.events[-1].data


@pytest.fixture
def sent(room: Mailroom) -> Sent:
    m = room.message()
    room.accept(m)
    room.settle(room.claim(), DELIVERED)
    return Sent(room, m.id, f"{make_token(m.recipients[0].id, SECRET)}@{DOMAIN}")


def awaited(look: Callable[[], list[str]]) -> list[str]:
    return wait_for("an event", look, within_seconds=10)


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "new").iterdir())]


@pytest.mark.parametrize(
    ("local", "event", "facts"),
    [
        (
            "complaint",
            "complained",
            {
                "reason": "feedback_report",
                "class": "complaint",
                "action": "fail",
                "blame": "recipient",
                "phase": "returned",
                "feedback_type": "abuse",
                "user_agent": "ECM-Mailer-Simulator/1",
            },
        ),
        (
            "unsubscribe",
            "unsubscribed",
            {
                "reason": "unsubscribe_mail",
                "class": "unsubscribe",
                "action": "fail",
                "blame": "recipient",
                "phase": "returned",
                "stream": "transactional",
            },
        ),
        (
            "OOF+holiday",
            "auto_replied",
            {
                "reason": "auto_submitted",
                "class": "auto-reply",
                "phase": "returned",
                "subject": "Auto: hello",
            },
        ),
    ],
)
def test_what_a_simulated_recipient_sends_back_is_told(
    inbox: Server, folder: Path, sent: Sent, local: str, event: str, facts: dict[str, str]
) -> None:
    send(inbox, LETTER, f"{local}@simulator.mailer.test", sent.path)

    assert awaited(sent.told) == [event]
    told = dict(sent.facts())
    assert told.pop("returned_id").startswith("ret_")
    assert told == facts
    wait_for("both to be kept", lambda: len(files(folder)) == 2, within_seconds=10)
    assert verify.verify(sent.room.store).holds


def test_it_may_come_in_any_case_and_many_times_and_is_told_once(inbox: Server, sent: Sent) -> None:
    for path in (sent.path, sent.path.upper(), sent.path):
        send(inbox, UNSUBSCRIBE, path)

    assert awaited(sent.told) == ["unsubscribed"]


@pytest.mark.parametrize(
    "recipient",
    [
        "{other}@bounce.acme.example",
        "{forged}@bounce.acme.example",
        "{token}@bounce.globex.example",
        "x{token}@bounce.acme.example",
        "complaint@bounce.acme.example",
    ],
)
def test_a_forged_or_unknown_path_changes_nothing(
    inbox: Server, folder: Path, sent: Sent, recipient: str
) -> None:
    token = sent.path.partition("@")[0]
    paths = {"token": token, "other": make_token(5, SECRET), "forged": make_token(5, b"x" * 32)}
    send(inbox, UNSUBSCRIBE, recipient.format(**paths))

    assert sent.told() == []
    assert len(files(folder)) == 1
    assert verify.verify(sent.room.store).holds


def test_what_is_not_recognised_is_kept_and_changes_nothing(inbox: Server, folder: Path, sent: Sent) -> None:
    send(inbox, LETTER, sent.path)

    assert sent.told() == []
    assert len(files(folder)) == 1


def test_nothing_answers_a_null_reverse_path(inbox: Server, folder: Path, sent: Sent) -> None:
    """RFC 3834 §2."""
    send(inbox, LETTER, "oof@simulator.mailer.test", "")
    send(inbox, LETTER, "oof@simulator.mailer.test", sent.path)

    assert awaited(sent.told) == ["auto_replied"]
    wait_for("the one reply", lambda: len(files(folder)) == 3, within_seconds=10)


def test_while_the_database_is_away_it_is_put_off_and_kept_once(
    inbox: Server, folder: Path, sent: Sent, fragile: Fragile
) -> None:
    fragile.away_for = 1
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(inbox, UNSUBSCRIBE, sent.path)
    nothing = files(folder)
    send(inbox, UNSUBSCRIBE, sent.path)

    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (451, b"4.3.0")
    assert nothing == []
    assert len(files(folder)) == 1
    assert awaited(sent.told) == ["unsubscribed"]


def test_a_simulated_recipient_tries_again_until_the_database_is_back(
    inbox: Server, sent: Sent, fragile: Fragile
) -> None:
    fragile.away_for = 3
    send(inbox, LETTER, "complaint@simulator.mailer.test", sent.path)

    assert awaited(sent.told) == ["complained"]
    assert fragile.away_for == 0


def test_what_is_still_owed_does_not_hold_up_the_end(folder: Path, tmp_path: Path) -> None:
    habits = Habits(reply_delays=(60.0,))
    inbox = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls", habits=habits)
    send(inbox, LETTER, "oof@simulator.mailer.test")
    inbox.stop()

    assert not [thread for thread in threading.enumerate() if thread.name == "inbox"]
    assert len(files(folder)) == 1
