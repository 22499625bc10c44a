"""MAIL, RCPT, DATA and BDAT: one transaction after another (RFC 5321 §3.3, RFC 3030 §2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

from mailer.listener import reply as replies
from mailer.listener.content import Reading, flaw, read_chunk, read_to_dot
from mailer.listener.limits import Limits
from mailer.listener.parameters import ParameterError, Takes, mail_parameters, rcpt_parameters
from mailer.listener.path import Path, PathError, forward_path, reverse_path
from mailer.listener.reply import Hangup, ServerReply, reply
from mailer.listener.seam import Answer, Budget, Desk, Hold, Recipient, Session, Transaction
from mailer.listener.wire import Wire

_BDAT = re.compile(r"([0-9]{1,20})( LAST)?", re.IGNORECASE)
_NEEDS_SMTPUTF8 = reply(553, "5.6.7", "The address needs SMTPUTF8")  # RFC 6531 §3.5
_NO_EXTENSIONS = reply(555, "5.5.4", "Parameters need EHLO")
_MAIL_SYNTAX = reply(501, "5.5.4", "Syntax: MAIL FROM:<reverse-path> [parameters]")
_RCPT_SYNTAX = reply(501, "5.5.4", "Syntax: RCPT TO:<forward-path> [parameters]")
_BDAT_SYNTAX = reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")


class Mailing:
    """The mail transactions of one session. Methods return the reply; content is read off the wire.

    Of the envelope's commands the reply is there at once, unless the desk has to wait for it.

    taken        messages that the desk took
    takes        which parameters are understood
    """

    def __init__(
        self,
        desk: Desk,
        session: Session,
        wire: Wire,
        limits: Limits,
        budget: Budget,
        *,
        takes: Takes,
    ) -> None:
        self._desk = desk
        self._session = session
        self._wire = wire
        self._limits = limits
        self._budget = budget
        self._takes = takes
        self._transaction: Transaction | None = None
        self._chunks: bytearray | None = None
        self._reading: Reading | None = None
        self._hold: Hold | None = None
        self._held = ExitStack()
        self._begun = 0
        self.taken = 0

    @property
    def is_open(self) -> bool:
        return self._transaction is not None

    @property
    def is_content_due(self) -> bool:
        """The client was told to go ahead: what comes next is for `receive`."""
        return self._reading is not None and self._chunks is None

    @property
    def until(self) -> float:
        """When content must be there, infinity where none is due. The pause between chunks is part of a
        content's time: one octet a chunk, a chunk a minute, would hold memory for hours."""
        return math.inf if self._reading is None else self._reading.until

    def reset(self) -> None:
        """No transaction, and nothing held (RFC 5321 §4.1.1.5)."""
        self._transaction = self._chunks = self._reading = self._session.sender = None
        if self._hold is not None:
            self._hold = None
            self._held.close()

    # ---- the envelope ---------------------------------------------------------------------------------

    def mail(self, arg: str) -> Answer:
        """RFC 5321 §4.1.1.2. Raises Hangup after as many messages as one connection may bring."""
        if self._transaction is not None:
            return replies.NESTED_MAIL
        if self._begun >= self._limits.messages:
            raise Hangup(replies.ENOUGH)
        if arg[:5].upper() != "FROM:":
            return _MAIL_SYNTAX
        try:
            path, rest = reverse_path(arg[5:].lstrip(" "))
        except PathError as error:
            return reply(501, "5.1.7", str(error))
        if rest and not self._session.is_extended:
            return _NO_EXTENSIONS
        try:
            parameters = mail_parameters(
                rest,
                takes_auth=self._takes.auth,
                takes_dsn=self._takes.dsn,
                takes_requiretls=self._takes.requiretls and self._session.tls is not None,
            )
        except ParameterError as error:
            return error.reply
        if path.needs_utf8 and not parameters.smtputf8:
            return _NEEDS_SMTPUTF8
        if parameters.size is not None and parameters.size > self._limits.size_bytes:
            return replies.TOO_LARGE
        answer = self._desk.mail(self._session, path, parameters)
        return _then(answer, partial(self._open, Transaction(path, parameters)))

    def _open(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._session.sender = transaction.reverse_path

    def rcpt(self, arg: str) -> Answer:
        """RFC 5321 §4.1.1.3."""
        transaction = self._transaction
        if transaction is None:
            return replies.NO_MAIL
        if self._chunks is not None:
            return replies.CHUNKS_BEGAN
        if arg[:3].upper() != "TO:":
            return _RCPT_SYNTAX
        try:
            path, rest = forward_path(arg[3:].lstrip(" "))
        except PathError as error:
            return reply(501, "5.1.3", str(error))
        return self._add(transaction, path, rest)

    def _add(self, transaction: Transaction, path: Path, rest: str) -> Answer:
        if rest and not self._session.is_extended:
            return _NO_EXTENSIONS
        is_utf8 = transaction.parameters.smtputf8
        if path.needs_utf8 and not is_utf8:
            return _NEEDS_SMTPUTF8
        try:
            parameters = rcpt_parameters(rest, is_utf8=is_utf8, takes_dsn=self._takes.dsn)
        except ParameterError as error:
            return error.reply
        if len(transaction.recipients) >= self._limits.recipients:
            return replies.TOO_MANY_RECIPIENTS
        answer = self._desk.rcpt(self._session, path, parameters)
        return _then(answer, partial(transaction.recipients.append, Recipient(path, parameters)))

    # ---- the content ----------------------------------------------------------------------------------

    def data(self, arg: str) -> ServerReply:
        """RFC 5321 §4.1.1.4. The go-ahead, or why there is none."""
        refusal = replies.NO_ARGUMENT if arg else self._not_ready()
        if self._chunks is not None:
            refusal = replies.CHUNKS_BEGAN
        transaction = self._transaction
        if refusal is not None or transaction is None:
            return refusal or replies.NO_MAIL
        reading = self._begin_reading()
        # Room is found before the go-ahead: a busy server then has nothing to read and drop.
        if not reading.reserve(transaction.parameters.size or 0):
            return reading.refusal or replies.BUSY
        self._reading = reading
        return replies.START_INPUT

    async def receive(self) -> ServerReply:
        """The content after the go-ahead. Raises Hangup if it has no end, and what `Wire.more` raises."""
        reading, transaction = self._reading, self._transaction
        if reading is None or transaction is None:
            raise RuntimeError("no content is due")
        content = await read_to_dot(self._wire, reading, self._limits.size_bytes)
        if content is None:
            self.reset()
            return reading.refusal or replies.TOO_LARGE
        transaction.content = content
        del content
        return await self._finish(transaction)

    async def bdat(self, arg: str) -> ServerReply:
        """RFC 3030 §2. The chunk is read whatever the reply; a failed chunk ends the transaction.

        Raises Hangup where the chunk has no length that can be read, since commands cannot be told from it.
        """
        parsed = _BDAT.fullmatch(arg)
        if parsed is None:
            raise Hangup(_BDAT_SYNTAX)
        octets, is_last = int(parsed[1]), parsed[2] is not None
        reading = self._reading or self._begin_reading()
        chunks = self._chunks if self._chunks is not None else bytearray()
        total = len(chunks) + octets
        reading.refusal = self._not_ready() or (
            replies.TOO_LARGE if total > self._limits.size_bytes else None
        )
        reading.reserve(total)
        await read_chunk(self._wire, reading, octets, chunks)
        if reading.refusal is not None or self._transaction is None:
            self.reset()
            return reading.refusal or replies.NO_MAIL
        if is_last:
            self._transaction.content = bytes(chunks)
            chunks.clear()
            return await self._finish(self._transaction)
        self._chunks, self._reading = chunks, reading
        return reply(250, "2.0.0", f"{octets} octets received")

    def _not_ready(self) -> ServerReply | None:
        if self._transaction is None:
            return replies.NO_MAIL
        return None if self._transaction.recipients else replies.NO_RECIPIENTS

    def _begin_reading(self) -> Reading:
        if self._hold is None:
            self._hold = self._held.enter_context(self._budget.hold())
        return Reading(self._limits, self._hold, self._wire.now)

    async def _finish(self, transaction: Transaction) -> ServerReply:
        """Hands the message over, if it is one; the transaction is over either way. No variable of ours holds
        the content meanwhile, so that the desk may free it."""
        self._begun += 1
        try:
            refusal = flaw(transaction.content, self._limits)
            if refusal is not None:
                return refusal
            answer = await self._desk.take(self._session, transaction)
            self.taken += answer.is_positive
            return answer
        finally:
            self.reset()


def _then(answer: Answer, done: Callable[[], None]) -> Answer:
    """The answer, with `done` called if it is positive."""
    if not isinstance(answer, ServerReply):
        return _after(answer, done)
    if answer.is_positive:
        done()
    return answer


async def _after(answer: Coroutine[Any, Any, ServerReply], done: Callable[[], None]) -> ServerReply:
    given = await answer
    if given.is_positive:
        done()
    return given
