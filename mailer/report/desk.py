"""The desk of the host that takes what comes back: mail to addresses of ours, and no other, kept before it is
answered for.

Nothing that is taken here makes mail to its sender, whoever that says to be; there is no way from here to any
other host. A caller that only asks whether an address is there hears the truth, and nothing changes by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from mailer.compose.verp import TokenKeys
from mailer.ids import IdMaker
from mailer.listener import (
    MailParameters,
    Path,
    RcptParameters,
    ServerReply,
    Session,
    Transaction,
    network_of,
    reply,
)
from mailer.queue import returned
from mailer.queue.returned import Arrived
from mailer.report.destinations import Destination, Kind, ReadToken, destination_of
from mailer.report.pacing import PeerPace
from mailer.report.trace import Arrival, trace_fields
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

VALID = timedelta(days=180)  # of a return-path, from the end of its recipient's mail: complaints come late

_SENDER_OK = reply(250, "2.1.0", "OK")
_RECIPIENT_OK = reply(250, "2.1.5", "OK")
_NOT_HERE = reply(550, "5.1.1", "No such address here")
_TOO_MANY_UNKNOWN = reply(421, "4.7.0", "Too many addresses that are not here")
_TOO_FAST = reply(451, "4.7.1", "Too much mail from you, try again later")
_NO_STORE = reply(451, "4.3.0", "Addresses cannot be looked up now, try again later")
_NOT_KEPT = reply(451, "4.3.0", "The message cannot be kept now, try again later")
_KEPT = reply(250, "2.0.0", "Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """host: our name in the trace.

    token_keys        of return-paths, as they are by now
    read_unsubscribe  the recipient whose unsubscribe token it is
    pace              what one peer may do in a minute
    on_kept           tells a reader that there is something to read
    """

    store: Store
    host: str
    token_keys: Callable[[], TokenKeys]
    read_unsubscribe: ReadToken
    pace: PeerPace
    new_id: IdMaker
    now: Callable[[], datetime]
    on_kept: Callable[[], None]


class Reception:
    """Whose an address is, and the keeping of what came to it. Safe from any thread; waits for the store."""

    def __init__(self, parts: DeskParts) -> None:
        self._p = parts

    def find(self, path: Path) -> Destination | None:
        """None: the address is none of ours. Raises StoreUnavailable."""
        found = destination_of(
            path, read_return_path=self._p.token_keys().read, read_unsubscribe=self._p.read_unsubscribe
        )
        if found is None or not found.domain:
            return found
        with self._p.store.read() as connection:
            if found.token_of is None:
                is_ours = returned.serves if found.kind is Kind.PERSON else returned.takes_reports
                return found if is_ours(connection, found.domain) else None
            owner = returned.known(connection, found.token_of)
            if owner is None:
                return found if _leaves_by(connection, found) else None
        if owner.return_path_domain != found.domain:
            return None
        has_ended = owner.settled_at is not None and self._p.now() - owner.settled_at > VALID
        return None if has_ended and found.kind is not Kind.UNSUBSCRIBE else found

    def take_tokens(self, session: Session, transaction: Transaction) -> None:
        """For a listener that takes all mail: keeps what came to a token of ours. Raises StoreUnavailable."""
        paths = [recipient.path for recipient in transaction.recipients]
        found = [(path, known) for path in paths if (known := self.find(path)) is not None and known.token_of]
        if found:
            self.keep(session, transaction, found)

    def keep(
        self, session: Session, transaction: Transaction, found: Sequence[tuple[Path, Destination]]
    ) -> None:
        """On disk when this returns. Raises StoreUnavailable."""
        p, now, content_id = self._p, self._p.now(), self._p.new_id()
        arrival = Arrival(
            peer_name=session.host_name,
            peer_address=session.peer,
            host=p.host,
            is_esmtp=session.is_extended,
            is_tls=session.tls is not None,
            is_utf8=transaction.parameters.smtputf8,
            at=now,
        )
        # Of several addresses the trace names the first: more would tell each of the others.
        first = found[0][0].text
        fields = trace_fields(arrival, transaction.reverse_path.text, first, f"{content_id:x}")
        rows = [
            Arrived(
                id=p.new_id(),
                kind=destination.kind,
                address=path.text,
                token_of=destination.token_of,
                reverse_path=transaction.reverse_path.text,
                peer=session.peer,
            )
            for path, destination in found
        ]
        returned.keep(p.store, content_id, fields + transaction.content, rows, now=now)
        p.on_kept()


def _leaves_by(connection: Connection, found: Destination) -> bool:
    """Whether it is an address to unsubscribe by that we made, of a recipient of whom nothing is kept.

    Such an address has no end: people leave by mail that is years old, and the mail's subject has what the
    rows had.
    """
    return found.kind is Kind.UNSUBSCRIBE and returned.has_return_path(connection, found.domain)


class ReturnsDesk:
    """Lives on one event loop."""

    def __init__(self, parts: DeskParts, reception: Reception) -> None:
        self._p = parts
        self._reception = reception

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> ServerReply:
        """Null and other senders are both taken: many hosts report from an address."""
        return _TOO_FAST if self._p.pace.is_too_fast(network_of(session.peer)) else _SENDER_OK

    async def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> ServerReply:
        try:
            found = await asyncio.to_thread(self._reception.find, forward_path)
        except StoreUnavailable as error:
            _log.warning("returns.put_off", cause=str(error))
            return _NO_STORE
        if found is not None:
            return _RECIPIENT_OK
        is_guessing = self._p.pace.missed(network_of(session.peer))
        return _TOO_MANY_UNKNOWN if is_guessing else _NOT_HERE

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        self._p.pace.took(network_of(session.peer))
        try:
            await asyncio.to_thread(self._keep, session, transaction)
        except StoreUnavailable as error:
            _log.warning("returns.put_off", cause=str(error))
            return _NOT_KEPT
        return _KEPT

    def _keep(self, session: Session, transaction: Transaction) -> None:
        """Addresses are looked up again: RCPT may be minutes past. All are still there, or none is answered
        for: one that went meanwhile says nothing that the sender could act on."""
        paths = [recipient.path for recipient in transaction.recipients]
        found = [(path, known) for path in paths if (known := self._reception.find(path)) is not None]
        if found:
            self._reception.keep(session, transaction, found)
