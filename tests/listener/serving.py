"""A listener on a loop of its own thread, a desk that does as it is told, and a client that sends octets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import uvloop

from mailer.listener import (
    Answer,
    Busy,
    Granted,
    Listener,
    MailParameters,
    Path,
    RcptParameters,
    Rules,
    ServerReply,
    Session,
    Transaction,
    Unanswered,
    reply,
)
from mailer.protocol.reply import Reply, ReplyReader

ENVELOPE = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@receiver.example>\r\n"
EHLO = b"EHLO client.example\r\n"


class Desk:
    """Takes everything, unless the local part is the word for something else.

    refused  550 5.1.1
    broken   raises
    slow     waits for `release`
    leave    421 4.7.0
    vanish   takes the message, and closes without a reply
    gone     closes without a reply
    late-    and one of these or any other: as that, after waiting
    stuck    waits for `release`
    """

    def __init__(self) -> None:
        self.taken: list[Transaction] = []
        self.mails: list[tuple[Path, MailParameters]] = []
        self.rcpts: list[tuple[Path, RcptParameters]] = []
        self.senders: list[Path | None] = []
        self.sessions: list[Session] = []
        self.release = threading.Event()
        self.is_waiting = threading.Event()

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> Answer:
        self.mails.append((reverse_path, parameters))
        return self._answer(reverse_path.local, reply(250, "2.1.0", "OK"))

    def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> Answer:
        self.rcpts.append((forward_path, parameters))
        self.senders.append(session.sender)
        return self._answer(forward_path.local, reply(250, "2.1.5", "OK"))

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        self.sessions.append(session)
        if transaction.reverse_path.local == "slow":
            self.is_waiting.set()
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        self.taken.append(transaction)
        if transaction.recipients[0].path.local == "brokendot":
            raise RuntimeError("a bug of the desk")
        if transaction.recipients[0].path.local == "vanish":
            raise Unanswered
        return reply(250, "2.6.0", f"Taken {len(self.taken)}")

    @property
    def contents(self) -> list[bytes]:
        return [transaction.content for transaction in self.taken]

    def _answer(self, local: str, yes: ServerReply) -> Answer:
        if local == "stuck" or local.startswith("late-"):
            return self._later(local, yes)
        return self._at_once(local, yes)

    async def _later(self, local: str, yes: ServerReply) -> ServerReply:
        self.is_waiting.set()
        await asyncio.sleep(0.01)
        while local == "stuck" and not self.release.is_set():
            await asyncio.sleep(0.01)
        return self._at_once(local.removeprefix("late-"), yes)

    def _at_once(self, local: str, yes: ServerReply) -> ServerReply:
        match local:
            case "gone":
                raise Unanswered
            case "refused":
                return reply(550, "5.1.1", "No such mailbox")
            case "leave":
                return reply(421, "4.7.0", "Leave")
            case "broken":
                raise RuntimeError("a bug of the desk")
        return yes


class OneUser:
    """user and secret."""

    async def authenticate(self, user: str, secret: str, session: Session) -> Granted | ServerReply:
        await asyncio.sleep(0)
        if user == "busy":
            return reply(454, "4.7.0", "Temporary authentication failure")
        if (user, secret) == ("user", "sécret"):
            return Granted(user)
        return reply(535, "5.7.8", "Authentication credentials invalid")


class Room:
    """A budget of `octets`; held_octets is what is taken of it."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self.held_octets = 0

    @contextmanager
    def hold(self) -> Iterator[Share]:
        share = Share(self)
        try:
            yield share
        finally:
            self.held_octets -= share.octets

    def take(self, octets: int) -> None:
        if self.held_octets + octets > self._octets:
            raise Busy
        self.held_octets += octets


class Share:
    def __init__(self, room: Room) -> None:
        self._room = room
        self.octets = 0

    def grow_to(self, octets: int) -> None:
        if octets > self.octets:
            self._room.take(octets - self.octets)
            self.octets = octets


class Served:
    """A listener that runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener, desk: Desk, port: int) -> None:
        self._loop = loop
        self.listener = listener
        self.desk = desk
        self.port = port

    def close(self, seconds: float) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(self.listener.close(seconds), self._loop)

    def is_empty_soon(self) -> bool:
        """Whether nobody is connected any more."""
        until = time.monotonic() + 10
        while self.listener.connections and time.monotonic() < until:
            time.sleep(0.01)
        return not self.listener.connections

    def stall(self, seconds: float) -> None:
        """The loop does nothing else for so long, as a busy one does."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def client(self) -> Client:
        return Client(self.port)

    def talk(self, *pieces: bytes) -> list[str]:
        """Sends the pieces and closes its side; returns the replies after the greeting, their last lines."""
        with self.client() as client:
            client.reply()
            for piece in pieces:
                client.send(piece)
            client.socket.shutdown(socket.SHUT_WR)
            return client.rest()


@contextmanager
def serving(
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    *,
    tls_first: bool = False,
    **rules: Any,
) -> Iterator[Served]:
    """A listener on loopback; sessions that are still there at the end of the block are cut."""
    loop, desk = loop_factory(), Desk()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> Served:
        listener = Listener(Rules(**{"host": "mx.example.net", "desk": desk, "keeps_dsn": True, **rules}))
        port = await listener.listen("127.0.0.1", 0, tls_first=tls_first)
        return Served(loop, listener, desk, port)

    served = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield served
    finally:
        served.close(0.05).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Client:
    """Sends octets and reads replies; what is not a conforming reply raises ProtocolError."""

    def __init__(self, port: int) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = ReplyReader()
        self._replies: list[Reply] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def break_off(self) -> None:
        """Resets the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def reply(self) -> Reply:
        """Raises EOFError when the server closed."""
        while not self._replies:
            octets = self.socket.recv(65536)
            if not octets:
                assert self._reader.is_between_replies
                raise EOFError
            self._replies += self._reader.feed(octets)
        return self._replies.pop(0)

    def ask(self, octets: bytes) -> str:
        """One command, the last line of its reply."""
        self.send(octets)
        return self.reply().as_heard()[-1]

    def open(self) -> Client:
        """Past greeting and EHLO."""
        self.reply()
        assert self.ask(EHLO).startswith("250 ")
        return self

    def rest(self) -> list[str]:
        """The replies until the server closes."""
        replies = []
        while True:
            try:
                replies.append(self.reply().as_heard()[-1])
            except EOFError:
                return replies

    def start_tls(self, *, extra: bytes = b"") -> None:
        self.send(b"STARTTLS\r\n" + extra)
        assert self.reply().code == 220
        self.wrap()

    def wrap(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
