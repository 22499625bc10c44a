"""The commands of a session. aiosmtpd finds each by its name: `smtp_` and the verb (RFC 5321 §4.1.1)."""
# ruff: noqa: N802 -- aiosmtpd's names

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import structlog
from aiosmtpd.smtp import SMTP

from mailer.listener import reply as replies
from mailer.listener.authentication import Authentication
from mailer.listener.mailing import Mailing
from mailer.listener.reply import Hangup, ServerReply, reply
from mailer.listener.rules import Rules
from mailer.listener.seam import Answer, Session
from mailer.listener.wire import Wire

_log = structlog.get_logger(__name__)

# Looser than RFC 5321 §4.1.1.1: desktop clients send their machine's name as it is, and refusing them the
# session for it protects nobody.
_HOST_NAME = re.compile("[!-~\x80-\U0010ffff]{1,255}")
_VERBS = (
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "QUIT", "RCPT", "RSET",
    "STARTTLS", "VRFY",
)  # fmt: skip
_METHODS = tuple(f"smtp_{verb}" for verb in _VERBS)
_HELP = reply(214, "2.0.0", f"Commands: {' '.join(_VERBS)}")
_TLS_ACTIVE = reply(503, "5.5.1", "TLS is active already")
_NO_TLS_NOW = reply(454, "4.7.0", "TLS not available due to temporary reason")  # RFC 3207 §4
_TLS_NEEDED = reply(538, "5.7.11", "Encryption required for authentication")  # RFC 4954 §6
_KNOWN_ALREADY = reply(503, "5.5.1", "Authenticated already")
_NOT_DURING_MAIL = reply(503, "5.5.1", "Not during a mail transaction")
_HOST_NAME_SYNTAX = reply(501, "5.5.4", "Give one host name of up to 255 characters")


class Over(Exception):
    """The session has ended in order."""


class TlsFailed(Exception):
    """There was no handshake; the connection is of no further use."""


class _NoHooks:
    """aiosmtpd looks for hooks by name in its handler. `Desk` takes their place."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Commands(SMTP):
    """What each verb does. `talk`, `wire` and `mailing` exist from the connection on."""

    talk: Session
    wire: Wire
    mailing: Mailing

    def __init__(self, rules: Rules, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_NO_HOOKS, hostname=rules.host, enable_SMTPUTF8=True, loop=loop)
        self.rules = rules
        self._authentication: Authentication | None = None
        self._is_over_tls = False
        self._errors = 0

    def __dir__(self) -> Iterable[str]:
        """Spares aiosmtpd its search for commands among all attributes, once a connection."""
        return _METHODS

    def say(self, answer: ServerReply) -> None:
        """Raises Hangup if it ends the session, or was one error too many."""
        if answer.ends_session:
            raise Hangup(answer)
        if answer.is_protocol_error:
            self._errors += 1
            if self._errors >= self.rules.limits.errors:
                raise Hangup(replies.TOO_MANY_ERRORS)
        self.wire.say(answer.encode())

    # ---- the session ----------------------------------------------------------------------------------

    async def smtp_HELO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        if self._introduce(arg, is_extended=False):
            self.wire.say(ServerReply(250, None, self.hostname).encode())

    async def smtp_EHLO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        if self._introduce(arg, is_extended=True):
            *first, last = self.hostname, *self._capabilities()
            lines = [f"250-{line}\r\n" for line in first] + [f"250 {last}\r\n"]
            self.wire.say("".join(lines).encode("ascii"))

    def _introduce(self, arg: str | None, *, is_extended: bool) -> bool:
        if not _HOST_NAME.fullmatch(arg or ""):
            self.say(_HOST_NAME_SYNTAX)
            return False
        self.mailing.reset()  # RFC 5321 §4.1.4
        self.talk.host_name = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in arg or "")
        self.talk.is_extended = is_extended
        return True

    def _capabilities(self) -> Iterator[str]:
        yield f"SIZE {self.rules.limits.size_bytes}"  # RFC 1870 §4
        yield "PIPELINING"  # RFC 2920 §3
        yield "8BITMIME"  # RFC 6152 §2
        yield "SMTPUTF8"  # RFC 6531 §3.1
        if self.rules.keeps_dsn:
            yield "DSN"  # RFC 3461 §4
        yield "ENHANCEDSTATUSCODES"  # RFC 2034 §3
        yield "CHUNKING"  # RFC 3030 §2
        if self.rules.tls is not None and not self._is_over_tls:
            yield "STARTTLS"  # RFC 3207 §4.2: not once it is in use
        if self.rules.keeps_requiretls and self._is_over_tls:
            yield "REQUIRETLS"  # RFC 8689 §2
        if self.rules.credentials is not None and (self._is_over_tls or self.rules.auth_in_clear):
            yield "AUTH PLAIN LOGIN"  # RFC 4954 §3
        yield "HELP"

    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.9: an argument is ignored."""
        self.say(replies.OK)

    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.8."""
        self.say(_HELP)

    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 §7.3: nobody learns here who has a mailbox."""
        self.say(replies.CANNOT_VERIFY if arg else replies.ARGUMENT_NEEDED)

    async def smtp_EXPN(self, arg: str | None) -> None:
        """RFC 5321 §7.3."""
        self.say(replies.NOT_IMPLEMENTED)

    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            self.say(replies.NO_ARGUMENT)
            return
        self.mailing.reset()
        self.say(replies.OK)

    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.10. Raises Over."""
        if arg:
            self.say(replies.NO_ARGUMENT)
            return
        self.say(replies.BYE)
        raise Over

    # ---- who is there ---------------------------------------------------------------------------------

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207 §4. What came behind the command in clear text is dropped unread (CVE-2011-0411)."""
        if arg or self.rules.tls is None or self._is_over_tls:
            no_tls = _TLS_ACTIVE if self._is_over_tls else replies.NOT_IMPLEMENTED
            self.say(replies.NO_ARGUMENT if arg else no_tls)
            return
        context = self.fresh_tls_context()
        if context is None:
            self.say(_NO_TLS_NOW)
            return
        self.say(replies.START_TLS)
        await self.start_tls(context)

    def fresh_tls_context(self) -> ssl.SSLContext | None:
        """None if there is no TLS, or its certificate cannot be had just now; that is logged."""
        try:
            return self.rules.tls() if self.rules.tls is not None else None
        except (OSError, ValueError) as error:  # ssl.SSLError among them
            _log.error("listener.no_certificate", cause=type(error).__name__)
            return None

    async def start_tls(self, context: ssl.SSLContext, *, before_greeting: bool = False) -> None:
        """Everything known of the client is forgotten (RFC 3207 §4.2). Raises TlsFailed.

        before_greeting  what was read already is the beginning of the handshake
        """
        self.wire.flush()
        if not before_greeting:
            self.wire.forget()
        self._is_over_tls = True
        handshake = self.loop.start_tls(
            self.wire.transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=self.rules.limits.handshake_seconds,
        )
        try:
            if before_greeting:
                transport = await self._with_what_came(self.loop.create_task(handshake))
            else:
                transport = await handshake
        except OSError as error:  # ssl.SSLError, ConnectionError and TimeoutError among them
            raise TlsFailed from error
        if transport is None:
            raise TlsFailed
        self.transport = transport
        self.wire.move_to(transport)
        self.mailing.reset()
        tls = transport.get_extra_info("ssl_object")
        self.talk.tls, self.talk.cipher = tls.version(), tls.cipher()[0]
        self.talk.leave()
        self.talk.host_name, self.talk.is_extended, self.talk.identity = "", False, None

    async def _with_what_came(
        self, handshake: asyncio.Task[asyncio.Transport | None]
    ) -> asyncio.Transport | None:
        """uvloop reads as soon as a connection is made, so the first octets may have come to us."""
        raw = self.wire.transport
        await asyncio.sleep(0)  # the handshake has taken the transport over
        early = self.wire.take()
        if early:
            # Behind what start_tls has put there itself: the protocol learns of its connection first.
            self.loop.call_soon(_feed, cast(asyncio.BufferedProtocol, raw.get_protocol()), early)
        return await handshake

    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954 §4. Raises Hangup at the last failure allowed."""
        refusal = self._no_auth()
        if refusal is not None or self.rules.credentials is None:
            self.say(refusal or replies.NOT_IMPLEMENTED)
            return
        if self._authentication is None:
            self._authentication = Authentication(
                self.rules.credentials, self.talk, self.wire, self.rules.limits
            )
        self.say(await self._authentication.run(arg or ""))

    def _no_auth(self) -> ServerReply | None:
        if self.rules.credentials is None:
            return replies.NOT_IMPLEMENTED
        if not self.talk.is_extended:
            return replies.NO_GREETING
        if not (self._is_over_tls or self.rules.auth_in_clear):
            return _TLS_NEEDED
        if self.talk.identity is not None:
            return _KNOWN_ALREADY
        return _NOT_DURING_MAIL if self.mailing.is_open else None

    # ---- mail -----------------------------------------------------------------------------------------

    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        await self._say_of_envelope(Mailing.mail, arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        await self._say_of_envelope(Mailing.rcpt, arg)

    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.4. The content is read when it comes."""
        await self._say_of_envelope(Mailing.data, arg)

    async def _say_of_envelope(self, command: Callable[[Mailing, str], Answer], arg: str | None) -> None:
        answer = command(self.mailing, arg or "") if self.talk.host_name else replies.NO_GREETING
        self.say(answer if isinstance(answer, ServerReply) else await answer)

    async def smtp_BDAT(self, arg: str | None) -> None:
        """RFC 3030 §2. Answered by `Mailing` in any state: the chunk has to be read first."""
        self.say(await self.mailing.bdat(arg or ""))


def _feed(protocol: asyncio.BufferedProtocol, octets: bytearray) -> None:
    """As a transport does (BufferedProtocol)."""
    while octets:
        buffer = memoryview(protocol.get_buffer(len(octets)))
        taken = min(len(buffer), len(octets))
        buffer[:taken] = octets[:taken]
        protocol.buffer_updated(taken)
        octets = octets[taken:]
