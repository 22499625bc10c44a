"""The inbox as a running server: its own thread with one event loop, started and stopped from outside."""

from __future__ import annotations

import asyncio
import logging
import queue
import signal
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from mailer import clock
from mailer.listener.certificate import server_context
from mailer.report.catcher import Catcher, Rules
from mailer.report.maildir import Maildir

_log = structlog.get_logger(__name__)

KEEP = 1000
HOST = "inbox.localhost"  # RFC 6761 §6.3: never anybody's
_CLOSING = b"421 4.3.2 The inbox is shutting down\r\n"  # RFC 5321 §3.8
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class InboxServer:
    """port: the one it listens on, also where 0 was asked for."""

    port: int
    _loop: asyncio.AbstractEventLoop
    _thread: threading.Thread
    _leave: asyncio.Event

    def stop(self) -> None:
        """Sessions hear 421 and end; every message that was answered 250 stays kept. May be called again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()


def serve_inbox(host: str, port: int, maildir: Path, tls_dir: Path, *, keep: int = KEEP) -> InboxServer:
    """Listens on host and port (0: any free one) and returns. Raises OSError: the address is in use,
    or a folder cannot be written.

    maildir  folder of the kept messages, made if there is none
    tls_dir  folder of the certificate, made at first start
    keep     how many of the newest messages are kept
    """
    # aiosmtpd logs every command with its addresses at INFO.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    rules = Rules(HOST, Maildir(maildir, keep=keep, wall_ms=clock.wall_ms), clock.now)
    context = server_context(tls_dir, HOST, clock.now(), name="inbox")
    opened: Future[InboxServer] = Future()
    listener = _Listener(host, port, rules, context)
    thread = threading.Thread(target=_run_loop, args=(listener, opened), name="inbox", daemon=True)
    thread.start()
    return opened.result()


def run(
    host: str,
    port: int,
    maildir: Path,
    tls_dir: Path,
    *,
    keep: int = KEEP,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serves until SIGTERM or SIGINT; call it from the main thread. on_ready hears the port."""
    # Not an Event: a handler that interrupts its `wait` would wait for ever for its lock.
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.put(None))
    server = serve_inbox(host, port, maildir, tls_dir, keep=keep)
    try:
        on_ready(server.port)
        asked.get()
    finally:
        server.stop()


def _run_loop(listener: _Listener, opened: Future[InboxServer]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(listener.serve(opened))


class _Listener:
    """What runs in the loop's thread: a listening socket and its sessions."""

    def __init__(self, host: str, port: int, rules: Rules, context: ssl.SSLContext) -> None:
        self._address = host, port
        self._rules = rules
        self._context = context
        self._sessions: set[_Session] = set()

    async def serve(self, opened: Future[InboxServer]) -> None:
        """Until the server that `opened` was given is told to stop."""
        loop, leave = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await loop.create_server(lambda: self._session(loop), *self._address, backlog=512)
        except OSError as error:
            opened.set_exception(error)
            return
        port = server.sockets[0].getsockname()[1]
        _log.info("inbox.listening", port=port)
        opened.set_result(InboxServer(port, loop, threading.current_thread(), leave))
        await leave.wait()
        server.close()
        await self._end_sessions()

    def _session(self, loop: asyncio.AbstractEventLoop) -> _Session:
        return _Session(self._sessions, self._rules, self._context, loop)

    async def _end_sessions(self) -> None:
        for session in tuple(self._sessions):
            session.end()
        for _ in range(round(_STOP_SECONDS / 0.02)):
            if not self._sessions:
                return
            await asyncio.sleep(0.02)


class _Session(Catcher):
    """A Catcher that is known while it is connected."""

    def __init__(
        self,
        sessions: set[_Session],
        rules: Rules,
        context: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(rules, context, loop)
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        super().connection_lost(error)

    def end(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(_CLOSING)
            self._writer.close()
