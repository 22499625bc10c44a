"""Envelope and content of a submission, judged: what a receipt or a refusal is in SMTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

import structlog

from mailer import ids, logs
from mailer.accept import big, whole
from mailer.accept.credentials import Identity
from mailer.accept.rates import KeyRates
from mailer.accept.smtp.envelopes import envelopes, mailbox_of
from mailer.accept.submission import (
    NOTED_BY_INTAKE,
    PASSING,
    Fault,
    Submission,
    SubmissionError,
    Taker,
)
from mailer.accept.whole import Handover
from mailer.compose import submitted
from mailer.compose.address import AddressError
from mailer.compose.malformed import MalformedMessage
from mailer.compose.submitted import Submitted
from mailer.compose.trace import Arrival, smtp_protocol
from mailer.digest import sha256
from mailer.ids import IdMaker
from mailer.listener import MailParameters, Path, RcptParameters, ServerReply, Session, Transaction, reply

_log = structlog.get_logger(__name__)

_SCOPE = "send"
_SENDER_OK = reply(250, "2.1.0", "Sender noted")
_RECIPIENT_OK = reply(250, "2.1.5", "Recipient noted")
_WHO = reply(530, "5.7.0", "Authentication required")  # RFC 4954 §6
_SUSPENDED = "this tenant is suspended and may not send"

# RFC 5321 §4.2.2 and RFC 3463; the text is the refusal's own sentence.
_REFUSALS: Mapping[Fault, tuple[int, str]] = MappingProxyType(
    {
        Fault.UNAUTHENTICATED: (550, "5.7.8"),
        Fault.FORBIDDEN: (550, "5.7.1"),
        Fault.KEY_LIMITED: (550, "5.7.1"),
        Fault.TENANT_SUSPENDED: (550, "5.7.1"),
        Fault.FROM_NOT_ALLOWED: (550, "5.7.1"),
        Fault.UNKNOWN_STREAM: (554, "5.6.0"),
        Fault.STREAM_ARCHIVED: (554, "5.6.0"),
        Fault.INVALID_FIELD: (554, "5.6.0"),
        Fault.NO_RECIPIENTS: (554, "5.5.1"),
        Fault.TOO_MANY_RECIPIENTS: (452, "4.5.3"),
        Fault.MESSAGE_TOO_LARGE: (552, "5.3.4"),
        Fault.IDEMPOTENCY_KEY_REUSED: (554, "5.6.0"),
        Fault.RATE_LIMITED: (451, "4.7.1"),  # not 450: RFC 5321 §4.3.2 does not allow that for MAIL
        Fault.QUOTA_EXCEEDED: (452, "4.7.1"),
        Fault.BUSY: (452, "4.3.1"),
        Fault.UNAVAILABLE: (451, "4.3.0"),
        Fault.INTERNAL: (451, "4.3.0"),
    }
)


class SubmissionDesk:
    """What the listener of the submission door asks. Lives on one event loop."""

    def __init__(
        self,
        intake: Taker,
        *,
        host: str,
        new_id: IdMaker,
        now: Callable[[], datetime],
        rates: KeyRates | None = None,
    ) -> None:
        """host: our name in Received. rates: what the intake knows of keys; None: nothing."""
        self._intake = intake
        self._rates = rates
        self._host = host
        self._new_id = new_id
        self._now = now

    def mail(self, session: Session, reverse_path: Path, parameters: MailParameters) -> ServerReply:
        """Any reverse-path is taken, the null one too: whoever is authenticated answers for it.

        A key that has submitted all it may hears so here already, before it sends a content in vain.
        """
        identity = session.identity
        if not isinstance(identity, Identity):
            return _WHO
        try:
            identity.require(_SCOPE)
            if self._rates is not None:
                self._rates.check(identity.key_id)
        except SubmissionError as error:
            return refusal(error)
        if identity.is_suspended:
            return refusal(SubmissionError(Fault.TENANT_SUSPENDED, _SUSPENDED))
        return _SENDER_OK

    def rcpt(self, session: Session, forward_path: Path, parameters: RcptParameters) -> ServerReply:
        try:
            mailbox_of(forward_path)
        except AddressError as error:
            return reply(553, "5.1.3", str(error))
        return _RECIPIENT_OK

    async def take(self, session: Session, transaction: Transaction) -> ServerReply:
        identity = session.identity
        if not isinstance(identity, Identity):
            return _WHO
        try:
            submission = await self._submission(session, transaction, identity)
        except MalformedMessage as error:
            self._note(identity, SubmissionError(Fault.MALFORMED_MESSAGE, str(error), header=error.field))
            return reply(554, error.status, str(error))
        except SubmissionError as error:
            self._note(identity, error)
            return refusal(error)
        try:
            receipt = await self._intake.take(submission)
        except SubmissionError as error:
            if error.fault not in NOTED_BY_INTAKE:
                self._note(identity, error)
            return refusal(error)
        logs.together_soon()
        _log.info("smtp.accepted", tenant_id=identity.tenant_id, message_id=receipt.message_id)
        again = " before" if receipt.replayed else ""
        return reply(250, "2.0.0", f"Accepted{again} as {ids.show('msg', receipt.message_id)}")

    def _note(self, identity: Identity, error: SubmissionError) -> None:
        _log.info("smtp.refused", tenant_id=identity.tenant_id, fault=error.fault)
        if error.fault not in PASSING:
            self._intake.refuse(identity.tenant_id, error)

    async def _submission(self, session: Session, t: Transaction, identity: Identity) -> Submission:
        recipients = envelopes(t)
        message_id = self._new_id()
        arrival = Arrival(
            id=ids.show("msg", message_id),
            host=self._host,
            at=self._now(),
            protocol=smtp_protocol(
                is_extended=session.is_extended,
                is_tls=session.tls is not None,
                is_authenticated=True,
                is_utf8=t.parameters.smtputf8,
            ),
            recipient=recipients[0].mailbox if len(recipients) == 1 else None,
        )
        octets = t.give_content()
        content = await _read(octets, arrival, is_utf8=t.parameters.smtputf8)
        key = content.control.idempotency_key
        digest = sha256(octets) if key else b""
        del octets  # of a big message, one copy is enough until it is on disk
        handover = Handover(
            identity=identity,
            door="smtp",
            mail_from=t.reverse_path.text,
            message_id=message_id,
            ret=t.parameters.ret,
            envid=t.parameters.envid,
            requiretls=t.parameters.requiretls,
            idempotency_key=key,
            sha256=digest,
        )
        return whole.submission_of(content, recipients, handover, self._now())


async def _read(octets: bytes, arrival: Arrival, *, is_utf8: bool) -> Submitted:
    """octets: as our listener passes them, so that they are text. Raises MalformedMessage."""
    if len(octets) < big.FROM_BYTES:
        return submitted.receive(octets, arrival, is_utf8=is_utf8, is_text=True)
    return await big.in_thread(submitted.receive, octets, arrival, is_utf8=is_utf8, is_text=True)


def refusal(error: SubmissionError) -> ServerReply:
    """A refusal as SMTP says it."""
    error.bare()
    code, status = _REFUSALS.get(error.fault, (554, "5.5.0"))
    return reply(code, status, error.detail)
