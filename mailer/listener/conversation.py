"""One connection: aiosmtpd's protocol class with its own reading and loop."""

from __future__ import annotations

import asyncio
import enum
import re
import traceback
from collections.abc import Callable, Coroutine
from types import MappingProxyType
from typing import Any, Protocol, cast

import structlog

from mailer.listener import reply as replies
from mailer.listener.commands import Commands, Over, TlsFailed
from mailer.listener.mailing import Mailing
from mailer.listener.parameters import Takes
from mailer.listener.reply import Hangup, ServerReply
from mailer.listener.rules import Rules
from mailer.listener.seam import Answer, Session, Unanswered
from mailer.listener.wire import BareLineFeed, Ended, Gone, Interrupted, LineTooLong, Silence, Wire

_log = structlog.get_logger(__name__)
_BROWSER = re.compile(rb"(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT) ", re.IGNORECASE)
# By how a line of theirs begins.
_ENVELOPE: MappingProxyType[bytes, Callable[[Mailing, str], Answer]] = MappingProxyType(
    {b"MAIL ": Mailing.mail, b"RCPT ": Mailing.rcpt, b"DATA\r": Mailing.data}
)


class End(enum.StrEnum):
    """Why a session ended; logged."""

    QUIT = "quit"
    LOST = "lost"
    SILENCE = "silence"
    REFUSED = "refused"
    SHUTDOWN = "shutdown"
    TLS_FAILED = "tls-failed"
    FAILED = "failed"


class Register(Protocol):
    """Who is connected."""

    def admit(self, conversation: Conversation) -> ServerReply | None:
        """None, or why there is no place for it."""
        ...

    def forget(self, conversation: Conversation) -> None:
        """Its connection is gone. More than once does no harm."""
        ...


class Conversation(Commands):
    """One session, from greeting to close. Nothing the peer does raises.

    tls_first  the handshake comes before the greeting (RFC 8314 §3.3)
    """

    def __init__(
        self, rules: Rules, register: Register, loop: asyncio.AbstractEventLoop, *, tls_first: bool
    ) -> None:
        super().__init__(rules, loop)
        self._register = register
        self._tls_first = tls_first
        self._began_at = loop.time()
        self._is_at_command = self._is_closing = self._is_over = False
        self._lingers = True
        self._abort_timer: asyncio.TimerHandle | None = None
        self._owed: Coroutine[Any, Any, ServerReply] | None = None  # an answer that the desk waits for

    def close_when_idle(self) -> None:
        """421 now, or after the transaction under way (RFC 5321 §3.8)."""
        self._is_closing = True
        if self._is_at_command and not self.mailing.is_open:
            self.wire.interrupt()

    def close_now(self) -> None:
        """421 where the session waits for the client; a call of the desk under way is cancelled."""
        self._is_closing = True
        if self._handler_coroutine is not None and not self._is_over:
            if self._is_over_tls == bool(self.talk.tls):  # in the middle of a handshake nothing can be said
                self.wire.say(replies.SHUTTING_DOWN.encode())
            self._handler_coroutine.cancel()

    # ---- what the event loop calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The declared type is wider; a stream server hands over a Transport, uvloop by duck type.
        stream = cast(asyncio.Transport, transport)
        peer, ours = stream.get_extra_info("peername"), stream.get_extra_info("sockname")
        rules = self.rules
        self.transport = transport
        self.talk = Session(peer=str(peer[0]) if peer else "", port=int(ours[1]) if ours else 0)
        self.wire = Wire(self.loop, stream)
        self.mailing = Mailing(
            rules.desk,
            self.talk,
            self.wire,
            rules.limits,
            rules.budget,
            takes=Takes(
                auth=rules.credentials is not None, dsn=rules.keeps_dsn, requiretls=rules.keeps_requiretls
            ),
        )
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if not (self._is_at_command and self.wire.is_awaited and self._answers_at_once(data)):
            self.wire.feed(data)

    def eof_received(self) -> bool:
        """The commands that came before are still answered, where the transport can: TLS cannot."""
        self.wire.end()
        return not (self._is_over_tls or self._is_over)

    def pause_writing(self) -> None:
        self.wire.pause_writing()

    def resume_writing(self) -> None:
        self.wire.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.wire.lose()
        self._register.forget(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def _answers_at_once(self, data: bytes) -> bool:
        """A command of an envelope that came alone is answered without waking the task, which costs as much
        again. False: nothing was done, and the task shall read it."""
        command = _ENVELOPE.get(data[:5].upper())
        if command is None or data.find(b"\n") != len(data) - 1 or self._is_closing or self._is_old():
            return False
        line = data[:-2]
        if data[-2:] != b"\r\n" or self._unreadable(line, is_auth=False) or not self.talk.host_name:
            return False
        try:
            answer = command(self.mailing, line[5:].decode().strip(" "))
            if isinstance(answer, ServerReply):
                self.say(answer)
            else:
                self._owed = answer
                self.wire.wake()
        except (Hangup, Unanswered) as end:
            self.wire.fail(end)
        except Exception as error:  # noqa: BLE001 -- the owner's bug must not end the server
            self._fail(error)
        self.wire.flush()
        self.wire.be_patient(self._until())
        return True

    # ---- the session ----------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """aiosmtpd's name for the loop over commands."""
        end = End.LOST
        try:
            end = await self._run()
        except Over:
            end, self._lingers = End.QUIT, False
        except TlsFailed:
            end, self._lingers = End.TLS_FAILED, False
        except Exception as error:  # noqa: BLE001 -- the loop's top
            self._report(error)
            self.wire.say(replies.INTERNAL_END.encode())
            end = End.FAILED
        finally:
            if self._is_closing and end is End.LOST:
                end = End.SHUTDOWN
            self._finish(end)

    async def _run(self) -> End:
        """Raises Over, TlsFailed."""
        try:
            await self._open()
            while True:
                await self._next_command()
        except Hangup as hangup:
            return self._part(hangup.reply, End.REFUSED)
        except BareLineFeed:
            return self._part(replies.BARE_LINE_END, End.REFUSED)
        except Silence:
            return self._part(replies.SILENCE, End.SILENCE)
        except Interrupted:
            return self._part(replies.SHUTTING_DOWN, End.SHUTDOWN)
        except (Gone, Unanswered):
            return End.LOST

    def _part(self, last: ServerReply, end: End) -> End:
        self.wire.say(last.encode())
        return end

    async def _open(self) -> None:
        """Greets (RFC 5321 §3.1). Who talks before the greeting is heard after it: a client that pipelines
        its EHLO blindly harms nobody, and telling spammers by it is for a filter."""
        refusal = self._register.admit(self)
        if refusal is not None:
            self._lingers = False  # a crowd that is turned away must not be kept in the hall
        if self._tls_first:
            context = self.fresh_tls_context()
            if refusal is not None or context is None:
                raise TlsFailed  # a reply in clear text is noise to this client
            await self.start_tls(context, before_greeting=True)
        elif refusal is not None:
            raise Hangup(refusal)
        self.wire.say(ServerReply(220, None, f"{self.hostname} ESMTP").encode())

    async def _next_command(self) -> None:
        """Raises Hangup, BareLineFeed, Over and what ends a wire."""
        wire, mailing = self.wire, self.mailing
        if self._is_closing and not mailing.is_open:
            raise Interrupted
        if self._is_old() and not mailing.is_content_due:
            raise Hangup(replies.ENOUGH)
        if wire.is_choked:
            await wire.drain(self._until())
        self._is_at_command = True
        try:
            while wire.is_empty and self._owed is None:
                await wire.more(self._until())  # meanwhile an envelope may be answered (_answers_at_once)
            if self._owed is not None:
                doing = self._pay()
            elif mailing.is_content_due:
                doing = self._receive()
            else:
                doing = self._obey(await wire.line(self.rules.limits.auth_line_octets, self._until()))
        except LineTooLong:
            self.say(replies.LINE_TOO_LONG)
            return
        finally:
            self._is_at_command = False
        try:
            await doing
        except (Hangup, BareLineFeed, Over, TlsFailed, Ended, Unanswered):
            raise
        except Exception as error:  # noqa: BLE001 -- the owner's bug must not end the server
            self._fail(error)

    def _is_old(self) -> bool:
        return self.wire.now() - self._began_at > self.rules.limits.session_seconds * (
            1 + self.mailing.is_open
        )

    def _until(self) -> float:
        return min(self.wire.now() + self.rules.limits.idle_seconds, self.mailing.until)

    async def _pay(self) -> None:
        owed, self._owed = self._owed, None
        if owed is not None:
            self.say(await owed)

    async def _receive(self) -> None:
        self.say(await self.mailing.receive())

    async def _obey(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        method = self._smtp_methods.get(verb.upper().decode("ascii", "replace"))
        if method is None and _BROWSER.match(line):
            # A page made a browser speak to us: its next lines are commands of the page's choosing.
            raise Hangup(replies.NO_BROWSERS)
        refusal = self._unreadable(line, is_auth=method is not None and verb.upper() == b"AUTH")
        if refusal is not None or method is None:
            self.say(refusal or replies.UNKNOWN_COMMAND)
            return
        await method(rest.decode().strip(" ") or None)

    def _fail(self, error: Exception) -> None:
        self._report(error)
        self.mailing.reset()
        self.say(replies.INTERNAL)

    def _unreadable(self, line: bytes, *, is_auth: bool) -> ServerReply | None:
        """Why the line is no command whatever its verb (RFC 5321 §2.3.8, §4.1.2, §4.5.3.1.4)."""
        if len(line) + 2 > self.rules.limits.command_octets and not is_auth:
            return replies.LINE_TOO_LONG
        if b"\r" in line:
            return replies.BARE_LINE_END
        try:
            line.decode()
        except UnicodeDecodeError:
            return replies.BAD_OCTETS
        return replies.BAD_OCTETS if b"\0" in line else None

    def _report(self, error: Exception) -> None:
        """Its kind and where it arose. Messages and local variables may hold mail and secrets."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
        _log.error("listener.failed", cause=type(error).__name__, at=places, peer=self.talk.peer)

    # ---- the end --------------------------------------------------------------------------------------

    def _finish(self, end: End) -> None:
        self._is_over = True
        if self._owed is not None:
            self._owed.close()
        self.mailing.reset()
        self.talk.leave()
        self.wire.flush()
        transport = self.wire.transport
        if transport.is_closing():
            self._register.forget(self)
        else:
            self._abort_timer = self.loop.call_later(self.rules.limits.linger_seconds, transport.abort)
            (self._half_close if self._lingers and not self.wire.has_ended else transport.close)()
        self._smtp_methods.clear()  # they refer to us: without it only the garbage collector would free us
        _log.info(
            "listener.session_ended",
            peer=self.talk.peer,
            port=self.talk.port,
            tls=self.talk.tls,
            end=end,
            messages=self.mailing.taken,
            errors=self._errors,
            seconds=round(self.loop.time() - self._began_at, 3),
        )

    def _half_close(self) -> None:
        """Closing over octets that were not read resets the connection, and our last reply may go with it."""
        transport = self.wire.transport
        closing: Callable[[], None] = transport.write_eof if transport.can_write_eof() else transport.close
        closing()
        self.wire.read_on()
