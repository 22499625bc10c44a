"""An SMTP peer on loopback that follows a script on its first connections, and behaves afterwards.

A script is the server's side in the words of the RFCs:

    S: 250 ok          says a line; consecutive ones leave in one segment
    C: MAIL            reads a line that must begin so
    CONTENT            reads content up to the final dot
    CHUNK              reads the octets that the last BDAT announced
    PART 10            reads so many octets
    HALF 250 o         says this without a line end
    SPLIT 250 ok       says the line octet by octet, in segments of their own
    GARBAGE            says what is not SMTP
    WAIT 0.2           says nothing for so many seconds
    HANG               says nothing until the client hangs up
    CLOSE, DROP        closes in order, or resets the connection
    STARTTLS           the handshake begins
    GREET, GREET-PLAIN the greeting and EHLO, with and without PIPELINING
    GREET-CHUNKING     the same with CHUNKING
    ENVELOPE           MAIL, RCPT and DATA in one group, all accepted
    FLIGHT             MAIL, RCPT, BDAT and the content, nothing said

What comes after a script's last line, and every further connection, is served as a mail server would.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self

_EXTENSIONS = ("mx.example.net", "PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8")
_MACROS = {
    "GREET": (
        "S: 220 mx.example.net ESMTP",
        "C: EHLO client.example",
        "S: 250-mx.example.net",
        "S: 250-PIPELINING",
        "S: 250-SIZE 10000000",
        "S: 250-8BITMIME",
        "S: 250 SMTPUTF8",
    ),
    "GREET-PLAIN": ("S: 220 mx.example.net", "C: EHLO client.example", "S: 250 mx.example.net"),
    "GREET-CHUNKING": (
        "S: 220 mx.example.net ESMTP",
        "C: EHLO client.example",
        "S: 250-mx.example.net",
        "S: 250-PIPELINING",
        "S: 250-8BITMIME",
        "S: 250 CHUNKING",
    ),
    "FLIGHT": ("C: MAIL", "C: RCPT", "C: BDAT", "CHUNK"),
    "ENVELOPE": ("C: MAIL", "C: RCPT", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go ahead"),
}


@dataclass(slots=True)
class Conversation:
    """One connection as the peer saw it. faults: where the client left the script."""

    heard: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    over_tls: bool = False


class _Over(Exception):
    """The connection has ended."""


class ScriptedPeer:
    """`async with ScriptedPeer(script, ...) as peer:` one script a connection, in order of arrival."""

    def __init__(
        self,
        *scripts: str,
        extensions: Sequence[str] = _EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: dict[str, str] | None = None,
    ) -> None:
        self._scripts = [_lines(script) for script in scripts]
        self._extensions = list(extensions)
        self._tls = tls
        self._implicit = implicit_tls
        self.users = users or {}
        self.conversations: list[Conversation] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=1 << 24, ssl=self._tls if self._implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def contents(self) -> list[bytes]:
        """All messages read to their final dot, in order of connections."""
        return [content for c in self.conversations for content in c.contents]

    @property
    def faults(self) -> list[str]:
        return [fault for c in self.conversations for fault in c.faults]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        number = len(self.conversations)
        noted = Conversation(over_tls=self._implicit)
        self.conversations.append(noted)
        script = self._scripts[number] if number < len(self._scripts) else None
        line = _Connection(self, reader, writer, noted)
        try:
            if script is None:
                await line.greet()
            else:
                await line.follow(script)
            await line.behave()
        except (_Over, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


class _Connection:
    def __init__(
        self,
        peer: ScriptedPeer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        noted: Conversation,
    ) -> None:
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._noted = noted

    # ---- by script -----------------------------------------------------------------------------------

    async def follow(self, script: Sequence[str]) -> None:
        pending = b""
        for step in script:
            if step.startswith("S: "):
                pending += step[3:].encode() + b"\r\n"
                continue
            await self._say(pending)
            pending = b""
            await self._do(step)
        await self._say(pending)

    async def _do(self, step: str) -> None:
        word, _, rest = step.partition(" ")
        match word:
            case "C:":
                line = await self._read_line()
                if not line.startswith(rest):
                    self._noted.faults.append(f"expected {rest!r}, heard {line!r}")
            case "CONTENT":
                await self._read_content()
            case "CHUNK":
                await self._read_chunk()
            case "PART":
                await self._reader.readexactly(int(rest))
            case "HALF":
                await self._say(rest.encode())
            case "SPLIT":
                await self._say_in_pieces(rest.encode() + b"\r\n")
            case "GARBAGE":
                await self._say(b"\x16\x03\x01 no such thing as SMTP here\r\n")
            case "WAIT":
                await asyncio.sleep(float(rest))
            case "HANG":
                await self._reader.read()
                raise _Over
            case "CLOSE":
                self._writer.close()
                raise _Over
            case "DROP":
                self._reset()
                raise _Over
            case "STARTTLS":
                await self._start_tls()
            case _:
                raise ValueError(f"no such step in a dialogue: {step!r}")

    async def _say_in_pieces(self, octets: bytes) -> None:
        for i in range(len(octets)):
            await self._say(octets[i : i + 1])
            await asyncio.sleep(0.001)  # so that each octet is a segment of its own

    def _reset(self) -> None:
        """RST instead of FIN: what the client still sends or has not read is lost."""
        self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    # ---- as a mail server would ----------------------------------------------------------------------

    async def greet(self) -> None:
        await self._say(b"220 mx.example.net ESMTP\r\n")

    async def behave(self) -> None:
        while True:
            line = await self._read_line()
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    await self._say(self._ehlo_reply())
                case "DATA":
                    await self._say(b"354 go ahead\r\n")
                    await self._read_content()
                    await self._say(b"250 2.0.0 taken\r\n")
                case "BDAT":
                    await self._read_chunk()
                    await self._say(b"250 2.0.0 taken\r\n")
                case "STARTTLS":
                    await self._say(b"220 2.0.0 go ahead\r\n")
                    await self._start_tls()
                case "AUTH":
                    await self._authenticate(rest)
                case "QUIT":
                    await self._say(b"221 2.0.0 bye\r\n")
                    raise _Over
                case "HELO" | "MAIL" | "RCPT" | "RSET":
                    await self._say(b"250 2.0.0 ok\r\n")
                case _:
                    await self._say(b"500 5.5.1 what?\r\n")

    def _ehlo_reply(self) -> bytes:
        offered = list(self._peer._extensions)
        if self._peer._tls is not None and not self._noted.over_tls:
            offered.append("STARTTLS")
        if self._peer.users:
            offered.append("AUTH PLAIN LOGIN")
        *first, last = offered
        return "".join([f"250-{word}\r\n" for word in first] + [f"250 {last}\r\n"]).encode()

    async def _authenticate(self, rest: str) -> None:
        """AUTH PLAIN only, checked against the peer's users."""
        import base64

        _, _, encoded = rest.partition(" ")
        _, user, password = base64.b64decode(encoded).decode().split("\0")
        good = self._peer.users.get(user) == password
        await self._say(b"235 2.7.0 welcome\r\n" if good else b"535 5.7.8 no\r\n")

    # ---- octets --------------------------------------------------------------------------------------

    async def _start_tls(self) -> None:
        assert self._peer._tls is not None
        await self._writer.start_tls(self._peer._tls)
        self._noted.over_tls = True

    async def _say(self, octets: bytes) -> None:
        if octets:
            self._writer.write(octets)
            await self._writer.drain()

    async def _read_line(self) -> str:
        line = await self._reader.readuntil(b"\r\n")
        text = line[:-2].decode()
        self._noted.heard.append(text)
        return text

    async def _read_content(self) -> None:
        content = bytearray(b"\r\n")
        while not content.endswith(b"\r\n.\r\n"):
            content += await self._reader.readuntil(b"\r\n")
        self._noted.contents.append(bytes(content[:-3]).replace(b"\r\n..", b"\r\n.")[2:])

    async def _read_chunk(self) -> None:
        verb, octets, last = self._noted.heard[-1].split()
        assert (verb, last) == ("BDAT", "LAST")
        self._noted.contents.append(await self._reader.readexactly(int(octets)))


def _lines(script: str) -> list[str]:
    """Script lines with macros written out, without comments and blank lines."""
    lines: list[str] = []
    for raw in script.splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            lines.extend(_MACROS.get(line, (line,)))
    return lines


def parse_dialogue(text: str) -> tuple[dict[str, str], str]:
    """A .smtp file: "key: value" lines that say what must come out, "---", and the script."""
    head, _, script = text.partition("\n---\n")
    stated: dict[str, Any] = {}
    for line in head.splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, value = line.partition(":")
            stated[key.strip()] = value.strip()
    return stated, script
