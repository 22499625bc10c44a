"""An application behind the server and the parsers that it has in production, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from mailer.accept.http.exchange import ShortWay
from tests.support.processes import wait_until


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Its URL."""
    config = uvicorn.Config(
        app, port=0, loop="uvloop", http=ShortWay, ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until("the HTTP server listens", lambda: server.started, seconds=10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
