"""The wire under a session: replies are counted, so that none is ever taken for another's.

aiosmtplib's protocol drops octets that come while it awaits nothing, and reads one reply a command; a
pipelined group (RFC 2920 §3.1) needs both otherwise. Here every command says how many replies it is due.
A reply nobody asked for, garbage, silence or a lost connection each end the session for good: the
reason stays in `failure`, and nothing that arrives later is read.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from aiosmtplib.protocol import FlowControlMixin, SMTPProtocol
from aiosmtplib.response import SMTPResponse

from mailer import clock
from mailer.protocol.reply import ProtocolError, Reply, ReplyReader
from mailer.relay.smtp.transcript import Transcript

_READY = 220


class SessionProtocol(SMTPProtocol):
    """What aiosmtplib's SMTP class drives for EHLO, STARTTLS and AUTH, and we for mail.

    on_lost  called once when the connection is gone
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transcript: Transcript) -> None:
        super().__init__(loop=loop)
        self.transcript: Transcript | None = transcript
        self.on_lost: Callable[[], None] | None = None
        self.failure: Exception | None = None
        self.hides_commands = False
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._due = 1  # the greeting comes unasked (RFC 5321 §3.1), perhaps before anyone awaits it
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None

    # ---- what the transaction uses -------------------------------------------------------------------

    def send(self, data: bytes | memoryview, *, replies: int) -> None:
        """Writes octets that are due `replies` replies. Raises what ended the session."""
        if self.failure is not None:
            raise self.failure
        self._due += replies
        cast(asyncio.WriteTransport, self.transport).write(data)

    async def reply(self, seconds: float) -> Reply:
        """The next reply. Raises what ended the session; silence for `seconds` ends it."""
        if not self._replies:
            self._await_until(seconds)
            while not self._replies:
                await self._woken()
        return self._replies.popleft()

    def early_reply(self) -> Reply | None:
        """A reply that is here already, if any; does not wait."""
        return self._replies.popleft() if self._replies else None

    @property
    def has_reply(self) -> bool:
        return bool(self._replies)

    async def drain(self, seconds: float) -> None:
        """Returns when the peer takes more octets, or said something; silence ends the session."""
        self._await_until(seconds)
        while self._paused and not self._replies:
            await self._woken()

    @property
    def is_quiet(self) -> bool:
        """Nothing is due, nothing unread, nothing half said: the next reply will be the next command's."""
        return (
            self.failure is None and not self._due and not self._replies and self._reader.is_between_replies
        )

    def fail(self, error: Exception) -> None:
        """Ends the session at once; replies read before stay readable."""
        if self.failure is not None:
            return
        self.failure = error
        self._stop_timer()
        if self.transcript is not None:
            self.transcript.note(f"{type(error).__name__}: {error}")
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        self._wake()

    # ---- waiting -------------------------------------------------------------------------------------

    async def _woken(self) -> None:
        if self.failure is not None:
            raise self.failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _await_until(self, seconds: float) -> None:
        """Moves the deadline. A running timer that fires before it is left alone and set anew when it
        does, so that a busy session arms a timer once in minutes and not with every reply."""
        self._deadline = clock.monotonic() + seconds
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + seconds:
                return
            self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._on_timer, seconds)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self, seconds: float) -> None:
        self._timer = None
        if self._waiter is None:
            return
        left = self._deadline - clock.monotonic()
        if left > 0.0005:
            self._timer = self._loop.call_later(left, self._on_timer, seconds)
        else:
            self.fail(TimeoutError(f"silence for {seconds:g} s"))

    # ---- what the event loop calls -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.failure is not None:
            return
        try:
            for reply in self._reader.feed(data):
                self._hear(reply)
        except ProtocolError as error:
            self.fail(error)
        self._wake()

    def _hear(self, reply: Reply) -> None:
        if self.transcript is not None:
            self.transcript.heard(reply)
        if not self._due:
            raise ProtocolError(f"a reply to no command: {reply.code} {reply.text[:200]}")
        self._due -= 1
        self._replies.append(reply)

    def eof_received(self) -> bool:
        where = "" if self._reader.is_between_replies else " in the middle of a reply"
        self.fail(ConnectionResetError(f"the peer closed the connection{where}"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        FlowControlMixin.connection_lost(self, exc)
        self.fail(_as_os_error(exc))
        self.transport = None
        self._command_lock = None
        if self.on_lost is not None:
            self.on_lost()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wake()

    # ---- what aiosmtplib calls -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """One command, one reply due."""
        if self.transcript is not None:
            text = data.decode("ascii", "replace").rstrip("\r\n")
            verb = text.partition(" ")[0] if text.startswith("AUTH") else ""
            self.transcript.said(f"{verb} ***".lstrip() if self.hides_commands else text)
        self.send(data, replies=1)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 -- theirs
        if timeout is None:
            raise ValueError("a command without a timeout could hold its session for ever")
        reply = await self.reply(timeout)
        return SMTPResponse(reply.code, "\n".join(reply.lines))

    async def start_tls(
        self,
        tls_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- theirs
    ) -> SMTPResponse:
        """STARTTLS and the handshake (RFC 3207 §4). A refusal is returned; a failed handshake raises."""
        self.write(b"STARTTLS\r\n")
        response = await self.read_response(timeout)
        if response.code != _READY:
            return response
        if not self.is_quiet:
            # Octets behind the 220 would be read as if they came through TLS (CVE-2011-0411).
            self.fail(ProtocolError("octets after the reply to STARTTLS and before the handshake"))
        if self.failure is not None:
            raise self.failure
        self.transport = await self._loop.start_tls(
            cast(asyncio.WriteTransport, self.transport),
            self,
            tls_context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=timeout,
        )
        self._over_ssl = True
        return response


def _as_os_error(error: Exception | None) -> Exception:
    if error is None:
        return ConnectionResetError("the connection was closed")
    return error if isinstance(error, OSError) else ConnectionResetError(f"{type(error).__name__}: {error}")
