"""Doors that take a whole message as its submitter wrote it, used octet by octet."""

from __future__ import annotations

import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx

from tests.support.instance import Ready

_REPLY = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*(\d{3}) ([^\r\n]*)\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """To the whole message. is_put_off: it may be tried again. is_proper: as the door's protocol has it."""

    is_accepted: bool
    is_put_off: bool
    is_proper: bool
    words: str
    seconds: float


# A message and its recipient; called for one message after another.
RawDoor = Callable[[bytes, str], Answer]


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


def by_data(ready: Ready) -> AbstractContextManager[RawDoor]:
    """The message's lines, as they are, with dots doubled after every CRLF and the end behind it."""

    def parts(message: bytes) -> tuple[bytes, bytes]:
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        return b"DATA\r\n", stuffed + (b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n")

    return _by_smtp(ready, parts)


def by_bdat(ready: Ready) -> AbstractContextManager[RawDoor]:
    """The very octets, in two chunks (RFC 3030 §2)."""

    def parts(message: bytes) -> tuple[bytes, bytes]:
        first, rest = message[: len(message) // 2], message[len(message) // 2 :]
        return b"BDAT %d\r\n" % len(first) + first, b"BDAT %d LAST\r\n" % len(rest) + rest

    return _by_smtp(ready, parts)


@contextmanager
def _by_smtp(ready: Ready, parts: Callable[[bytes], tuple[bytes, bytes]]) -> Iterator[RawDoor]:
    session = SmtpSession(ready)

    def door(message: bytes, recipient: str) -> Answer:
        assert session.ask(b"MAIL FROM:<app@example.org> BODY=8BITMIME\r\n")[0] == 250
        assert session.ask(b"RCPT TO:<%s>\r\n" % recipient.encode())[0] == 250
        first, rest = parts(message)
        began = time.monotonic()
        code, words = session.ask(first)
        if code < 400:
            code, words = session.ask(rest)
        seconds = time.monotonic() - began
        # Whatever it was, the session is where it should be.
        assert session.ask(b"NOOP\r\n")[0] == 250
        status = words.partition(" ")[0]
        is_proper = re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status) is not None and status[0] == str(code)[0]
        return Answer(code == 250, 400 <= code < 500, is_proper, f"{code} {words}", seconds)

    try:
        yield door
    finally:
        session.close()


@contextmanager
def by_raw(ready: Ready) -> Iterator[RawDoor]:
    """The very octets as the body of a request, the envelope in its header (POST /v1/messages/raw)."""
    headers = {
        "Authorization": f"Bearer {ready.api_key}", "Content-Type": "message/rfc822",
        "X-Mailer-Mail-From": "app@example.org",
    }  # fmt: skip
    with httpx.Client(base_url=ready.http_url, headers=headers, timeout=20, trust_env=False) as client:

        def door(message: bytes, recipient: str) -> Answer:
            began = time.monotonic()
            answer = client.post("/v1/messages/raw", content=message, headers={"X-Mailer-Rcpt-To": recipient})
            seconds = time.monotonic() - began
            code = answer.status_code
            return Answer(
                code == 202, code == 429 or code >= 500, _is_proper(answer), f"{code} {answer.text}", seconds
            )

        yield door


def _is_proper(answer: httpx.Response) -> bool:
    """A receipt, or a problem that says what is wrong (RFC 9457 §3.1)."""
    told = answer.json()
    if answer.status_code == 202:
        return str(told["id"]).startswith("msg_")
    is_problem = answer.headers["content-type"] == "application/problem+json"
    return is_problem and told["status"] == answer.status_code and bool(told["detail"])


DOORS: Mapping[str, Callable[[Ready], AbstractContextManager[RawDoor]]] = {
    "data": by_data, "bdat": by_bdat, "raw": by_raw,
}  # fmt: skip
# They take a file whose lines all end in LF, and end them in CRLF.
MENDS_LINE_ENDS = frozenset({"raw"})
