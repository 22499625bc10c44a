"""An SMTP server that takes everything and keeps every octet its clients sent, as it came off the wire.

Only CRLF ends a command and only CRLF.CRLF a content: what a laxer server would take for an end is for the
tests to look for in `octets`.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_END = b"\r\n.\r\n"
_CAPABILITIES = (
    b"250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600\r\n"
)


@dataclass(frozen=True, slots=True)
class Received:
    """One transaction. wire: content with its stuffing, up to and with the CRLF before the final dot."""

    mail: bytes
    recipients: tuple[str, ...]
    wire: bytes

    @property
    def content(self) -> bytes:
        """Unstuffed (RFC 5321 §4.5.2)."""
        return (b"\r\n" + self.wire).replace(b"\r\n.", b"\r\n")[2:]


@dataclass(slots=True)
class Heard:
    """One connection: all octets, and the command lines among them."""

    octets: bytearray = field(default_factory=bytearray)
    commands: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class RawSink:
    """What was heard so far; read it when nothing more is on its way."""

    port: int = 0
    sessions: list[Heard] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)


class _Session(socketserver.BaseRequestHandler):
    sink: RawSink

    def handle(self) -> None:
        self._heard = Heard()
        self.sink.sessions.append(self._heard)
        self._buffer = bytearray()
        self._mail, self._recipients = b"", list[str]()
        self.request.sendall(b"220 sink.example.net ESMTP\r\n")
        while (line := self._until(b"\r\n")) is not None and not self._obey(line):
            pass

    def _obey(self, line: bytes) -> bool:
        """True at the end of the session."""
        self._heard.commands.append(line)
        match line[:4].upper():
            case b"EHLO":
                self.request.sendall(_CAPABILITIES)
                return False
            case b"MAIL":
                self._mail, self._recipients = line, []
            case b"RCPT":
                self._recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
            case b"DATA":
                self.request.sendall(b"354 go ahead\r\n")
                # DATA's own line end may begin the end of an empty content.
                self._buffer[:0] = b"\r\n"
                content = self._until(_END)
                if content is None:
                    return True
                self.sink.received.append(
                    Received(self._mail, tuple(self._recipients), content[2:] + b"\r\n")
                )
            case b"QUIT":
                self.request.sendall(b"221 bye\r\n")
                return True
        self.request.sendall(b"250 ok\r\n")
        return False

    def _until(self, end: bytes) -> bytes | None:
        """What stood before `end`; None when the client is gone."""
        while (at := self._buffer.find(end)) < 0:
            octets = self.request.recv(1 << 16)
            if not octets:
                return None
            self._buffer += octets
            self._heard.octets += octets
        piece = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return piece


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


@contextmanager
def running_raw_sink() -> Iterator[RawSink]:
    """On loopback, ended with the block."""
    sink = RawSink()
    handler = type("_SessionOfThis", (_Session,), {"sink": sink})
    with _Server(("127.0.0.1", 0), handler) as server:
        sink.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
