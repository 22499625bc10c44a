"""A web server with MTA-STS policies of many domains, told apart by the name that is asked for."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Page:
    """What is answered; with `after`, when that happens."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    after: threading.Event | None = None


class PolicyHost:
    """pages: by host name, without its port. asked: (host, path) in order."""

    def __init__(
        self, pages: dict[str, Page], tls: ssl.SSLContext, place: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self.pages = pages
        self.asked: list[tuple[str, str]] = []
        self._server = _Server(self, place)
        self.port = int(self._server.server_address[1])
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def policies(
    pages: dict[str, Page], tls: ssl.SSLContext, place: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[PolicyHost]:
    """place: address and port; 0: any that is free."""
    host = PolicyHost(pages, tls, place)
    try:
        yield host
    finally:
        host.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: PolicyHost, place: tuple[str, int]) -> None:
        self.host = host
        super().__init__(place, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client went away, or did not like the certificate."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        name = self.headers.get("host", "").partition(":")[0]
        self.server.host.asked.append((name, self.path))
        page = self.server.host.pages.get(name, Page(b"nothing here", status=404))
        if page.after is not None:
            page.after.wait(60)
        self.send_response(page.status)
        for key, value in {
            "Content-Type": page.content_type, "Content-Length": str(len(page.body)), **page.headers,
        }.items():  # fmt: skip
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""
