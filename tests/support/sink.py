"""An SMTP sink that misbehaves on request and keeps its own record of every final dot.

The local part of a recipient says what happens to it: `<behaviour><n>.<anything unique>`.

    ok            250 after the common delay
    slow<n>       250 after n tenths of a second
    defer<n>      451 to RCPT the first n times, then ok
    deferdot<n>   451 to the final dot the first n times, then ok
    refuse        550 to RCPT
    refusedot     554 to the final dot
    hangbefore    DATA is never answered the first time, nor is content by BDAT; then ok
    hangafter     the final dot is never answered the first time, the message is not kept, then ok
    hangkept      the same, but the message is kept
    dropbefore    the connection is reset at DATA or BDAT the first time, then ok
    dropafter     the connection is reset after the final dot the first time, not kept, then ok
    dropkept      the same, but the message is kept

One line of JSON is written to the record before the dot is answered, with one write call: a message that
the product was told about is always on record. Run as `python -m tests.support.sink RECORD DELAY [chunking]`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[2]
KEPT = frozenset({"accepted", "hung-kept", "dropped-kept"})
UNANSWERED = frozenset({"hung", "hung-kept", "dropped", "dropped-kept"})

_ADDRESS = re.compile(rb"<([^>]*)>")
_TOKEN = re.compile(rb"^subject:[^\n]*?bid=([A-Za-z0-9-]+)", re.IGNORECASE | re.MULTILINE)
_BEHAVIOUR = re.compile(r"([a-z]+)(\d*)")
_CAPABILITIES = (
    b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 41943040\r\n250 ENHANCEDSTATUSCODES\r\n"
)
_WITH_CHUNKING = b"250-sink\r\n250-CHUNKING" + _CAPABILITIES.removeprefix(b"250-sink")


@dataclass(frozen=True, slots=True)
class DotRead:
    """One recipient of one message whose final dot was read. did: what the sink then did."""

    ns: int
    session: int
    bid: str
    recipient: str
    did: str

    @property
    def kept(self) -> bool:
        return self.did in KEPT


@dataclass(frozen=True, slots=True)
class Status:
    """open: sessions; busy: those within a transaction; after_dot: those whose dot is not yet answered."""

    open: int
    busy: int
    after_dot: int
    dots: int


@dataclass(slots=True)
class Book:
    """What the sessions of one sink share."""

    record_fd: int
    delay_seconds: float
    offers_chunking: bool
    sessions: set[Session] = field(default_factory=set)
    tries: Counter[str] = field(default_factory=Counter)
    dots: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def note(self, session: int, bid: str, recipient: str, did: str) -> None:
        fact = {"ns": time.monotonic_ns(), "session": session, "bid": bid, "recipient": recipient, "did": did}
        os.write(self.record_fd, json.dumps(fact).encode() + b"\n")

    def status(self) -> Status:
        busy = sum(1 for s in self.sessions if s.recipients)
        after_dot = sum(1 for s in self.sessions if s.after_dot)
        return Status(len(self.sessions), busy, after_dot, self.dots)


def behaviour_of(recipient: str) -> tuple[str, int]:
    """`("defer", 2)` for defer2.x@y; an unknown word is "ok"."""
    match = _BEHAVIOUR.match(recipient.partition("@")[0].partition(".")[0])
    if match is None:
        return "ok", 0
    return match[1], int(match[2] or 0)


class Session(asyncio.Protocol):
    """One connection. Commands that arrive while an answer is held back wait for it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._number = next(book.numbers)
        self._buffer = bytearray()
        self._in_content = False
        self._chunk_octets: int | None = None
        self._waiting = False
        self.recipients: list[str] = []
        self.after_dot = False

    # The declared type is wider; what a stream server hands over is a Transport, on uvloop by duck type.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._book.sessions.add(self)
        self._say(b"220 sink ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._book.sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._proceed()

    def _proceed(self) -> None:
        while not self._waiting and not self._transport.is_closing() and self._step():
            pass

    def _step(self) -> bool:
        if self._chunk_octets is not None:
            return self._take_chunk(self._chunk_octets)
        mark = b"\r\n.\r\n" if self._in_content else b"\r\n"
        end = self._buffer.find(mark)
        if end < 0:
            return False
        piece = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        if self._in_content:
            self._in_content = False
            self._final_dot(piece)
        else:
            self._command(piece)
        return True

    def _take_chunk(self, octets: int) -> bool:
        """The whole content, as RFC 3030 §2 has it: read whatever becomes of it."""
        if len(self._buffer) < octets:
            return False
        piece = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        self._chunk_octets = None
        if self.recipients:
            self._final_dot(piece)
        else:
            self._say(b"554 5.5.1 no valid recipients")
        return True

    def _say(self, line: bytes) -> None:
        self._transport.write(line + b"\r\n")

    # ---- commands ------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._transport.write(_WITH_CHUNKING if self._book.offers_chunking else _CAPABILITIES)
        elif verb == b"RCPT":
            self._rcpt(line)
        elif verb == b"DATA":
            self._data()
        elif verb == b"BDAT":
            self._chunk_octets = int(line.split()[1])
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye")
            self._transport.close()
        else:  # HELO, MAIL, RSET, NOOP
            self.recipients = []
            self._say(b"250 2.0.0 ok")

    def _rcpt(self, line: bytes) -> None:
        match = _ADDRESS.search(line)
        recipient = match[1].decode() if match else ""
        word, number = behaviour_of(recipient)
        if word == "refuse":
            self._say(b"550 5.1.1 no such mailbox")
        elif word == "defer" and self._nth(recipient) <= number:
            self._say(b"451 4.7.1 come back later")
        else:
            self.recipients.append(recipient)
            self._say(b"250 2.1.5 ok")

    def _data(self) -> None:
        words = [behaviour_of(r)[0] for r in self.recipients]
        if not words:
            self._say(b"554 5.5.1 no valid recipients")
        elif "hangbefore" in words and self._nth(self.recipients[0]) == 1:
            self._waiting = True
        elif "dropbefore" in words and self._nth(self.recipients[0]) == 1:
            self._transport.abort()
        else:
            self._in_content = True
            self._say(b"354 go ahead")

    def _nth(self, recipient: str) -> int:
        self._book.tries[recipient] += 1
        return self._book.tries[recipient]

    # ---- the dot -------------------------------------------------------------------------------------

    def _final_dot(self, content: bytes) -> None:
        self._book.dots += 1
        headers = content.partition(b"\r\n\r\n")[0]
        match = _TOKEN.search(headers)
        bid = match[1].decode() if match else ""
        verdicts = [self._verdict(r) for r in self.recipients]
        for recipient, (did, _) in zip(self.recipients, verdicts, strict=True):
            self._book.note(self._number, bid, recipient, did)
        did, seconds = verdicts[0]
        self.after_dot = True
        if did in {"dropped", "dropped-kept"}:
            self._transport.abort()
        elif did in {"hung", "hung-kept"}:
            self._waiting = True
        elif seconds:
            self._waiting = True
            asyncio.get_running_loop().call_later(seconds, self._answer, did)
        else:
            self._answer(did)

    def _verdict(self, recipient: str) -> tuple[str, float]:
        """What happens to a message whose dot was read, and after how many seconds it is answered."""
        word, number = behaviour_of(recipient)
        seconds = self._book.delay_seconds
        if word == "slow":
            return "accepted", number / 10
        if word == "refusedot":
            return "refused", seconds
        if word == "deferdot":
            return ("deferred" if self._nth(recipient) <= number else "accepted"), seconds
        once = {
            # By DATA these two were met before.
            "hangbefore": "hung",
            "dropbefore": "dropped",
            "hangafter": "hung",
            "hangkept": "hung-kept",
            "dropafter": "dropped",
            "dropkept": "dropped-kept",
        }
        if word in once and self._nth(recipient) == 1:
            return once[word], seconds
        return "accepted", seconds

    def _answer(self, did: str) -> None:
        replies = {
            "accepted": b"250 2.0.0 kept",
            "deferred": b"451 4.3.0 not now",
            "refused": b"554 5.7.1 not wanted",
        }
        self.recipients = []
        self.after_dot = self._waiting = False
        if not self._transport.is_closing():
            self._say(replies[did])
            self._proceed()


# ---- the process -----------------------------------------------------------------------------------------


async def _control(book: Book, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers `status` with the counts, and `delay <seconds>` with the counts after changing the delay."""
    while words := (await reader.readline()).decode().split():
        if words[0] == "delay":
            book.delay_seconds = float(words[1])
        status = book.status()
        facts = {"open": status.open, "busy": status.busy, "after_dot": status.after_dot, "dots": status.dots}
        writer.write(json.dumps(facts).encode() + b"\n")
        await writer.drain()
    writer.close()


async def _serve(record: Path, delay_seconds: float, offers_chunking: bool) -> None:
    fd = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    book = Book(fd, delay_seconds, offers_chunking)
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: Session(book), "127.0.0.1", 0, backlog=512)
    control = await asyncio.start_server(lambda r, w: _control(book, r, w), "127.0.0.1", 0)
    ports = [s.sockets[0].getsockname()[1] for s in (smtp, control)]
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


class Sink:
    """The harness's end of a running sink. Closed by `running_sink`."""

    def __init__(self, process: subprocess.Popen[bytes], record: Path) -> None:
        assert process.stdout is not None
        self._process = process
        self.record = record
        line = process.stdout.readline()
        assert line, "the sink did not start"
        self.port, control = json.loads(line)
        self._control = socket.create_connection(("127.0.0.1", control))
        self._answers = self._control.makefile("rb")

    def status(self) -> Status:
        return self._ask("status")

    def delay(self, seconds: float) -> Status:
        """From now on, ordinary dots are answered after `seconds`."""
        return self._ask(f"delay {seconds}")

    def _ask(self, command: str) -> Status:
        self._control.sendall(command.encode() + b"\n")
        return Status(**json.loads(self._answers.readline()))

    def records(self) -> list[DotRead]:
        return [DotRead(**json.loads(line)) for line in self.record.read_bytes().splitlines()]

    def close(self) -> None:
        self._answers.close()
        self._control.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running_sink(folder: Path, *, delay_seconds: float = 0.0, offers_chunking: bool = True) -> Iterator[Sink]:
    """A sink in a process of its own, ended with the block."""
    record = folder / "sink.jsonl"
    record.touch()
    command = [sys.executable, "-m", "tests.support.sink", str(record), str(delay_seconds)]
    command += ["chunking"] if offers_chunking else []
    sink = Sink(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT), record)
    try:
        yield sink
    finally:
        sink.close()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), float(sys.argv[2]), "chunking" in sys.argv[3:]))
