"""The session over real sockets: what is answered to what, and when the server has had enough."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest
import structlog

from mailer.listener import Limits
from tests.listener.serving import EHLO, ENVELOPE, Client, Served, serving


def test_ehlo_tells_what_the_server_can(served: Served) -> None:
    with served.client() as client:
        greeting = client.reply()
        client.send(EHLO)
        lines = client.reply().lines

    assert (greeting.code, greeting.lines) == (220, ("mx.example.net ESMTP",))
    assert lines == (
        "mx.example.net", "SIZE 41943040", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN",
        "ENHANCEDSTATUSCODES", "CHUNKING", "HELP",
    )  # fmt: skip


def test_a_message_passes_from_ehlo_to_quit(served: Served) -> None:
    with served.client() as client:
        client.open()
        replies = [client.ask(line + b"\r\n") for line in ENVELOPE.split(b"\r\n")[:-1]]
        replies += [
            client.ask(b"DATA\r\n"),
            client.ask(b"Subject: x\r\n\r\nhi\r\n.\r\n"),
            client.ask(b"QUIT\r\n"),
        ]
        rest = client.rest()

    assert [r[:9] for r in replies] == [
        "250 2.1.0", "250 2.1.5", "354 End d", "250 2.6.0", "221 2.0.0",
    ]  # fmt: skip
    assert rest == []
    assert served.desk.contents == [b"Subject: x\r\n\r\nhi\r\n"]


def test_everything_in_one_segment_is_answered_in_order(served: Served) -> None:
    """RFC 2920 §3.1, §3.2; also with the content behind DATA, which a client ought not to send so early."""
    one = ENVELOPE + b"DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n"

    replies = served.talk(EHLO + one + one + b"NOOP\r\nQUIT\r\n")

    assert [r[:3] for r in replies] == ["250"] + ["250", "250", "354", "250"] * 2 + ["250", "221"]
    assert served.desk.contents == [b"Subject: x\r\n\r\nhi\r\n"] * 2


def test_commands_may_come_an_octet_at_a_time(served: Served) -> None:
    octets = EHLO + ENVELOPE + b"DATA\r\nx\r\n.\r\nQUIT\r\n"

    replies = served.talk(*[octets[i : i + 1] for i in range(len(octets))])

    assert [r[:3] for r in replies] == ["250", "250", "250", "354", "250", "221"]
    assert served.desk.contents == [b"x\r\n"]


@pytest.mark.parametrize(
    ("before", "command", "answer"),
    [
        (b"", b"MAIL FROM:<a@b.example>", "503 5.5.1"),
        (b"", b"RCPT TO:<a@b.example>", "503 5.5.1"),
        (b"", b"DATA", "503 5.5.1"),
        (b"", b"BDAT 0 LAST", "503 5.5.1"),
        (b"", b"HELO", "501 5.5.4"),
        (b"", b"EHLO", "501 5.5.4"),
        (b"", b"EHLO two words", "501 5.5.4"),
        (b"", b"EHLO " + b"a" * 256, "501 5.5.4"),
        (b"", b"HELO client.example", "250 mx.example.net"),
        (b"", b"ehlo [192.0.2.1]", "250 HELP"),
        (b"", "EHLO büro-pc".encode(), "250 HELP"),
        (b"", b"NOOP anything at all", "250 2.0.0"),
        (b"", b"NoOp", "250 2.0.0"),
        (b"", b"HELP", "214 2.0.0"),
        (b"", b"HELP MAIL", "214 2.0.0"),
        (b"", b"VRFY someone", "252 2.0.0"),
        (b"", b"VRFY", "501 5.5.4"),
        (b"", b"EXPN list", "502 5.5.1"),
        (b"", b"RSET", "250 2.0.0"),
        (b"", b"RSET now", "501 5.5.4"),
        (b"", b"QUIT now", "501 5.5.4"),
        (b"", b"AUTH PLAIN", "502 5.5.1"),
        (b"", b"STARTTLS", "502 5.5.1"),
        (b"", b"WHAT", "500 5.5.1"),
        (b"", b"", "500 5.5.1"),
        (b"", b" NOOP", "500 5.5.1"),
        (b"", b"NOOP\tx", "500 5.5.1"),
        (b"", b"NOOP \xff", "500 5.5.2"),
        (b"", b"NOOP \0", "500 5.5.2"),
        (b"", b"NOOP a\rb", "500 5.5.2"),
        (b"", b"NOOP\r", "500 5.5.2"),
        (b"", b"NOOP " + b"x" * 2041, "250 2.0.0"),
        (b"", b"NOOP " + b"x" * 2042, "500 5.5.2"),
        (b"", b"NOOP " + b"x" * 200_000, "500 5.5.2"),
        (EHLO, b"RCPT TO:<a@b.example>", "503 5.5.1"),
        (EHLO, b"DATA", "503 5.5.1"),
        (EHLO, b"MAIL", "501 5.5.4"),
        (EHLO, b"MAIL TO:<a@b.example>", "501 5.5.4"),
        (EHLO, b"MAIL FROM:", "501 5.1.7"),
        (EHLO, b"MAIL FROM:<a@>", "501 5.1.7"),
        (EHLO, b"MAIL FROM:<a@b.example>SIZE=1", "501 5.5.4"),
        (EHLO, b"MAIL FROM:<a@b.example> X=1", "555 5.5.4"),
        (EHLO, b"MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
        (EHLO, b"MAIL FROM:<a@b.example> AUTH=<>", "555 5.5.4"),
        (EHLO, b"MAIL FROM:<a@b.example> SIZE=41943040", "250 2.1.0"),
        (EHLO, b"MAIL FROM:<a@b.example> SIZE=41943041", "552 5.3.4"),
        (EHLO, b"MAIL FROM:<refused@b.example>", "550 5.1.1"),
        (EHLO, b"MAIL FROM:<broken@b.example>", "451 4.3.0"),
        (EHLO, b"MAIL FROM:<leave@b.example>", "421 4.7.0"),
        (EHLO, b"mail from: <> body=8bitmime smtputf8 ret=hdrs envid=+41", "250 2.1.0"),
        (EHLO, "MAIL FROM:<ä@b.example>".encode(), "553 5.6.7"),
        (EHLO, "MAIL FROM:<ä@b.example> SMTPUTF8".encode(), "250 2.1.0"),
        (b"HELO c.example\r\n", b"MAIL FROM:<a@b.example> SIZE=1", "555 5.5.4"),
        (EHLO + ENVELOPE, b"MAIL FROM:<a@b.example>", "503 5.5.1"),
        (EHLO + ENVELOPE, b"RCPT FROM:<a@b.example>", "501 5.5.4"),
        (EHLO + ENVELOPE, b"RCPT TO:<>", "501 5.1.3"),
        (EHLO + ENVELOPE, b"RCPT TO:<Postmaster>", "250 2.1.5"),
        (EHLO + ENVELOPE, b"RCPT TO:<refused@b.example>", "550 5.1.1"),
        (EHLO + ENVELOPE, b"RCPT TO:<a@b.example> SIZE=1", "555 5.5.4"),
        (EHLO + ENVELOPE, b"RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        (EHLO + ENVELOPE, "RCPT TO:<ä@b.example>".encode(), "553 5.6.7"),
        (EHLO + ENVELOPE, b"DATA now", "501 5.5.4"),
        (EHLO + b"MAIL FROM:<a@b.example>\r\n", b"DATA", "554 5.5.1"),
        (EHLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<refused@b.example>\r\n", b"DATA", "554 5.5.1"),
        (EHLO + ENVELOPE + b"RSET\r\n", b"DATA", "503 5.5.1"),
        (EHLO + ENVELOPE + EHLO, b"DATA", "503 5.5.1"),
    ],
)  # fmt: skip
def test_a_command_has_its_reply(shared: Served, before: bytes, command: bytes, answer: str) -> None:
    """RFC 5321 §4.2.4, §4.3.2; RFC 2034 §4: an enhanced status wherever one belongs."""
    replies = shared.talk(before + command + b"\r\n")

    assert replies[-1].startswith(answer)


def test_a_line_too_long_does_not_spoil_the_next(served: Served) -> None:
    replies = served.talk(EHLO, b"NOOP " + b"x" * 100_000 + b"\r\nNOOP\r\n")

    assert [r[:9] for r in replies[1:]] == ["500 5.5.2", "250 2.0.0"]


@pytest.mark.parametrize(
    "injected",
    [b"NOOP\n" + ENVELOPE, b"NOOP x" + b"y" * 20_000 + b"\n" + ENVELOPE, b"\n"],
    ids=["short", "long", "alone"],
)
def test_a_bare_line_feed_ends_the_session(served: Served, injected: bytes) -> None:
    """RFC 5321 §2.3.8. One party's line end is the other's injected command: nothing behind it is read."""
    replies = served.talk(EHLO, injected + b"NOOP\r\n")

    assert [r[:9] for r in replies[1:]] == ["500 5.5.2"]
    assert served.desk.mails == []


def test_a_web_browser_is_shown_the_door(served: Served) -> None:
    replies = served.talk(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + EHLO + ENVELOPE)

    assert [r[:9] for r in replies] == ["502 5.7.0"]


def test_too_many_bad_commands_end_the_session(served: Served) -> None:
    replies = served.talk(b"WHAT\r\n" * 12)

    assert [r[:9] for r in replies] == ["500 5.5.1"] * 9 + ["421 4.7.0"]


def test_refused_recipients_are_no_errors_of_the_session(served: Served) -> None:
    bad = b"RCPT TO:<refused@b.example>\r\nRCPT TO:<no-domain>\r\n"

    replies = served.talk(EHLO + ENVELOPE + bad * 20 + b"QUIT\r\n")

    assert [r[:3] for r in replies[3:]] == ["550", "501"] * 20 + ["221"]


def test_an_error_of_the_desk_ends_the_transaction_only(served: Served) -> None:
    replies = served.talk(
        EHLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<brokendot@b.example>\r\nDATA\r\nx\r\n.\r\n" + ENVELOPE
    )

    assert [r[:9] for r in replies[4:]] == ["451 4.3.0", "250 2.1.0", "250 2.1.5"]


def test_a_desk_may_leave_a_message_unanswered(served: Served) -> None:
    envelope = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<vanish@b.example>\r\nDATA\r\n"
    replies = served.talk(EHLO + envelope + b"x\r\n.\r\n" + ENVELOPE)

    assert replies[-1].startswith("354 ")
    assert len(served.desk.taken) == 1


def test_a_recipient_is_judged_beside_its_sender(served: Served) -> None:
    served.talk(EHLO + ENVELOPE + b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@receiver.example>\r\n")

    assert [sender and sender.text for sender in served.desk.senders] == ["a@sender.example", ""]


def test_an_error_is_logged_without_what_it_was_about() -> None:
    with structlog.testing.capture_logs() as logs, serving() as served:
        served.talk(EHLO + b"MAIL FROM:<broken@b.example>\r\n")
        assert served.is_empty_soon()

    [line] = [entry for entry in logs if entry["event"] == "listener.failed"]
    assert line["cause"] == "RuntimeError"
    assert line["at"][-1].startswith("serving.py:")
    assert "example" not in repr(line)
    assert "desk" not in repr(line)


def test_the_desk_learns_the_envelope(served: Served) -> None:
    served.talk(
        EHLO
        + b"MAIL FROM:<a@b.example> SIZE=3 RET=FULL ENVID=QQ+2B1\r\n"
        + b"RCPT TO:<@relay.example:c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+40y.example\r\n"
        + b"DATA\r\nx\r\n.\r\n"
    )

    [transaction] = served.desk.taken
    [recipient] = transaction.recipients
    assert (transaction.reverse_path.text, transaction.parameters.envid) == ("a@b.example", "QQ+1")
    assert (transaction.parameters.size, transaction.parameters.ret) == (3, "FULL")
    assert (recipient.path.text, recipient.parameters.orcpt) == ("c@d.example", ("rfc822", "x@y.example"))
    assert sorted(recipient.parameters.notify) == ["DELAY", "SUCCESS"]
    assert (served.desk.sessions[0].host_name, served.desk.sessions[0].peer) == (
        "client.example",
        "127.0.0.1",
    )


def test_recipients_have_a_limit() -> None:
    with serving(limits=Limits(recipients=2)) as served:
        replies = served.talk(EHLO + ENVELOPE + b"RCPT TO:<c@d.example>\r\n" * 2 + b"DATA\r\nx\r\n.\r\n")

        assert [r[:9] for r in replies[3:]] == ["250 2.1.5", "452 4.5.3", "354 End d", "250 2.6.0"]
        assert len(served.desk.taken[0].recipients) == 2


def test_a_connection_brings_so_many_messages() -> None:
    with serving(limits=Limits(messages=1)) as served:
        replies = served.talk(EHLO + ENVELOPE + b"DATA\r\nx\r\n.\r\n" + ENVELOPE)

    assert [r[:9] for r in replies[4:]] == ["250 2.6.0", "421 4.7.0"]


@pytest.mark.parametrize("limits", [Limits(connections=2), Limits(connections_per_peer=2)])
def test_connections_have_a_limit(limits: Limits) -> None:
    with serving(limits=limits) as served, ExitStack() as stack:
        first, _second, third = (stack.enter_context(served.client()) for _ in range(3))

        assert third.rest() == ["421 4.7.0 Too many connections; try again later"]
        first.reply()
        assert first.ask(b"QUIT\r\n") == "221 2.0.0 Bye"
        assert first.rest() == []
        assert _soon_welcome(served)


def _soon_welcome(served: Served) -> bool:
    """The server forgets a connection a moment after the client saw it end."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with served.client() as client:
            if client.reply().code == 220:
                return True
    return False


@pytest.mark.parametrize("sent", [b"", b"NO", b"NOOP " + b"x" * 20_000], ids=["nothing", "half", "long"])
def test_silence_before_a_command_ends_the_session(sent: bytes) -> None:
    """RFC 5321 §4.5.3.2.7."""
    with serving(limits=Limits(idle_seconds=0.2)) as served, served.client() as client:
        client.open()
        client.send(sent)

        assert client.rest() == ["421 4.4.2 Timeout; closing the connection"]


def test_half_a_command_does_not_buy_time() -> None:
    with serving(limits=Limits(idle_seconds=0.4)) as served, served.client() as client:
        client.open()
        began = time.monotonic()
        for _ in range(6):
            client.send(b"N")
            time.sleep(0.1)

        assert client.rest() == ["421 4.4.2 Timeout; closing the connection"]
        assert time.monotonic() - began < 2


def test_content_that_drips_is_not_waited_for() -> None:
    limits = Limits(idle_seconds=30, content_seconds=0.3, bytes_per_second=1000)
    with serving(limits=limits) as served, served.client() as client:
        client.open()
        client.send(ENVELOPE + b"DATA\r\n")
        for _ in range(5):
            client.send(b"x\r\n")
            time.sleep(0.1)

        assert client.rest()[2:] == [
            "354 End data with <CR><LF>.<CR><LF>",
            "421 4.4.2 Timeout; closing the connection",
        ]
        assert served.desk.taken == []


def test_a_session_does_not_last_for_ever() -> None:
    with serving(limits=Limits(session_seconds=0.5)) as served, served.client() as client:
        client.open()
        client.send(ENVELOPE)
        time.sleep(0.6)
        client.send(b"DATA\r\nx\r\n.\r\nNOOP\r\n")

        assert [r[:9] for r in client.rest()[2:]] == ["354 End d", "250 2.6.0", "421 4.7.0"]


def test_an_open_transaction_does_not_keep_a_session_for_ever() -> None:
    with serving(limits=Limits(session_seconds=0.5)) as served, served.client() as client:
        client.open()
        client.send(ENVELOPE)
        time.sleep(1.2)
        client.send(b"NOOP\r\nNOOP\r\n")

        assert [r[:9] for r in client.rest()[2:]] == ["250 2.0.0", "421 4.7.0"]


def test_who_does_not_read_its_replies_is_dropped() -> None:
    """Replies wait in bounded memory: the server stops reading, and then waiting."""
    with serving(limits=Limits(idle_seconds=0.5, linger_seconds=0.2)) as served, served.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(5)
        with pytest.raises(OSError):
            _send_for_ever(client)

        assert served.is_empty_soon()


def _send_for_ever(client: Client) -> None:
    while True:
        try:
            client.send(b"HELP\r\n" * 10_000)
        except TimeoutError:
            raise AssertionError("the server went on reading") from None


def test_a_session_leaves_one_line_without_addresses_in_the_log() -> None:
    with structlog.testing.capture_logs() as logs, serving() as served:
        served.talk(EHLO + ENVELOPE + b"DATA\r\nsecret\r\n.\r\nQUIT\r\n")
        assert served.is_empty_soon()

    [line] = logs
    assert (line["event"], line["end"], line["messages"], line["errors"]) == (
        "listener.session_ended",
        "quit",
        1,
        0,
    )
    assert "example" not in repr(line)
    assert "secret" not in repr(line)
