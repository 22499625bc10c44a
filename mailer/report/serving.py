"""A listener as a running server: its own thread with one event loop, started and stopped from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass

import structlog
import uvloop

from mailer.listener import Listener, Rules

_log = structlog.get_logger(__name__)

_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """port: the one it listens on, also where 0 was asked for."""

    port: int
    _loop: asyncio.AbstractEventLoop
    _thread: threading.Thread
    _leave: asyncio.Event

    def stop(self) -> None:
        """Sessions hear 421 and end; what was answered 250 stays kept. May be called again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()


async def _nothing() -> None:
    pass


def serve(
    rules: Rules,
    address: tuple[str, int],
    *,
    name: str,
    on_open: Callable[[str, int], None] = lambda _host, _port: None,
    on_close: Callable[[], Awaitable[None]] = _nothing,
) -> Server:
    """Listens and returns. Raises OSError: the address is in use.

    address   host and port; port 0: any free one
    name      of the thread, and in the log
    on_open   is told where it listens, in the thread
    on_close  is awaited before sessions are ended
    """

    async def run() -> None:
        loop, leave, listener = asyncio.get_running_loop(), asyncio.Event(), Listener(rules)
        try:
            port = await listener.listen(*address)
        except OSError as error:
            opened.set_exception(error)
            return
        on_open(address[0], port)
        _log.info(f"{name}.listening", port=port)
        opened.set_result(Server(port, loop, threading.current_thread(), leave))
        await leave.wait()
        await on_close()
        await listener.close(_STOP_SECONDS)

    def run_loop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    opened: Future[Server] = Future()
    threading.Thread(target=run_loop, name=name, daemon=True).start()
    return opened.result()
