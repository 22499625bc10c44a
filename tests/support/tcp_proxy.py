"""A proxy before PostgreSQL that loses the answer to a COMMIT.

It reads just enough of the wire protocol (version 3.0, message formats of PostgreSQL's manual, chapter
"Frontend/Backend Protocol") to see which statements a transaction made and when it commits. A cut either
lets the server commit and throws the answer away, or throws the COMMIT itself away; the client sees the
same: a connection that closed where an answer was due.
"""

from __future__ import annotations

import asyncio
import enum
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_NOT_STARTUP = {80877103, 80877104}  # SSLRequest, GSSENCRequest
_STATEMENTS = b"QP"  # Query and Parse carry SQL


class Cut(enum.StrEnum):
    """What is lost: the answer, the transaction standing; or the COMMIT, the transaction gone."""

    ANSWER = "answer"
    COMMIT = "commit"


@dataclass(slots=True)
class _Order:
    """`marker`: text that one of the transaction's statements must hold, upper case."""

    cut: Cut
    marker: bytes
    left: int


@dataclass(slots=True)
class _Link:
    """One client connection. statements: SQL of the transaction so far, upper case."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    statements: bytearray = field(default_factory=bytearray)
    losing: bool = False


class CommitThief:
    """Forwards to PostgreSQL from a thread of its own; `steal` orders cuts. Closed by `commit_thief`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._orders: list[_Order] = []
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self.port = 0
        self.stolen = 0
        self._thread = threading.Thread(target=self._run, name="commit-thief", daemon=True)
        self._thread.start()
        assert self._started.wait(5), "the proxy did not start"

    def steal(self, cut: Cut, *, touching: str, count: int = 1) -> None:
        """Cuts the next `count` commits of transactions with a statement that holds `touching`."""
        with self._lock:
            self._orders.append(_Order(cut, touching.upper().encode(), count))

    @property
    def ordered(self) -> int:
        """Cuts that are still to be made."""
        with self._lock:
            return sum(o.left for o in self._orders)

    def _take(self, statements: bytes) -> Cut | None:
        with self._lock:
            for order in self._orders:
                if order.left and order.marker in statements:
                    order.left -= 1
                    self.stolen += 1
                    return order.cut
        return None

    # ---- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in self._links:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._links, return_exceptions=True))
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._links.discard(task)

    async def _relay(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            server_in, server_out = await asyncio.open_connection(*self._target)
        except OSError:  # PostgreSQL is down, and so are we to the client
            client_out.close()
            return
        link = _Link(client_out, server_out)
        halves = [
            asyncio.create_task(self._upstream(link, client_in)),
            asyncio.create_task(self._downstream(link, server_in)),
        ]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)
            client_out.transport.abort()
            server_out.close()

    async def _upstream(self, link: _Link, reader: asyncio.StreamReader) -> None:
        await _forward_startup(link, reader)
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if kind in _STATEMENTS and (cut := self._read_statement(link, body)):
                if cut is Cut.COMMIT:
                    return
                link.losing = True
            link.server.write(kind + length + body)
            await link.server.drain()

    def _read_statement(self, link: _Link, body: bytes) -> Cut | None:
        sql = body.upper()
        if b"COMMIT\0" in sql:
            done, link.statements = bytes(link.statements), bytearray()
            return self._take(done)
        if b"ROLLBACK\0" in sql:
            link.statements = bytearray()
        link.statements += sql
        return None

    async def _downstream(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            if link.losing:  # the server has committed: its answer is here, and goes no further
                return
            link.client.write(data)
            await link.client.drain()


async def _forward_startup(link: _Link, reader: asyncio.StreamReader) -> None:
    """Encryption is declined here, so that what follows can be read."""
    while True:
        length = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
        if struct.unpack("!I", body[:4])[0] not in _NOT_STARTUP:
            link.server.write(length + body)
            return
        link.client.write(b"N")
        await link.client.drain()


@contextmanager
def commit_thief(host: str, port: int) -> Iterator[CommitThief]:
    """A proxy before the server at host:port, ended with the block."""
    thief = CommitThief(host, port)
    try:
        yield thief
    finally:
        thief.close()
