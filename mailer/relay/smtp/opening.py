"""Opening a session: dial, greeting, EHLO, STARTTLS, AUTH.

aiosmtplib drives EHLO, STARTTLS and AUTH on our protocol. Everything that fails before MAIL is the
host's failure and not the recipient's, so it comes out as a value that names the phase, and the next
host is tried (RFC 5321 §5.1).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPHeloError, SMTPResponseException
from aiosmtplib.response import SMTPResponse

from mailer.policy.outcome import Broken, Refused
from mailer.policy.routing import TlsMode
from mailer.protocol.phase import Phase
from mailer.protocol.reply import ProtocolError, Reply
from mailer.relay.smtp.content import Capabilities
from mailer.relay.smtp.protocol import SessionProtocol
from mailer.relay.smtp.session import Session, Target, describe, describe_tls, place
from mailer.relay.smtp.settings import SmtpSettings
from mailer.relay.smtp.tls import TlsContexts, TlsMemory
from mailer.relay.smtp.transcript import Transcript

_READY = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """What opening a session takes beside the target."""

    settings: SmtpSettings
    contexts: TlsContexts
    memory: TlsMemory
    now: Callable[[], datetime]
    monotonic: Callable[[], float]

    async def open(self, target: Target, address: str, transcript: Transcript) -> Session | Refused | Broken:
        """A session with `target` at `address`, or why there is none. Nothing the peer does raises."""
        opening = _Opening(self, target, address, transcript)
        try:
            return await opening.run()
        except SMTPResponseException as error:
            opening.abort()
            return Refused(_reply(error), opening.phase)
        except (OSError, EOFError, ProtocolError, SMTPException) as error:
            opening.abort()
            return Broken(opening.phase, describe(error))
        except BaseException:  # cancelled: the connection must not outlive us
            opening.abort()
            raise


class _Client(SMTP):
    """aiosmtplib's client on our protocol, at an address that was checked before."""

    def __init__(self, opening: _Opening) -> None:
        settings = opening.dialer.settings
        super().__init__(hostname=opening.target.host, local_hostname=settings.helo_name, start_tls=False)
        self._opening = opening

    async def _create_connection(self, timeout: float | None) -> SMTPResponse:  # noqa: ASYNC109 -- theirs
        reply = await self._opening.dial_and_be_greeted()
        self.protocol = self._opening.protocol
        self.transport = self._opening.wire.transport
        return SMTPResponse(reply.code, reply.text)


class _Opening:
    """The steps that make a session; `phase` says which one it stands at."""

    def __init__(self, dialer: Dialer, target: Target, address: str, transcript: Transcript) -> None:
        self.dialer = dialer
        self.target = target
        self.address = address
        self.transcript = transcript
        self.phase = Phase.CONNECT
        self.protocol: SessionProtocol | None = None
        self.client = _Client(self)

    async def run(self) -> Session:
        await self.client.connect()
        await self._ehlo()
        if self.target.tls is TlsMode.REQUIRED:
            await self._require_tls()
        elif self.target.tls is TlsMode.OPPORTUNISTIC:
            await self._try_tls()
        if self.target.username is not None:
            await self._log_in(self.target.username, self.target.password or "")
        offered = Capabilities.of(self.client.esmtp_extensions)
        return Session(self.target, self.address, self.wire, offered, self.dialer.monotonic())

    @property
    def wire(self) -> SessionProtocol:
        if self.protocol is None:
            raise ConnectionError("not connected")
        return self.protocol

    def abort(self) -> None:
        if self.protocol is not None:
            self.protocol.transcript = None
            self.protocol.fail(ConnectionAbortedError("given up"))

    async def dial_and_be_greeted(self) -> Reply:
        """RFC 5321 §3.1; the address is a literal, so nothing is resolved between check and connect."""
        loop = asyncio.get_running_loop()
        self.protocol = protocol = SessionProtocol(loop, self.transcript)
        self.transcript.note(f"connecting to {self.target.host} {place(self.address, self.target.port)}")
        seconds = self._seconds
        egress = self.dialer.settings.egress_ip
        async with asyncio.timeout(seconds):
            await loop.create_connection(
                lambda: protocol,
                self.address,
                self.target.port,
                local_addr=(egress, 0) if egress else None,
                **self._implicit_tls(seconds),
            )
        self._note_tls()
        self.phase = Phase.GREETING
        reply = await protocol.reply(self._seconds)
        if reply.code != _READY:
            raise SMTPResponseException(reply.code, "\n".join(reply.lines))
        return reply

    def _implicit_tls(self, seconds: float) -> dict[str, Any]:
        """Arguments for TLS from the first octet (RFC 8314 §3.3)."""
        if self.target.tls is not TlsMode.IMPLICIT:
            return {}
        return {
            "ssl": self.dialer.contexts.verified,
            "server_hostname": self.target.host,
            "ssl_handshake_timeout": seconds,
        }

    async def _ehlo(self) -> None:
        self.phase = Phase.EHLO
        try:
            await self.client.ehlo(timeout=self._seconds)
        except SMTPHeloError as error:
            if error.code // 100 != 5 or self.wire.failure is not None:
                raise
            # RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO.
            await self.client.helo(timeout=self._seconds)

    async def _require_tls(self) -> None:
        self.phase = Phase.STARTTLS
        if not self.client.supports_extension("starttls"):
            raise ConnectionError("the route requires TLS and the host does not offer STARTTLS")
        await self._start_tls(self.dialer.contexts.verified)
        await self._ehlo()

    async def _try_tls(self) -> None:
        """STARTTLS where offered; clear text only for a host not seen with TLS for 30 days."""
        host, memory, now = self.target.host, self.dialer.memory, self.dialer.now()
        seen = memory.seen_with_tls(host, now)
        if not self.client.supports_extension("starttls"):
            if seen:
                self.phase = Phase.STARTTLS
                raise ConnectionError("no STARTTLS from a host that offered it in the last 30 days")
            return
        if not seen and memory.failed_before(host, now):
            self.transcript.note("in clear: an earlier handshake failed, and mail was deferred for it")
            return
        self.phase = Phase.STARTTLS
        try:
            await self._start_tls(self.dialer.contexts.any_certificate)
        except (OSError, EOFError, ProtocolError, SMTPException):
            memory.note_failure(host, now)
            raise
        memory.note_tls(host, now)
        await self._ehlo()

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """RFC 3207 §4; what EHLO said before is forgotten, and must be asked again (§4.2)."""
        response = await self.client.starttls(
            tls_context=context, server_hostname=self.target.host, timeout=self._seconds
        )
        if response.code != _READY:
            raise SMTPResponseException(response.code, response.message)
        self._note_tls()

    async def _log_in(self, username: str, password: str) -> None:
        """RFC 4954 §4; the route saw to it that a password does not travel in clear."""
        self.phase = Phase.AUTH
        self.wire.hides_commands = True
        await self.client.login(username, password, timeout=self._seconds)
        self.wire.hides_commands = False

    def _note_tls(self) -> None:
        if tls := describe_tls(self.wire):
            self.transcript.note(tls)

    @property
    def _seconds(self) -> float:
        return self.dialer.settings.timeouts.of(self.phase)


def _reply(error: SMTPResponseException) -> Reply:
    return Reply(error.code, tuple(error.message.split("\n")))
