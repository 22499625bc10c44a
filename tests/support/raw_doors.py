"""Doors that take a whole message as its submitter wrote it, used octet by octet.

A further one (`POST /v1/messages/raw`) is a function more in DOORS.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.instance import Ready

_REPLY = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*(\d{3}) ([^\r\n]*)\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """To the whole message. is_proper: of the form that the door's protocol has for it."""

    is_accepted: bool
    is_proper: bool
    words: str
    seconds: float


RawDoor = Callable[[Ready, bytes, str], Answer]


class SmtpSession:
    """One authenticated session over STARTTLS, nothing checked and nothing added."""

    def __init__(self, ready: Ready) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection((ready.smtp_host, ready.smtp_port), timeout=20)
        self._socket: socket.socket = plain
        self._buffer = b""
        self.reply()
        self.ask(b"EHLO client.example.org\r\n")
        self.ask(b"STARTTLS\r\n")
        self._socket = context.wrap_socket(plain)
        self.ask(b"EHLO client.example.org\r\n")
        self.ask(b"AUTH PLAIN " + b64encode(b"\0any\0" + ready.api_key.encode()) + b"\r\n")

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def ask(self, octets: bytes) -> tuple[int, str]:
        self.send(octets)
        return self.reply()

    def reply(self) -> tuple[int, str]:
        """Code and words of the last line. Fails where it is no reply, or none comes."""
        while (found := _REPLY.match(self._buffer)) is None:
            octets = self._socket.recv(1 << 16)
            assert octets, f"the connection ended instead of a reply, after {self._buffer!r}"
            self._buffer += octets
        self._buffer = self._buffer[found.end() :]
        return int(found[1]), found[2].decode()

    def close(self) -> None:
        self._socket.close()


def by_data(ready: Ready, message: bytes, recipient: str) -> Answer:
    """The message's lines, as they are, with dots doubled after every CRLF and the end behind it."""
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    end = b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n"
    return _by_smtp(ready, recipient, b"DATA\r\n", stuffed + end)


def by_bdat(ready: Ready, message: bytes, recipient: str) -> Answer:
    """The very octets, in two chunks (RFC 3030 §2)."""
    half = len(message) // 2
    first = b"BDAT %d\r\n" % half + message[:half]
    return _by_smtp(ready, recipient, first, b"BDAT %d LAST\r\n" % (len(message) - half) + message[half:])


def _by_smtp(ready: Ready, recipient: str, first: bytes, rest: bytes) -> Answer:
    session = SmtpSession(ready)
    try:
        assert session.ask(b"MAIL FROM:<app@example.org> BODY=8BITMIME\r\n")[0] == 250
        assert session.ask(b"RCPT TO:<%s>\r\n" % recipient.encode())[0] == 250
        began = time.monotonic()
        code, words = session.ask(first)
        if code < 400:
            code, words = session.ask(rest)
        seconds = time.monotonic() - began
        # Whatever it was, the session is where it should be.
        assert session.ask(b"NOOP\r\n")[0] == 250
    finally:
        session.close()
    status = words.partition(" ")[0]
    is_proper = re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status) is not None and status[0] == str(code)[0]
    return Answer(code == 250, is_proper, f"{code} {words}", seconds)


DOORS: Mapping[str, RawDoor] = {"data": by_data, "bdat": by_bdat}
