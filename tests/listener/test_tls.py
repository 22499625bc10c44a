"""STARTTLS, TLS before the greeting, and AUTH."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.listener.serving import EHLO, ENVELOPE, OneUser, Served, serving
from tests.support.certificates import server_context

RIGHT = b64encode("\0user\0sécret".encode())
WRONG = b64encode(b"\0user\0wrong")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return server_context(tmp_path)


@pytest.fixture
def secure(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], context: ssl.SSLContext
) -> Iterator[Served]:
    with serving(loop_factory, tls=lambda: context, credentials=OneUser()) as served:
        yield served


@pytest.fixture(scope="module")
def clear() -> Iterator[Served]:
    """AUTH without TLS, as the owner may allow."""
    with serving(credentials=OneUser(), auth_in_clear=True) as served:
        yield served


def test_starttls_is_offered_until_it_is_used_and_auth_from_then_on(secure: Served) -> None:
    with secure.client() as client:
        client.reply()
        client.send(EHLO)
        before = client.reply().lines
        client.start_tls()
        client.send(EHLO)
        after = client.reply().lines

        assert "STARTTLS" in before
        assert "AUTH PLAIN LOGIN" not in before
        assert "STARTTLS" not in after
        assert "AUTH PLAIN LOGIN" in after
        assert client.ask(b"STARTTLS\r\n").startswith("503 5.5.1")


def test_a_message_passes_through_tls(secure: Served) -> None:
    with secure.client() as client:
        client.open().start_tls()
        client.send(EHLO + ENVELOPE + b"DATA\r\n")
        assert [client.reply().code for _ in range(4)] == [250, 250, 250, 354]
        client.send(b"x\r\n" * 100_000 + b".\r\n")

        assert client.reply().code == 250
    assert secure.desk.contents == [b"x\r\n" * 100_000]
    assert secure.desk.sessions[0].tls == "TLSv1.3"


def test_what_stands_behind_starttls_in_clear_text_is_dropped(secure: Served) -> None:
    """CVE-2011-0411: no reply to it, no envelope of it."""
    with secure.client() as client:
        client.open().start_tls(extra=b"EHLO evil\r\nMAIL FROM:<evil@b.example>\r\nNOOP")

        assert client.ask(b"NOOP\r\n") == "250 2.0.0 OK"
        assert client.ask(b"RCPT TO:<a@b.example>\r\n").startswith("503 5.5.1")
    assert secure.desk.mails == []


def test_tls_makes_the_server_forget(secure: Served) -> None:
    """RFC 3207 §4.2."""
    with secure.client() as client:
        client.open()
        client.ask(b"MAIL FROM:<a@b.example>\r\n")
        client.start_tls()

        assert client.ask(b"MAIL FROM:<a@b.example>\r\n").startswith("503 5.5.1")


def test_a_failed_handshake_harms_nobody_else(secure: Served) -> None:
    with secure.client() as client:
        client.open()
        client.ask(b"STARTTLS\r\n")
        client.send(b"this is no handshake\r\n" * 20)
        with pytest.raises((EOFError, OSError, Exception)):
            while True:
                client.reply()

    assert secure.talk(b"QUIT\r\n") == ["221 2.0.0 Bye"]


def test_a_certificate_that_cannot_be_read_puts_off() -> None:
    def broken() -> ssl.SSLContext:
        raise OSError

    with serving(tls=broken) as served:
        replies = served.talk(EHLO, b"STARTTLS\r\n", b"NOOP\r\n")

    assert [r[:9] for r in replies[1:]] == ["454 4.7.0", "250 2.0.0"]


def test_tls_may_come_before_the_greeting(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], context: ssl.SSLContext
) -> None:
    """RFC 8314 §3.3."""
    rules = {"tls": lambda: context, "credentials": OneUser()}
    with serving(loop_factory, tls_first=True, **rules) as served, served.client() as client:
        client.wrap()
        assert client.reply().code == 220
        client.send(EHLO)

        assert "AUTH PLAIN LOGIN" in client.reply().lines
        assert client.ask(b"QUIT\r\n") == "221 2.0.0 Bye"


def test_a_handshake_that_is_there_before_we_are_is_heard(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], context: ssl.SSLContext
) -> None:
    """uvloop hands over the first octets before a task can take the transport over."""
    with serving(loop_factory, tls_first=True, tls=lambda: context) as served:
        for _ in range(8):
            served.stall(0.03)
            with served.client() as client:
                client.wrap()
                assert client.reply().code == 220


def test_each_handshake_takes_the_newest_certificate(tmp_path: Path) -> None:
    names = iter(["one.example.net", "two.example.net"])
    with serving(tls=lambda: server_context(tmp_path, next(names))) as served:
        certificates = set()
        for _ in range(2):
            with served.client() as client:
                client.open().start_tls()
                assert isinstance(client.socket, ssl.SSLSocket)
                certificates.add(client.socket.getpeercert(binary_form=True))

    assert len(certificates) == 2


def test_auth_needs_tls(secure: Served) -> None:
    """RFC 4954 §4, §6."""
    replies = secure.talk(EHLO + b"AUTH PLAIN " + RIGHT + b"\r\n")

    assert replies[1].startswith("538 5.7.11")


@pytest.mark.parametrize(
    "lines",
    [
        [b"AUTH PLAIN " + RIGHT],
        [b"auth plain", RIGHT],
        [b"AUTH PLAIN " + b64encode("user\0user\0sécret".encode())],
        [b"AUTH LOGIN", b64encode(b"user"), b64encode("sécret".encode())],
        [b"AUTH LOGIN " + b64encode(b"user"), b64encode("sécret".encode())],
    ],
)
def test_the_right_secret_is_let_in(clear: Served, lines: list[bytes]) -> None:
    with clear.client() as client:
        client.open()
        replies = [client.ask(line + b"\r\n") for line in lines]
        again = client.ask(b"AUTH PLAIN " + RIGHT + b"\r\n")
        client.send(ENVELOPE + b"DATA\r\nx\r\n.\r\n")
        codes = [client.reply().code for _ in range(4)]

    assert [r[:3] for r in replies] == ["334"] * (len(lines) - 1) + ["235"]
    assert again.startswith("503 5.5.1")
    assert codes == [250, 250, 354, 250]
    assert clear.desk.sessions[-1].identity == "user"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([b"AUTH PLAIN " + WRONG], "535 5.7.8"),
        ([b"AUTH PLAIN " + b64encode("other\0user\0sécret".encode())], "535 5.7.8"),
        ([b"AUTH PLAIN " + b64encode(b"\0\0x")], "535 5.7.8"),
        ([b"AUTH PLAIN " + b64encode(b"\0busy\0x")], "454 4.7.0"),
        ([b"AUTH PLAIN ="], "501 5.5.2"),
        ([b"AUTH PLAIN " + b64encode(b"\0user")], "501 5.5.2"),
        ([b"AUTH PLAIN " + b64encode(b"\0\xff\0x")], "501 5.5.2"),
        ([b"AUTH PLAIN !"], "501 5.5.2"),
        ([b"AUTH PLAIN AAA"], "501 5.5.2"),
        ([b"AUTH PLAIN " + RIGHT + b" more"], "501 5.5.4"),
        ([b"AUTH"], "501 5.5.4"),
        ([b"AUTH CRAM-MD5"], "504 5.5.4"),
        ([b"AUTH PLAIN", b"*"], "501 5.7.0"),
        ([b"AUTH LOGIN", b"*"], "501 5.7.0"),
        ([b"AUTH LOGIN", b"====="], "501 5.5.2"),
        ([b"AUTH PLAIN", b"A" * 13_000], "500 5.5.6"),
        ([b"AUTH PLAIN " + b"A" * 12_000], "501 5.5.2"),
        ([b"MAIL FROM:<a@b.example> AUTH=<>", b"AUTH PLAIN " + RIGHT], "503 5.5.1"),
    ],
)
def test_anything_else_is_not(clear: Served, lines: list[bytes], answer: str) -> None:
    """RFC 4954 §4, §6; the session goes on."""
    with clear.client() as client:
        client.open()
        replies = [client.ask(line + b"\r\n") for line in lines]

        assert replies[-1].startswith(answer)
        assert client.ask(b"NOOP\r\n") == "250 2.0.0 OK"


def test_the_third_failure_ends_the_session(clear: Served) -> None:
    replies = clear.talk(EHLO + (b"AUTH PLAIN " + WRONG + b"\r\n") * 4)

    assert [r[:9] for r in replies[1:]] == ["535 5.7.8", "535 5.7.8", "421 4.7.0"]


def test_a_bare_line_feed_in_an_exchange_ends_the_session(clear: Served) -> None:
    replies = clear.talk(EHLO + b"AUTH PLAIN\r\n" + RIGHT + b"\nNOOP\r\n")

    assert [r[:9] for r in replies[1:]] == ["334", "500 5.5.2"]


def test_a_certificate_that_cannot_be_read_closes_the_port_of_tls(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> ssl.SSLContext:
        raise OSError

    with serving(tls_first=True, tls=broken) as served, served.client() as client:
        assert client.rest() == []
    assert "no_certificate" in capsys.readouterr().out


def test_requiretls_is_offered_and_understood_over_tls_only(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], context: ssl.SSLContext
) -> None:
    """RFC 8689 §2."""
    mail = b"MAIL FROM:<a@b.example> REQUIRETLS\r\n"
    rules = {"tls": lambda: context, "keeps_requiretls": True}
    with serving(loop_factory, **rules) as served, served.client() as client:
        client.reply()
        client.send(EHLO)
        before = client.reply().lines
        in_clear = client.ask(mail)
        client.start_tls()
        client.send(EHLO)
        after = client.reply().lines
        wrong = client.ask(mail.replace(b"TLS\r", b"TLS=1\r"))

        assert client.ask(mail).startswith("250")
    assert "REQUIRETLS" not in before
    assert in_clear.startswith("555 5.5.4")
    assert "REQUIRETLS" in after
    assert wrong.startswith("501 5.5.4")


def test_an_owner_that_does_not_keep_requiretls_does_not_offer_it(secure: Served) -> None:
    with secure.client() as client:
        client.open().start_tls()
        client.send(EHLO)

        assert "REQUIRETLS" not in client.reply().lines
        assert client.ask(b"MAIL FROM:<a@b.example> REQUIRETLS\r\n").startswith("555 5.5.4")
