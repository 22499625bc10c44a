"""A command is answered the same whether it comes alone, so that nobody need be woken, or among others."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.listener import Limits
from tests.listener.serving import EHLO, ENVELOPE, Served, serving

CONTENT = b"Subject: x\r\n\r\nhi\r\n.\r\n"
GO_AHEAD = "354 "
LINES = ENVELOPE.splitlines(keepends=True)
LOCALS = ("a", "refused", "broken", "leave", "gone", "late-a", "late-refused", "late-broken", "late-leave")
MAILS = [b"MAIL FROM:<%s@b.example>\r\n" % local.encode() for local in LOCALS]
RCPTS = [b"RCPT TO:<%s@b.example>\r\n" % local.encode() for local in LOCALS]
OTHERS = [
    EHLO, b"NOOP\r\n", b"RSET\r\n", b"DATA\r\n", b"data\r\n", b"DATA now\r\n", b"MAIL\r\n", b"RCPT\r\n",
    b"mail from:<> SIZE=10\r\n", b"MAIL FROM:<a@b.example> SIZE=99999999999\r\n",
    b"RCPT TO:<a@b.example> NOTIFY=WHEN\r\n", b"RCPT TO:<\xff@b.example>\r\n", b"RCPT TO:<a\0@b.example>\r\n",
    b"MAIL FROM:<a\rb@b.example>\r\n", b"RCPT TO:<" + b"a" * 3000 + b"@b.example>\r\n",
    b"MAIL FROM:<a@b.example>\n", b"BDAT 2\r\nhi", b"XYZ\r\n",
]  # fmt: skip
# Mostly in the usual order, or hardly any content would ever be sent.
SCRIPTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(MAILS), st.sampled_from(RCPTS), st.just(b"DATA\r\n")),
        st.sampled_from([*MAILS, *RCPTS, *OTHERS]).map(lambda line: (line,)),
    ),
    max_size=6,
).map(lambda groups: [line for group in groups for line in group])


def one_by_one(served: Served, script: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """What was sent, and all replies after the greeting."""
    sent: list[bytes] = []
    replies: list[str] = []
    with served.client() as client:
        client.reply()
        try:
            for line in [*script, b"QUIT\r\n"]:
                sent.append(line)
                replies.append(client.ask(line))
                if replies[-1].startswith(GO_AHEAD):
                    sent.append(CONTENT)
                    replies.append(client.ask(CONTENT))
        except (EOFError, ConnectionError):
            pass
    return sent, replies


@settings(max_examples=150, deadline=None)
@given(script=SCRIPTS)
def test_alone_as_among_others(shared: Served, script: list[bytes]) -> None:
    began = len(shared.desk.taken)
    sent, replies = one_by_one(shared, [EHLO, *script])
    alone = [(t.reverse_path, t.recipients, t.content) for t in shared.desk.taken[began:]]

    together = shared.talk(b"".join(sent))

    assert [reply[:9] for reply in together] == [reply[:9] for reply in replies]
    among = shared.desk.taken[began + len(alone) :]
    assert [(t.reverse_path, t.recipients, t.content) for t in among] == alone


@pytest.mark.parametrize("pieces", [LINES, [ENVELOPE]], ids=["alone", "together"])
def test_a_desk_may_wait_before_it_answers(served: Served, pieces: list[bytes]) -> None:
    with served.client() as client:
        client.open()
        for piece in pieces:
            client.send(piece.replace(b"<", b"<late-"))
            time.sleep(0.05)

        assert [client.reply().code for _ in range(2)] == [250, 250]
        assert client.ask(b"DATA\r\n").startswith(GO_AHEAD)
        assert client.ask(CONTENT).startswith("250 ")
    [taken] = served.desk.taken
    assert (taken.reverse_path.local, taken.recipients[0].path.local) == ("late-a", "late-b")


@pytest.mark.parametrize("line", [b"MAIL FROM:<gone@b.example>\r\n", b"MAIL FROM:<late-gone@b.example>\r\n"])
def test_a_desk_may_leave_a_command_unanswered(served: Served, line: bytes) -> None:
    with served.client() as client:
        client.open()
        client.send(line)

        assert client.rest() == []


def test_who_goes_while_the_desk_waits_leaves_nothing(served: Served) -> None:
    with served.client() as client:
        client.open()
        client.send(b"MAIL FROM:<stuck@b.example>\r\n")
        assert served.desk.is_waiting.wait(10)
        client.break_off()

    assert served.is_empty_soon()
    assert served.desk.taken == []


def test_who_goes_as_the_desk_begins_to_wait_leaves_nothing(served: Served) -> None:
    """The connection is lost in the turn in which the desk was asked: what it would wait for is closed."""
    with served.client() as client:
        client.open()
        served.stall(0.2)
        client.send(b"MAIL FROM:<stuck@b.example>\r\n")
        client.break_off()

    assert served.is_empty_soon()


def test_what_comes_while_the_desk_waits_is_answered_after_it(served: Served) -> None:
    with served.client() as client:
        client.open()
        client.send(b"MAIL FROM:<stuck@b.example>\r\n")
        assert served.desk.is_waiting.wait(10)
        client.send(b"RCPT TO:<b@b.example>\r\n")
        client.send(b"NOOP\r\n")
        time.sleep(0.05)
        served.desk.release.set()

        assert [client.reply().as_heard()[0][:9] for _ in range(3)] == ["250 2.1.0", "250 2.1.5", "250 2.0.0"]


def test_each_command_of_an_envelope_buys_time_anew() -> None:
    with serving(limits=Limits(idle_seconds=0.4)) as served, served.client() as client:
        client.open()
        client.ask(b"MAIL FROM:<a@b.example>\r\n")
        for _ in range(5):
            time.sleep(0.2)
            assert client.ask(b"RCPT TO:<b@b.example>\r\n").startswith("250 ")

        assert client.rest() == ["421 4.4.2 Timeout; closing the connection"]


def test_content_that_does_not_come_is_not_waited_for() -> None:
    limits = Limits(idle_seconds=30, content_seconds=0.3, bytes_per_second=1000)
    with serving(limits=limits) as served, served.client() as client:
        client.open()
        began = time.monotonic()
        for line in (*LINES, b"DATA\r\n"):
            client.ask(line)

        assert client.rest() == ["421 4.4.2 Timeout; closing the connection"]
        assert time.monotonic() - began < 5


def test_too_many_errors_in_envelopes_end_the_session() -> None:
    with serving(limits=Limits(errors=3)) as served, served.client() as client:
        client.open()
        replies = [client.ask(b"MAIL FROM:<a@b.example> X=1\r\n") for _ in range(3)]

        assert [reply[:3] for reply in replies] == ["555", "555", "421"]
        assert client.rest() == []


def test_a_session_that_lasted_too_long_ends_after_a_command_that_came_alone() -> None:
    with serving(limits=Limits(session_seconds=1.0)) as served, served.client() as client:
        client.open()
        time.sleep(1.2)
        client.send(b"MAIL FROM:<a@b.example>\r\n")
        time.sleep(1.2)
        client.send(b"RCPT TO:<a@b.example>\r\n")

        assert [reply[:9] for reply in client.rest()] == ["250 2.1.0", "250 2.1.5", "421 4.7.0"]
