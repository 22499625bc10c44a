"""The catching MX's side of an SMTP session: aiosmtpd with a quicker DATA and its own limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from mailer.report.maildir import Delivery, Maildir
from mailer.report.trace import Arrival, trace_fields

_log = structlog.get_logger(__name__)

SIZE_LIMIT = 40 * 1024 * 1024
RECIPIENT_LIMIT = 1000  # at least 100 must be taken (RFC 5321 §4.5.3.1.8)
IDLE_SECONDS = 300.0  # a server waits at least five minutes (RFC 5321 §4.5.3.2.7)
_END = b"\r\n.\r\n"
_CHUNK = 1 << 16
# A path without quoting or a source route: all that our own relay sends. The rest is left to aiosmtpd's
# full parser, which costs 80 us an address.
_PLAIN_PATH = re.compile(
    r'<([^\x00-\x20<>"\\()\[\]:;,@\x7f\ud800-\udfff]+@[^\x00-\x20<>"\\@\x7f\ud800-\udfff]+)?>'
)
_UNCLEAN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NULL_PATH = "<>"  # how aiosmtpd's envelope holds it; an empty string would mean "no MAIL yet"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a Catcher needs. host: its name in greeting and trace. now: the wall clock."""

    host: str
    maildir: Maildir
    now: Callable[[], datetime]
    size_limit: int = SIZE_LIMIT


class Catcher(SMTP):
    """One session. Takes every recipient; answers the final dot after the copies stand in `new/`."""

    line_length_limit = _CHUNK  # of the stream's buffer: the stock 1,001 stops reading every 2 KB
    command_size_limit = 2048

    def __init__(self, rules: Rules, tls_context: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._size_limit = rules.size_limit
        super().__init__(
            _Desk(rules),
            data_size_limit=rules.size_limit,
            enable_SMTPUTF8=True,
            hostname=rules.host,
            ident="ECM Mailer sandbox inbox",
            tls_context=tls_context,
            timeout=IDLE_SECONDS,
            loop=loop,
        )

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 -- aiosmtpd finds it by this name
        """RFC 5321 §4.1.1.4. A coroutine step a chunk, where aiosmtpd takes one a line."""
        if await self.check_helo_needed():
            return
        assert self.envelope is not None  # set from connection_made on
        if arg or not self.envelope.rcpt_tos:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 Send RCPT first")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        content = await self._read_content()
        if content is None:
            reply = "552 5.3.4 Message is larger than this inbox takes"  # RFC 1870 §6.3
        else:
            self.envelope.content = content
            reply = await self._call_handler_hook("DATA")
        self._set_rset_state()  # type: ignore[no-untyped-call]
        await self.push(reply)

    async def _read_content(self) -> bytes | None:
        """What stood before the final dot, unstuffed; None if it was too large, read to the end all the same.

        Only CRLF.CRLF ends it: a server that takes bare LF for a line end can be made to see two
        messages where its peer saw one (RFC 5321 §2.3.8, §4.1.1.4).
        """
        heard, is_over = (
            bytearray(b"\r\n"),
            False,
        )  # the CRLF of DATA itself may begin the end (empty content)
        while True:
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                raise asyncio.CancelledError  # end of file: aiosmtpd cancels this task on its next step
            heard += chunk
            end = heard.find(_END, max(0, len(heard) - len(chunk) - len(_END) + 1))
            if end >= 0:
                break
            if len(heard) > self._size_limit + len(_END):
                is_over = True
                del heard[: 1 - len(_END)]
        # What follows the dot is the next command of a pipelining client (RFC 2920 §3.1).
        self._reader._buffer[:0] = heard[end + len(_END) :]  # type: ignore[attr-defined]
        if is_over or end > self._size_limit:
            return None
        # RFC 5321 §4.5.2: the first dot of a line goes.
        return bytes(heard[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        path = arg.lstrip()
        found = _PLAIN_PATH.match(path)
        if found:
            return found[1] or _NULL_PATH, path[found.end() :]
        address, rest = super()._getaddr(arg)
        # It goes into our trace fields: nothing that could end a line there, nothing that is not UTF-8.
        return (None, None) if address and _UNCLEAN.search(address) else (address, rest)


class _Desk:
    """aiosmtpd's hooks; a reply is the hook's result."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def handle_EHLO(  # noqa: N802
        self, server: Catcher, session: Session, envelope: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        """AUTH goes (there is nobody to be here), PIPELINING comes: it works, but aiosmtpd says nothing."""
        session.host_name = hostname
        kept = [line for line in replies[:-1] if not line.startswith("250-AUTH")]
        return [*kept, "250 PIPELINING"]

    async def handle_RCPT(  # noqa: N802
        self, server: Catcher, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == _NULL_PATH:
            return "553 5.1.3 The null path is no recipient"
        if len(envelope.rcpt_tos) >= RECIPIENT_LIMIT:
            return "452 4.5.3 Too many recipients"  # RFC 5321 §4.5.3.1.10
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: Catcher, session: Session, envelope: Envelope
    ) -> str:
        try:
            keys = self._keep(session, envelope)
        except OSError as error:
            _log.error("inbox.unwritable", cause=type(error).__name__, errno=error.errno)
            return "452 4.3.1 The inbox cannot be written"
        return f"250 2.0.0 Kept as {keys[0]}"

    def _keep(self, session: Session, envelope: Envelope) -> list[str]:
        """A copy a recipient, each with its own trace: that of one does not tell of the others."""
        maildir, arrival, content = self._rules.maildir, self._arrival(session, envelope), envelope.content
        assert isinstance(content, bytes) and envelope.mail_from is not None  # DATA comes after MAIL and RCPT
        reverse_path = "" if envelope.mail_from == _NULL_PATH else envelope.mail_from
        deliveries = []
        for recipient in envelope.rcpt_tos:
            key = maildir.new_key()
            fields = trace_fields(arrival, reverse_path, recipient, key)
            deliveries.append(Delivery(key, fields + content))
        maildir.deliver(deliveries)
        return [delivery.key for delivery in deliveries]

    def _arrival(self, session: Session, envelope: Envelope) -> Arrival:
        return Arrival(
            peer_name=session.host_name or "",
            peer_address=session.peer[0] if session.peer else "",
            host=self._rules.host,
            is_esmtp=session.extended_smtp,
            is_tls=session.ssl is not None,
            is_utf8=bool(envelope.smtp_utf8),
            at=self._rules.now(),
        )

    async def handle_exception(self, error: Exception) -> str:
        """A failed handshake is the peer's affair; anything else is our bug, and the mail may come again."""
        _log.warning("inbox.session_failed", cause=type(error).__name__)
        return "451 4.3.0 Local error, try again later"
