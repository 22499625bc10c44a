"""Simulated recipients behave as their name says, over real SMTP."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from mailer.listener import Path
from mailer.report.inbox import Habits, serve_inbox
from mailer.report.serving import Server
from mailer.report.simulator import DOMAIN, Manner, Patience, Simulator, manner_of

CONTENT = b"Subject: hello\r\n\r\nhi\r\n"
SENDER = "token@bounce.acme.example"
PATIENCE = Patience(greylist=5.0, silence=0.3)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def inbox(folder: FilePath, tmp_path: FilePath) -> Iterator[Server]:
    habits = Habits(patience=PATIENCE, reply_delays=())
    server = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls", habits=habits)
    yield server
    server.stop()


def answers(inbox: Server, recipient: str, sender: str = SENDER) -> list[str]:
    """The replies to RCPT and to the final dot; the latter if it comes to that."""
    with smtplib.SMTP("127.0.0.1", inbox.port, local_hostname="c.example", timeout=10) as client:
        client.ehlo()
        client.docmd("MAIL", f"FROM:<{sender}>")
        replies = [client.docmd("RCPT", f"TO:<{recipient}>")]
        if replies[0][0] == 250:
            replies.append(client.data(CONTENT))
    return [f"{code} {text.decode()}" for code, text in replies]


def kept(folder: FilePath) -> int:
    return len(list((folder / "new").iterdir()))


@pytest.mark.parametrize(
    ("local", "beginnings"),
    [
        ("success", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("bounce", ["550 5.1.1"]),
        ("full", ["250 2.1.5", "552 5.2.2"]),
        ("defer", ["451 4.3.0"]),
        ("greylist", ["451 4.7.1 Greylisted; try again in 5 seconds"]),
        ("slow", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("complaint", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("unsubscribe", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("oof", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("nobody", ["550 5.1.1"]),
        ("BOUNCE+Order-1042", ["550 5.1.1"]),
        ("Full+x+y", ["250 2.1.5", "552 5.2.2"]),
        ("success+", ["250 2.1.5", "250 2.0.0 Kept as "]),
        ("+success", ["550 5.1.1"]),
    ],
)
def test_each_answers_as_its_name_says(inbox: Server, local: str, beginnings: list[str]) -> None:
    heard = answers(inbox, f"{local}@Simulator.MAILER.test")

    assert [reply[: len(b)] for reply, b in zip(heard, beginnings, strict=True)] == beginnings


@pytest.mark.parametrize(
    "domain", ["example.org", "sub.simulator.mailer.test", "simulator.mailer.test.example"]
)
def test_the_names_mean_nothing_elsewhere(inbox: Server, folder: FilePath, domain: str) -> None:
    heard = answers(inbox, f"bounce@{domain}")

    assert heard[1].startswith("250 ")
    assert kept(folder) == 1


def test_what_was_refused_is_not_kept(inbox: Server, folder: FilePath) -> None:
    for local in ("bounce", "full", "defer", "greylist"):
        answers(inbox, f"{local}@{DOMAIN}")

    assert kept(folder) == 0


def test_one_that_hangs_up_has_kept_the_message_and_answers_the_next_time(
    inbox: Server, folder: FilePath
) -> None:
    """RFC 1047 §2: the answer is lost, the message is not; so the retry makes it two."""
    with pytest.raises(smtplib.SMTPServerDisconnected):
        answers(inbox, f"drop-after-dot@{DOMAIN}")
    again = answers(inbox, f"Drop-After-Dot@{DOMAIN}")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        answers(inbox, f"drop-after-dot@{DOMAIN}", "another@bounce.acme.example")

    assert again[1].startswith("250 ")
    assert kept(folder) == 3


def test_the_drop_comes_without_a_single_octet(inbox: Server) -> None:
    script = (
        f"EHLO c\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<drop-after-dot@{DOMAIN}>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n"
    )
    with socket.create_connection(("127.0.0.1", inbox.port), timeout=10) as connection:
        connection.sendall(script.encode())
        heard = b"".join(iter(lambda: connection.recv(65536), b""))

    assert heard.splitlines()[-1].startswith(b"354 ")


def test_a_pair_is_put_off_until_it_is_old_enough_and_then_for_good() -> None:
    """RFC 6647 §2.4."""
    clock = Clock()
    simulator, sender, path = Simulator(clock, PATIENCE), Path("t", "b.example"), Path("greylist", DOMAIN)
    first = simulator.at_rcpt(sender, path)
    clock.seconds += 3.5
    early = simulator.at_rcpt(sender, Path("GREYLIST", DOMAIN))
    clock.seconds += 1.5
    late = simulator.at_rcpt(sender, path)
    other = simulator.at_rcpt(Path("u", "b.example"), path)

    assert [reply.code for reply in (first, early, late, other)] == [451, 451, 250, 451]
    assert early.text == "Greylisted; try again in 2 seconds"


@pytest.mark.parametrize(
    ("local", "seconds"),
    [
        ("slow", 0.3),
        ("slow+7", 7.0),
        ("slow+999999999999", 300.0),
        ("slow+x", 0.3),
        ("slow+٣", 0.3),
        ("oof", 0),
    ],
)
def test_how_long_it_is_silent_may_be_asked_for(local: str, seconds: float) -> None:
    simulator = Simulator(Clock(), PATIENCE)

    assert simulator.silence_before_reply([Path(local, DOMAIN)]) == seconds


def test_every_manner_has_an_address() -> None:
    assert [manner_of(Path(manner.value, DOMAIN)) for manner in Manner] == list(Manner)
    assert manner_of(Path("", "")) is None
    assert manner_of(Path("postmaster", "")) is None
