"""The desk of the catching MX: every recipient is taken and kept, but for those that a developer asked to
misbehave; mail for a return-path is taken back as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from mailer.listener import (
    MailParameters,
    Path,
    RcptParameters,
    ServerReply,
    Session,
    Transaction,
    Unanswered,
    reply,
)
from mailer.report.desk import Reception
from mailer.report.maildir import Delivery, Maildir
from mailer.report.replier import Replier
from mailer.report.replies import Original, reply_of
from mailer.report.simulator import Simulator, is_simulated, manner_of
from mailer.report.trace import Arrival, trace_fields
from mailer.store import StoreUnavailable

_log = structlog.get_logger(__name__)

_SENDER_OK = reply(250, "2.1.0", "OK")
_RECIPIENT_OK = reply(250, "2.1.5", "OK")
_UNWRITABLE = reply(452, "4.3.1", "The inbox cannot be written")
_NO_STORE = reply(451, "4.3.0", "What came back cannot be noted now, try again later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fittings:
    """What a CatchingDesk works with.

    host     its name in the trace
    now      the wall clock
    returns  takes mail for our return-paths as well; None: it is kept like any other
    """

    host: str
    maildir: Maildir
    now: Callable[[], datetime]
    simulator: Simulator
    replier: Replier
    returns: Reception | None = None


class CatchingDesk:
    """Answers the final dot after the copies stand in `new/`. Lives on one event loop."""

    def __init__(self, fittings: Fittings) -> None:
        self._fittings = fittings

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> ServerReply:
        return _SENDER_OK

    def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> ServerReply:
        if session.sender is None or not is_simulated(forward_path):
            return _RECIPIENT_OK
        return self._fittings.simulator.at_rcpt(session.sender, forward_path)

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        """Raises Unanswered where a simulated recipient hangs up."""
        simulator = self._fittings.simulator
        paths = [recipient.path for recipient in transaction.recipients]
        refusal = simulator.at_dot(paths)
        if refusal is not None:
            return refusal
        if silence := simulator.silence_before_reply(paths):
            await asyncio.sleep(silence)
        try:
            # Before it is kept: where it cannot be noted the sender comes again, and it is kept once.
            await self._take_returned(session, transaction)
            keys = self._keep(session, transaction)
        except StoreUnavailable as error:
            _log.warning("report.put_off", cause=str(error))
            return _NO_STORE
        except OSError as error:
            _log.error("inbox.unwritable", cause=type(error).__name__, errno=error.errno)
            return _UNWRITABLE
        self._owe_replies(session, transaction, keys)
        if simulator.hangs_up(transaction.reverse_path, paths):
            raise Unanswered
        return reply(250, "2.0.0", f"Kept as {keys[0]}")

    async def _take_returned(self, session: Session, transaction: Transaction) -> None:
        """What bears a token of ours came back: it is kept to be read as well. Raises StoreUnavailable."""
        returns = self._fittings.returns
        if returns is not None:
            await asyncio.to_thread(returns.take_tokens, session, transaction)

    def _keep(self, session: Session, transaction: Transaction) -> list[str]:
        """A copy a recipient, each with its own trace: that of one does not tell of the others."""
        maildir, arrival = self._fittings.maildir, self._arrival(session, transaction)
        deliveries = []
        for recipient in transaction.recipients:
            key = maildir.new_key()
            fields = trace_fields(arrival, transaction.reverse_path.text, recipient.path.text, key)
            deliveries.append(Delivery(key, fields + transaction.content))
        maildir.deliver(deliveries)
        return [delivery.key for delivery in deliveries]

    def _arrival(self, session: Session, transaction: Transaction) -> Arrival:
        return Arrival(
            peer_name=session.host_name,
            peer_address=session.peer,
            host=self._fittings.host,
            is_esmtp=session.is_extended,
            is_tls=session.tls is not None,
            is_utf8=transaction.parameters.smtputf8,
            at=self._fittings.now(),
        )

    def _owe_replies(self, session: Session, transaction: Transaction, keys: Sequence[str]) -> None:
        reverse_path, now = transaction.reverse_path, self._fittings.now()
        if reverse_path.is_null:
            return  # RFC 3834 §2: an answer is not answered
        for recipient, key in zip(transaction.recipients, keys, strict=True):
            manner = manner_of(recipient.path)
            if manner is None:
                continue
            original = Original(
                key=key,
                reverse_path=reverse_path.text,
                recipient=recipient.path.text,
                peer_address=session.peer,
                arrived_at=now,
                content=transaction.content,
            )
            owed = reply_of(manner, original, now)
            if owed is not None:
                self._fittings.replier.owe(owed)
