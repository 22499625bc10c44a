"""The inbox over real SMTP: what it promises, takes and refuses."""

from __future__ import annotations

import mailbox
import smtplib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from mailer.report.inbox import serve_inbox
from mailer.report.serving import Server

CONTENT = b"Subject: hello\r\nFrom: a@sender.example\r\n\r\nfirst\r\n"


def connect(inbox: Server) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", inbox.port, local_hostname="client.example", timeout=10)
    client.ehlo()
    return client


def send(inbox: Server, content: bytes, *recipients: str, reverse_path: str = "a@sender.example") -> None:
    with connect(inbox) as client:
        client.sendmail(reverse_path, recipients or ["b@receiver.example"], content)


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "new").iterdir())]


def talk(inbox: Server, sent: bytes) -> bytes:
    """Writes `sent` in one piece and returns all that is answered until the inbox closes."""
    with socket.create_connection(("127.0.0.1", inbox.port), timeout=10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def trusting_nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_a_message_is_kept_under_its_trace_fields_and_byte_for_byte(inbox: Server, folder: Path) -> None:
    """RFC 5321 §4.4: Return-Path first, on final delivery."""
    send(inbox, CONTENT)

    [kept] = files(folder)
    assert kept.startswith(
        b"Return-Path: <a@sender.example>\r\nDelivered-To: b@receiver.example\r\nReceived: from "
    )
    assert kept.endswith(b"+0000\r\n" + CONTENT)


def test_the_standard_library_reads_what_was_kept(inbox: Server, folder: Path) -> None:
    send(inbox, CONTENT)

    [message] = mailbox.Maildir(str(folder), create=False)
    assert message["Subject"] == "hello"
    assert "by inbox.localhost with ESMTP id" in " ".join(message["Received"].split())


def test_every_recipient_has_a_copy_that_names_no_other(inbox: Server, folder: Path) -> None:
    send(inbox, CONTENT, "b@receiver.example", "c@other.example")

    first, second = files(folder)
    assert b"b@receiver.example" in first and b"c@other.example" not in first
    assert b"c@other.example" in second and b"b@receiver.example" not in second


def test_the_null_reverse_path_is_taken(inbox: Server, folder: Path) -> None:
    """RFC 5321 §4.5.5."""
    send(inbox, CONTENT, reverse_path="")

    [kept] = files(folder)
    assert kept.startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize(
    ("content", "stuffed"),
    [
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b".\r\n..\r\n.a\r\n", b"..\r\n...\r\n..a\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
        (b"\xff\xfe caf\xe9\r\n", b"\xff\xfe caf\xe9\r\n.\r\n"),
        (b"x" * 200_000 + b"\r\n", b"x" * 200_000 + b"\r\n.\r\n"),
    ],
)
def test_content_is_unstuffed_and_otherwise_untouched(
    inbox: Server, folder: Path, content: bytes, stuffed: bytes
) -> None:
    """RFC 5321 §4.5.2; and only CRLF.CRLF ends it (§4.1.1.4), whatever else looks like an end."""
    talk(inbox, b"EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n" + stuffed + b"QUIT\r\n")

    [kept] = files(folder)
    assert kept.partition(b"+0000\r\n")[2] == content


@pytest.mark.parametrize("content", [b"a\n.\nb\r\n", b"a\r.\rb\r\n", b"a\0\r\n"])
def test_content_that_hosts_of_the_world_refuse_is_refused(
    inbox: Server, folder: Path, content: bytes
) -> None:
    """RFC 5321 §2.3.8: a bare CR or LF, or NUL."""
    answers = talk(
        inbox, b"EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n" + content + b".\r\nQUIT\r\n"
    )

    assert b"\r\n550 5.6.0 " in answers
    assert files(folder) == []


@pytest.mark.parametrize("cut", range(1, 8))
def test_the_end_is_found_wherever_the_network_cuts_it(inbox: Server, folder: Path, cut: int) -> None:
    tail = b"z\r\n.\r\nQUIT\r\n"
    with socket.create_connection(("127.0.0.1", inbox.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = connection.makefile("rb")
        for command in (b"", b"HELO c\r\n", b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<d@e.f>\r\n", b"DATA\r\n"):
            connection.sendall(command)
            lines.readline()
        connection.sendall(tail[:cut])
        connection.sendall(tail[cut:])
        lines.read()
        lines.close()

    [kept] = files(folder)
    assert kept.endswith(b"\r\nz\r\n")


def test_pipelined_messages_are_told_apart(inbox: Server, folder: Path) -> None:
    """RFC 2920 §3.1: the next envelope may ride behind the final dot."""
    one = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: %d\r\n\r\n.\r\n"
    answers = talk(inbox, b"EHLO c\r\n" + one % 1 + one % 2 + one % 3 + b"QUIT\r\n")

    assert answers.count(b"250 2.0.0 Kept as ") == 3
    assert [kept.partition(b"Subject: ")[2][:1] for kept in files(folder)] == [b"1", b"2", b"3"]


def test_what_it_offers(inbox: Server) -> None:
    with connect(inbox) as client:
        clear = set(client.esmtp_features)
        client.starttls(context=trusting_nobody())
        client.ehlo()
        encrypted = set(client.esmtp_features)

    assert clear == {
        "size", "8bitmime", "smtputf8", "starttls", "pipelining", "chunking", "enhancedstatuscodes", "help"
    }  # fmt: skip
    assert encrypted == clear - {"starttls"}
    assert client.esmtp_features["size"] == str(40 * 1024 * 1024)


def test_tls_is_said_in_the_trace(inbox: Server, folder: Path) -> None:
    """RFC 3848: ESMTPS."""
    with connect(inbox) as client:
        client.starttls(context=trusting_nobody())
        client.ehlo()
        client.sendmail("a@sender.example", ["b@receiver.example"], CONTENT)

    [kept] = files(folder)
    assert b" with ESMTPS id " in kept


def test_an_internationalised_address_is_kept_as_utf8(inbox: Server, folder: Path) -> None:
    """RFC 6531 §3.4, §4.3."""
    with connect(inbox) as client:
        client.sendmail("jürgen@sender.example", ["δοκιμή@receiver.example"], CONTENT, ["SMTPUTF8"])

    [kept] = files(folder)
    assert kept.startswith("Return-Path: <jürgen@sender.example>\r\nDelivered-To: δοκιμή@rec".encode())
    assert b" with UTF8SMTP id " in kept


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (b"<a\rX: y@receiver.example>", b"500 5.5.2 "),
        (b'<"a\rX: y"@receiver.example>', b"500 5.5.2 "),
        (b"<\xff@receiver.example>", b"500 5.5.2 "),
        (b"<a\x00@b.c>", b"500 5.5.2 "),
        (b"<>", b"501 5.1.3 "),
    ],
)
def test_an_address_that_could_forge_a_field_is_refused(
    inbox: Server, folder: Path, path: bytes, answer: bytes
) -> None:
    answers = talk(inbox, b"EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:" + path + b"\r\nDATA\r\nQUIT\r\n")

    assert b"\r\n" + answer in answers
    assert b"\r\n554 5.5.1 No valid recipients" in answers


def test_an_ehlo_name_cannot_forge_a_field(inbox: Server, folder: Path) -> None:
    talk(inbox, b"EHLO a;X-Forged:(y\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\nQUIT\r\n")

    [kept] = files(folder)
    assert b"Received: from a?X-Forged:?y ([127.0.0.1])\r\n" in kept


def test_too_large_a_message_is_read_to_its_end_and_refused(inbox: Server, folder: Path) -> None:
    """RFC 1870 §6.3; the session goes on."""
    line = b"x" * 1022 + b"\r\n"
    with connect(inbox) as client:
        client.docmd("MAIL", "FROM:<a@b.c>")
        client.docmd("RCPT", "TO:<d@e.f>")
        client.docmd("DATA")
        client.sock.sendall(line * (41 * 1024) + b".\r\n")
        refused = client.getreply()
        client.sendmail("a@b.c", ["d@e.f"], CONTENT)

    assert refused == (552, b"5.3.4 Message is larger than this server takes")
    assert len(files(folder)) == 1


def test_size_is_refused_before_data(inbox: Server) -> None:
    """RFC 1870 §6.1."""
    with connect(inbox) as client:
        assert client.docmd("MAIL", f"FROM:<a@b.c> SIZE={41 * 1024 * 1024}")[0] == 552


def test_recipients_beyond_the_limit_are_put_off(inbox: Server) -> None:
    """RFC 5321 §4.5.3.1.10: 452, so that the client sends the rest in another transaction."""
    rcpt = b"".join(b"RCPT TO:<u%d@e.f>\r\n" % n for n in range(1001))
    answers = talk(inbox, b"EHLO c\r\nMAIL FROM:<a@b.c>\r\n" + rcpt + b"QUIT\r\n")

    assert answers.count(b"250 2.1.5 ") == 1000
    assert answers.count(b"452 4.5.3 ") == 1


def test_a_folder_that_cannot_be_written_puts_the_mail_off(inbox: Server, folder: Path) -> None:
    (folder / "tmp").rename(folder / "gone")
    with connect(inbox) as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail("a@b.c", ["d@e.f"], CONTENT)

    assert (refused.value.smtp_code, refused.value.smtp_error) == (452, b"4.3.1 The inbox cannot be written")


def test_a_client_that_leaves_amid_data_leaves_nothing(inbox: Server, folder: Path) -> None:
    with socket.create_connection(("127.0.0.1", inbox.port), timeout=10) as connection:
        connection.sendall(b"EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhalf a mess")
        connection.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answers.rstrip().endswith(b"354 End data with <CR><LF>.<CR><LF>")
    assert files(folder) == []


def test_stopping_tells_the_sessions(folder: Path, tmp_path: Path) -> None:
    """RFC 5321 §3.8: 421 before the connection goes."""
    inbox = serve_inbox("127.0.0.1", 0, folder, tmp_path / "tls")
    with connect(inbox) as client:
        inbox.stop()
        last = client.sock.recv(1024)
        client.close()

    assert last.startswith(b"421 4.3.2 ")
    assert not [thread for thread in threading.enumerate() if thread.name == "inbox"]


def test_a_port_in_use_is_an_error_at_once(inbox: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="address already in use"):
        serve_inbox("127.0.0.1", inbox.port, tmp_path / "other", tmp_path / "tls")


def test_many_clients_at_once_lose_nothing(inbox: Server, folder: Path) -> None:
    threads = [threading.Thread(target=lambda: [send(inbox, CONTENT) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(files(folder)) == 80
