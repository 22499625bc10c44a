"""A short way through uvicorn for requests that come and go in one piece, as nearly all submissions do.

uvicorn writes the header and the body of an answer apart, each with a call to the kernel and a packet of its
own, looks for bad octets in every field, and hands a body over that waits already as if it had to be awaited.
Here the body is taken, and the answer written, at once: a tenth of the door's work for a submission.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

KEY = "mailer.exchange"  # of an ASGI scope


class Exchange:
    """One request of HTTP/1.1 and its answer, beside the `receive` and `send` of ASGI."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body_at_hand(self) -> bytearray | None:
        """The whole body; None: it has not come yet, or never will, and `receive` must be asked."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        cycle.flow.resume_reading()
        body, cycle.body = cycle.body, bytearray()
        return body

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Writes all of an answer; False: that cannot be done now, and `send` must be asked.

        headers  lower-case names, values without control characters; with the content-length
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        cycle.response_started, cycle.waiting_for_100_continue = True, False
        if not cycle.transport.is_closing():
            cycle.transport.write(b"".join(lines))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


class ShortWay(HttpToolsProtocol):
    """uvicorn's protocol of a connection, which gives every request its `Exchange`."""

    _open: tuple[RequestResponseCycle, ...] = ()  # requests that are not answered yet, in order

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the last of them only; the others would fail when they answer.
        for cycle in self._open:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._open = (*(cycle for cycle in self._open if not cycle.response_complete), self.cycle)
        scope: dict[str, object] = self.cycle.scope  # type: ignore[assignment]
        scope[KEY] = Exchange(self.cycle)
