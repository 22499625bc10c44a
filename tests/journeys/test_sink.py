"""The sink does what an address asks for, and has it on record before it answers."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sink import Sink, behaviour_of, running_sink

MESSAGE = b"From: a@example.net\r\nSubject: bid=b1\r\n\r\nHello.\r\n"


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with running_sink(tmp_path) as running:
        yield running


def offer(sink: Sink, recipient: str) -> int:
    """The code of the reply that decided, or 0 when the connection was lost without one."""
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=0.3) as client:
        client.ehlo("client.example.net")
        client.mail("b@example.net")
        code, _ = client.rcpt(recipient)
        if code != 250:
            return code
        try:
            return client.data(MESSAGE)[0]
        except (smtplib.SMTPServerDisconnected, TimeoutError, ConnectionError):
            client.close()
            return 0


@pytest.mark.parametrize(
    ("recipient", "codes", "record"),
    [
        ("ok.1@x.example", [250, 250], ["accepted", "accepted"]),
        ("slow1.1@x.example", [250, 250], ["accepted", "accepted"]),
        ("defer1.1@x.example", [451, 250], ["accepted"]),
        ("deferdot1.1@x.example", [451, 250], ["deferred", "accepted"]),
        ("refuse.1@x.example", [550, 550], []),
        ("refusedot.1@x.example", [554, 554], ["refused", "refused"]),
        ("hangbefore.1@x.example", [0, 250], ["accepted"]),
        ("hangafter.1@x.example", [0, 250], ["hung", "accepted"]),
        ("hangkept.1@x.example", [0, 250], ["hung-kept", "accepted"]),
        ("dropbefore.1@x.example", [0, 250], ["accepted"]),
        ("dropafter.1@x.example", [0, 250], ["dropped", "accepted"]),
        ("dropkept.1@x.example", [0, 250], ["dropped-kept", "accepted"]),
    ],
)
def test_a_recipient_gets_the_behaviour_it_names(
    sink: Sink, recipient: str, codes: list[int], record: list[str]
) -> None:
    heard = [offer(sink, recipient), offer(sink, recipient)]

    assert heard == codes
    assert [d.did for d in sink.records()] == record
    assert {d.bid for d in sink.records()} <= {"b1"}


def test_a_session_after_its_dot_is_counted(sink: Sink) -> None:
    sink.delay(30)
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=5) as client:
        client.ehlo("client.example.net")
        client.mail("b@example.net")
        client.rcpt("ok.1@x.example")
        before = sink.status()
        client.putcmd("DATA")
        client.getreply()
        client.send(MESSAGE + b".\r\n")
        after = next(s for s in iter(sink.status, None) if s and s.dots)
        client.close()

    assert (before.open, before.busy, before.after_dot) == (1, 1, 0)
    assert (after.open, after.busy, after.after_dot) == (1, 1, 1)


def test_pipelined_commands_are_answered_in_order(sink: Sink) -> None:
    """RFC 2920 §3.1: replies come in the order of the commands, also behind a refused recipient."""
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=5) as client:
        client.ehlo("client.example.net")
        client.send(b"MAIL FROM:<b@x.example>\r\nRCPT TO:<refuse.1@x.example>\r\nDATA\r\nRSET\r\n")
        codes = [client.getreply()[0] for _ in range(4)]

    assert codes == [250, 550, 554, 250]


def test_a_word_and_its_number_are_read_from_the_local_part() -> None:
    assert behaviour_of("defer2.b1@x.example") == ("defer", 2)
    assert behaviour_of("ok.b1@x.example") == ("ok", 0)
