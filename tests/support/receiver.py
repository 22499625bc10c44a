"""A receiver of callbacks: an HTTP server on loopback that keeps what it gets and answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One POST as it came. headers: names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.body)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered: `after` that event, or never (`drops`: the connection ends instead)."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: threading.Event | None = None
    drops: bool = False


OK = Answer()


class Receiver:
    """Answers with what `answer` makes of a call; by default 204 to all.

    port   where it listens; the same again after `restart`
    calls  in the order they were read
    dials  connections taken
    """

    def __init__(
        self,
        answer: Callable[[Call], Answer] = lambda call: OK,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.dials = 0
        self._host = host
        self._tls = tls
        self._server: _Server | None = None
        self.port = port
        self.start()

    def start(self) -> None:
        self._server = _Server((self._host, self.port), self)
        self.port = self._server.server_address[1]
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        serving = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        serving.start()

    def stop(self) -> None:
        """Nobody listens any more, and connections that are open end."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self.port}/hook"


@contextmanager
def receiving(
    answer: Callable[[Call], Answer] = lambda call: OK,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Receiver]:
    receiver = Receiver(answer, host=host, port=port, tls=tls)
    try:
        yield receiver
    finally:
        receiver.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, place: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self._open: set[Any] = set()
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.receiver.dials += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for request in list(self._open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The caller went away, which tests do on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer goes out in two writes
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        call = Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.server.receiver.calls.append(call)
        answer = self.server.receiver.answer(call)
        if answer.after is not None:
            answer.after.wait(60)
        if answer.drops:
            self.close_connection = True
            return
        self.send_response(answer.status)
        fields = {"Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in fields.items():
            if answer.status != 204 or name != "Content-Length":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""
