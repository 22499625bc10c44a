"""The inbox as a running server: its own thread with one event loop, started and stopped from outside."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import uvloop

from mailer import clock
from mailer.listener import Limits, Listener, Rules
from mailer.listener.certificate import server_context
from mailer.report.catcher import CatchingDesk, Fittings
from mailer.report.maildir import Maildir
from mailer.report.replier import DELAYS, Replier
from mailer.report.returned import ReturnPaths
from mailer.report.simulator import Patience, Simulator

_log = structlog.get_logger(__name__)

KEEP = 1000
HOST = "inbox.localhost"  # RFC 6761 §6.3: never anybody's
# One client is all there is, our own relay: it may have as many sessions as it is set to, for as long as it
# likes, and lines of any length, since an inbox that refuses what others take hides nothing.
_LIMITS = Limits(
    size_bytes=40 * 1024 * 1024,
    text_line_octets=0,
    messages=100_000,
    connections=5000,
    connections_per_peer=5000,
    session_seconds=86_400.0,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """keep: how many of the newest messages are kept. reply_delays: seconds before each try of a reply."""

    keep: int = KEEP
    patience: Patience = field(default_factory=Patience)
    reply_delays: tuple[float, ...] = DELAYS


def serve_inbox(
    host: str,
    port: int,
    maildir: Path,
    tls_dir: Path,
    *,
    returns: ReturnPaths | None = None,
    habits: Habits | None = None,
) -> InboxServer:
    """Listens on host and port (0: any free one) and returns. Raises OSError: the address is in use,
    or a folder cannot be written.

    maildir  folder of the kept messages, made if there is none
    tls_dir  folder of the certificate, made at first start
    returns  reads what comes back; None: it is kept only
    """
    habits = habits or Habits()
    replier = Replier(habits.reply_delays)
    fittings = Fittings(
        host=HOST,
        maildir=Maildir(maildir, keep=habits.keep, wall_ms=clock.wall_ms),
        now=clock.now,
        simulator=Simulator(clock.monotonic, habits.patience),
        replier=replier,
        returns=returns,
    )
    context = server_context(tls_dir, HOST, clock.now(), name="inbox")
    rules = Rules(host=HOST, desk=CatchingDesk(fittings), tls=lambda: context, limits=_LIMITS)
    opened: Future[InboxServer] = Future()
    thread = threading.Thread(
        target=_run_loop, args=(rules, replier, (host, port), opened), name="inbox", daemon=True
    )
    thread.start()
    return opened.result()


def _run_loop(rules: Rules, replier: Replier, address: tuple[str, int], opened: Future[InboxServer]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(rules, replier, address, opened))


async def _serve(
    rules: Rules, replier: Replier, address: tuple[str, int], opened: Future[InboxServer]
) -> None:
    """Until the server that `opened` was given is told to stop."""
    loop, leave, listener = asyncio.get_running_loop(), asyncio.Event(), Listener(rules)
    try:
        port = await listener.listen(*address)
    except OSError as error:
        opened.set_exception(error)
        return
    replier.send_to(address[0], port)
    _log.info("inbox.listening", port=port)
    opened.set_result(InboxServer(port, loop, threading.current_thread(), leave))
    await leave.wait()
    await replier.close()
    await listener.close(_STOP_SECONDS)
