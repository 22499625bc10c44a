"""One SMTP mail transaction (RFC 5321 §3.3) with one recipient, pipelined where the peer offers it.

    us    MAIL RCPT DATA           content and dot
    peer            250 250 354                     250

Before the dot every failure is harmless: nothing was delivered. From the write that carries the dot on,
silence is in doubt. The journal hears of the dot before it goes out and of its reply before anything else.
Where BDAT pays (chunking.py) its content goes along with the envelope: that write is the dot's, and a refused
sender or recipient withdraws it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from mailer.compose.downgrade import CannotDowngrade
from mailer.events import WaitReason
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused, Unsuitable
from mailer.protocol.phase import Phase
from mailer.protocol.reply import ProtocolError, Reply
from mailer.relay.carrier import DotJournal
from mailer.relay.smtp.chunking import LARGEST_OCTETS, is_not_understood
from mailer.relay.smtp.content import Wire
from mailer.relay.smtp.session import Session, describe
from mailer.relay.smtp.settings import Timeouts
from mailer.relay.smtp.transcript import Transcript

_START_INPUT = 354  # RFC 5321 §4.2.3, the only go-ahead to DATA
CLOSING = 421  # RFC 5321 §3.8: the peer closes the channel, whatever it answers
_BLOCK = 65536


@dataclass(slots=True)
class Progress:
    """How far an attempt came; what `close` looks at.

    dot_sent  the final dot may be on its way: from now on silence is in doubt, and no other host is tried
    released  the worker is stopping and took the attempt back before its dot
    refused   the answer that decides, while the rest of its pipelined group is still read
    by_bdat   the content went along with the envelope
    bdat_failed  the host met BDAT with what DATA would not have met with; nothing of it was taken, or it is
              in doubt
    """

    phase: Phase = Phase.RESOLVE
    dot_sent: bool = False
    released: bool = False
    refused: Refused | None = None
    by_bdat: bool = False
    bdat_failed: bool = False


async def transact(
    session: Session,
    wire: Wire,
    progress: Progress,
    transcript: Transcript,
    *,
    journal: DotJournal,
    timeouts: Timeouts,
    may_chunk: bool = False,
) -> Outcome:
    """Offers the mail over a session in step. Nothing the peer or the network does raises.

    may_chunk  content that is small may go by BDAT (Chunking.pays)

    Afterwards the session is in step, owes us replies it still counts, or is dead; never in between.
    """
    try:
        wire = await _suited(wire, session, transcript)
    except CannotDowngrade as error:
        return Unsuitable(error.status, str(error))
    unsuitable = session.lack(wire.mail)
    if unsuitable is not None:
        return unsuitable
    session.messages += 1
    transaction = _Transaction(session, wire, progress, transcript, journal, timeouts)
    by_bdat = may_chunk and len(wire.mail.content) <= LARGEST_OCTETS
    try:
        return await (transaction.run_at_once() if by_bdat else transaction.run())
    except (OSError, ProtocolError) as error:
        progress.bdat_failed |= by_bdat and progress.dot_sent
        session.discard()
        return progress.refused or Broken(progress.phase, describe(error))


async def _suited(wire: Wire, session: Session, transcript: Transcript) -> Wire:
    """The same mail in seven bits, where the peer takes no more and there is such a form of it."""
    mail = wire.mail
    if not mail.is_8bit or session.capabilities.eightbit or mail.in_seven_bits is None:
        return wire
    transcript.note("the peer does not offer 8BITMIME: the content is encoded in 7 bits and signed anew")
    return Wire.of(replace(await asyncio.to_thread(mail.in_seven_bits), tls=mail.tls))


@dataclass(slots=True)
class _Transaction:
    session: Session
    wire: Wire
    progress: Progress
    transcript: Transcript
    journal: DotJournal
    timeouts: Timeouts

    async def run(self) -> Outcome:
        await self._collect_owed()
        last = await self._offer_envelope()
        if self.progress.refused is not None:
            self._leave(self.progress.refused.reply, last)
            return self.progress.refused
        return await self._send_content()

    async def run_at_once(self) -> Outcome:
        """Envelope and content in one flight (RFC 3030 §2, RFC 2920 §3.1: BDAT may stand in a group)."""
        await self._collect_owed()
        session, wire, progress = self.session, self.wire, self.progress
        passed_on = wire.passes_on(session.capabilities)
        if session.protocol.failure is not None:
            raise session.protocol.failure
        if not self.journal.about_to_send_dot(wire.mail.attempt_id, passed_on=passed_on):
            return NotTried(WaitReason.RELEASED)  # nothing was said: the session is in step
        progress.dot_sent = progress.by_bdat = True
        progress.phase = Phase.END_OF_DATA  # whatever is lost from here on may hide an acceptance
        chunk = wire.chunk
        lines = (*wire.envelope(session.capabilities)[:2], f"BDAT {len(chunk)} LAST")
        self.transcript.said(*lines, f"<{len(chunk)} octets>")
        session.protocol.send(_octets(lines) + chunk, replies=3)
        for phase in (Phase.MAIL, Phase.RCPT):
            reply = await session.protocol.reply(self.timeouts.of(phase))
            if not reply.is_positive and progress.refused is None:
                self._withdraw(Refused(reply, phase))
            if reply.code == CLOSING:
                break
        else:
            reply = await session.protocol.reply(self.timeouts.end_of_data)
        if progress.refused is None:
            return self._judge_chunk(reply)
        if reply.is_positive:
            self.transcript.note("the content was accepted for nobody: what stood before it was refused")
        if reply.code // 100 == 3:
            session.discard()  # it waits for something, and not for a command
        else:
            self._leave(progress.refused.reply, reply)
        return progress.refused

    def _withdraw(self, refused: Refused) -> None:
        """Without a sender or its only recipient the peer cannot take the content that goes along."""
        self.progress.refused = refused
        self._never_sent()

    def _never_sent(self) -> None:
        self.journal.withdrawn(self.wire.mail.attempt_id)
        self.progress.dot_sent = False

    def _judge_chunk(self, reply: Reply) -> Outcome:
        """The recipient was taken: what follows from the reply to BDAT."""
        if is_not_understood(reply):
            # What it takes for commands in the content, it must not be left to go on with.
            self.session.discard()
            self._never_sent()
            self.progress.bdat_failed = True
            return Broken(Phase.DATA, f"BDAT was offered and answered {reply.code} {reply.text}")
        outcome = self._verdict(reply)
        if isinstance(outcome, Refused) and reply.code != CLOSING:
            # RFC 3030 §2: after a failed BDAT the transaction is over only with RSET.
            self._leave(reply, reply)
        return outcome

    async def _collect_owed(self) -> None:
        """Reads what the peer still had to say to our RSET after the refusal before."""
        self.progress.phase = Phase.MAIL
        while self.session.owed:
            reply = await self.session.protocol.reply(self.timeouts.mail)
            self.session.owed -= 1
            if not self.session.owed and not reply.is_positive:
                raise ProtocolError(f"RSET was answered {reply.code} {reply.text}")

    async def _offer_envelope(self) -> Reply:
        """MAIL, RCPT, DATA; returns the last reply read. A refusal goes to `progress.refused`."""
        offered = self.session.capabilities
        lines = self.wire.envelope(offered)
        if offered.pipelining:
            self._say(lines)
        for phase, line in zip((Phase.MAIL, Phase.RCPT, Phase.DATA), lines, strict=True):
            self.progress.phase = phase
            if not offered.pipelining:
                self._say((line,))
            reply = await self.session.protocol.reply(self.timeouts.of(phase))
            good = reply.code == _START_INPUT if phase is Phase.DATA else reply.is_positive
            if not good and self.progress.refused is None:
                self.progress.refused = Refused(reply, phase)
            if reply.code == CLOSING or not (good or offered.pipelining):
                break
        return reply

    def _say(self, lines: Sequence[str]) -> None:
        self.transcript.said(*lines)
        self.session.protocol.send(_octets(lines), replies=len(lines))

    def _leave(self, decisive: Reply, last: Reply) -> None:
        """Keeps the session for other mail after a refusal, without waiting for it."""
        if CLOSING in (decisive.code, last.code):
            self.session.discard()
            return
        words = ["RSET"]
        if last.code == _START_INPUT:
            # RFC 2920 §3.1: DATA was let through though no recipient was; the empty message ends it.
            words = [".", "RSET"]
        self._say(words)
        self.session.owed = len(words)

    async def _send_content(self) -> Outcome:
        protocol, wire = self.session.protocol, self.wire
        self.progress.phase = Phase.CONTENT
        start = 0
        if len(wire.content) > _BLOCK:
            start = await self._send_blocks()
            if (early := protocol.early_reply()) is not None:
                return self._answered_early(early)
        if protocol.failure is not None:
            raise protocol.failure
        passed_on = wire.passes_on(self.session.capabilities)
        if not self.journal.about_to_send_dot(wire.mail.attempt_id, passed_on=passed_on):
            self.session.discard()  # after 354 there is no other way out
            return NotTried(WaitReason.RELEASED)
        # From here on the peer may hold the message and only its 250 be lost; giving up early sends
        # copies (RFC 5321 §4.5.3.2.6, RFC 1047 §3).
        self.progress.dot_sent = True
        self.progress.phase = Phase.END_OF_DATA
        self.transcript.said(f"<{len(wire.mail.content)} octets>", ".")
        protocol.send(wire.content[start:] if start else wire.content, replies=0 if start else 1)
        return await self._hear_verdict()

    async def _send_blocks(self) -> int:
        """Sends all but the last block; returns where that begins. The final dot stays behind."""
        content, protocol = self.wire.content, self.session.protocol
        last = len(content) - _BLOCK
        view = memoryview(content)
        for start in range(0, last, _BLOCK):
            protocol.send(view[start : min(start + _BLOCK, last)], replies=0 if start else 1)
            await protocol.drain(self.timeouts.content)
            if protocol.has_reply:
                break
        return last

    def _answered_early(self, reply: Reply) -> Outcome:
        """The peer judged the content before its end, and will not read the rest as content."""
        self.session.discard()
        if reply.code >= 400:
            return Refused(reply, Phase.CONTENT)
        return Broken(Phase.CONTENT, f"{reply.code} {reply.text} before the end of the content")

    async def _hear_verdict(self) -> Outcome:
        return self._verdict(await self.session.protocol.reply(self.timeouts.end_of_data))

    def _verdict(self, reply: Reply) -> Outcome:
        """Raises ProtocolError."""
        if 300 <= reply.code < 400:
            # Neither yes nor no: whether the peer holds the message cannot be told.
            raise ProtocolError(f"{reply.code} {reply.text} as the reply to the end of the content")
        self.journal.heard(self.wire.mail.attempt_id, reply.code, reply.text)
        if reply.is_positive:
            return Accepted(reply)
        if reply.code == CLOSING:
            self.session.discard()
        return Refused(reply, Phase.END_OF_DATA)


def _octets(lines: Sequence[str]) -> bytes:
    """Wire checked the paths: UTF-8 stands in them only where SMTPUTF8 was declared."""
    return ("\r\n".join(lines) + "\r\n").encode()
