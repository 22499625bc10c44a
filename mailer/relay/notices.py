"""Making the DSNs that are due: facts, policy, bytes, and then one transaction (mailer/queue/notices.py).

A crash between any two steps leaves the notice due, and a repeat makes it once. What is made is mail like any
other: queued, signed by the operator's domain, tried again, counted in the usage of the tenant `operator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from mailer import ids
from mailer.compose import dkim, dsn
from mailer.compose.address import AddressError, Mailbox, parse_addr_spec
from mailer.compose.deliverystatus import Reported, Status
from mailer.compose.dsn import Original
from mailer.events import FINAL_STATES, NoticeKind, RecipientState
from mailer.identity import domains, tenants
from mailer.identity.operator import Operator
from mailer.ids import IdMaker
from mailer.policy import notices as policy
from mailer.policy.notices import Circumstances
from mailer.policy.tls import Wish
from mailer.protocol.enhanced import EnhancedStatus
from mailer.queue import bodies, notices
from mailer.queue.bodies import MissingBody
from mailer.queue.enqueue import LaneBook, NewContent, NewMessage, NewRecipient
from mailer.queue.notices import Due, Subject
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

AT_ONCE = 2000  # notices looked at together: all that one message can bring about
_GATHER = timedelta(seconds=10)  # others of the same message may end alike


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeMaker:
    """find_operator: who sends; None: nobody can.

    reporting_mta  our own name
    give_up_after  age at which mail expires, by kind of stream
    """

    store: Store
    find_operator: Callable[[], Operator | None]
    reporting_mta: str
    give_up_after: Mapping[str, timedelta]
    new_id: IdMaker
    process_number: int
    now: Callable[[], datetime]
    lanes: LaneBook = field(default_factory=LaneBook)

    def make(self) -> int:
        """Makes or drops what is due; returns how many DSNs were queued. Raises StoreUnavailable."""
        found = notices.due(self.store, most=AT_ONCE, before=self.now() - _GATHER)
        if not found:
            return 0
        operator = self.find_operator()
        return sum(self._try(part, operator) for owed in found for part in _parts(owed))

    def _try(self, owed: Due, operator: Operator | None) -> bool:
        try:
            return self._make(owed, operator)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - our own bug with this one must not keep the others from being told
            _log.exception("notice.failed", message_id=owed.message_id, kind=owed.kind)
            return False

    def _make(self, owed: Due, operator: Operator | None) -> bool:
        """Whether a DSN was queued."""
        to = _mailbox(owed.mail_from)
        is_own = to is not None and domains.is_owner(self.store, owed.tenant_id, to.domain)
        why = policy.why_not(
            Circumstances(
                kind=owed.kind,
                is_final=owed.about[0].state in FINAL_STATES,
                door=owed.door,
                reverse_path=owed.mail_from,
                is_own=is_own,
                wants_mail=owed.failure_notices == tenants.DSN,
                has_operator=operator is not None,
            )
        )
        if why is not None or operator is None or to is None:  # the latter two are among the reasons
            notices.drop(self.store, owed, str(why))
            _log.info("notice.dropped", message_id=owed.message_id, kind=owed.kind, reason=str(why))
            return False
        carrier = self._carrier(owed, operator, to)
        sent = notices.send(
            self.store,
            owed,
            carrier,
            lanes=self.lanes,
            new_id=self.new_id,
            process_number=self.process_number,
            now=self.now(),
        )
        if sent:
            _log.info("notice.sent", message_id=owed.message_id, kind=owed.kind, sent_as=carrier.id)
        return sent

    def _carrier(self, owed: Due, operator: Operator, to: Mailbox) -> NewMessage:
        message_id = self.new_id()
        shown = ids.show("msg", message_id)
        status = Status(
            kind=owed.kind,
            reporting_mta=self.reporting_mta,
            envid=owed.envid,
            arrived_at=owed.accepted_at,
            recipients=tuple(self._reported(owed, subject) for subject in owed.about),
        )
        from_ = Mailbox("Mail Delivery System", "MAILER-DAEMON", operator.domain)
        rfc_message_id = f"<{shown}@{operator.domain}>"
        made = dsn.compose(
            status,
            self._original(owed),
            from_=from_,
            to=to,
            message_id=rfc_message_id,
            date=self.now(),
            boundary=f"=_{shown}",
        )
        row, file = bodies.keep(self.store.body_folder, made.body)
        return NewMessage(
            id=message_id,
            tenant_id=operator.tenant_id,
            stream_id=operator.stream_id,
            domain_id=operator.domain_id,
            return_path_domain="",  # RFC 3461 §6.1, RFC 5321 §4.5.5
            header_from=from_.addr_spec,
            subject=dsn.subject(owed.kind, owed.subject),
            rfc_message_id=rfc_message_id,
            content=NewContent(
                headers=made.headers,
                body=row,
                body_file=file,
                body_hash=dkim.body_hash(made.body),
                size_bytes=len(made.headers) + 2 + len(made.body),
                is_8bit=False,
                needs_utf8=made.needs_utf8,
            ),
            recipients=(NewRecipient(id=self.new_id(), address=to.addr_spec, domain=to.domain, kind="to"),),
            tags=(),
            metadata={notices.ABOUT: ids.show("msg", owed.message_id)},
            door="dsn",
            response=b"",
            mail_from="",
            # What it tells of was not for everybody's eyes, and its header stands in it (RFC 8689 §5).
            tls=Wish.REQUIRED if owed.tls == Wish.REQUIRETLS else None,
        )

    def _reported(self, owed: Due, s: Subject) -> Reported:
        own = _ended_here(s)
        tried = None if own is not None else s.last_try
        has_expired = s.state == RecipientState.EXPIRED
        status = own or policy.status_for(
            owed.kind, has_expired=has_expired, tried=None if tried is None else tried.tried
        )
        is_reply = tried is not None and tried.tried.code is not None
        return Reported(
            address=s.address,
            orcpt=s.orcpt,
            status=str(status),
            remote_mta=tried.host if tried is not None and is_reply else None,
            diagnostic=tried.reply if tried is not None and is_reply else s.last_reply,
            is_reply=is_reply,
            last_attempt_at=tried.closed_at if tried else None,
            retry_until=self._deadline(owed, s) if owed.kind is NoticeKind.DELAYED else None,
            has_expired=has_expired,
            in_doubt=s.in_doubt and owed.kind is NoticeKind.FAILED,
        )

    def _deadline(self, owed: Due, s: Subject) -> datetime:
        schedule = s.first_due_at + self.give_up_after[owed.stream_kind]
        return schedule if s.expires_at is None else min(schedule, s.expires_at)

    def _original(self, owed: Due) -> Original:
        headers, needs_utf8, octets = notices.header_of(self.store, owed.content_id)
        # RFC 3461 §4.3: of anything but a failure the header will do.
        # So it must do where REQUIRETLS was said, whatever RET was (RFC 8689 §5).
        may_be_full = owed.kind is NoticeKind.FAILED and owed.tls != Wish.REQUIRETLS
        is_full = owed.ret == "FULL" and may_be_full and octets <= dsn.FULL_OCTETS
        return Original(
            headers=headers,
            body=self._body(owed) if is_full else None,
            needs_utf8=needs_utf8,
            subject=owed.subject,
            message_id=owed.rfc_message_id,
        )

    def _body(self, owed: Due) -> bytes | None:
        try:
            return bodies.load(self.store, [owed.content_id])[owed.content_id].body
        except MissingBody as error:  # the failure must be told all the same
            _log.error("notice.body_missing", message_id=owed.message_id, error=str(error))
            return None


def _ended_here(s: Subject) -> EnhancedStatus | None:
    """The status with which somebody ended what waited; what a peer had said before is not the reason."""
    if s.state != RecipientState.BOUNCED:
        return None
    return policy.own_status(s.last_reply, s.last_try.reply if s.last_try else None)


def _parts(owed: Due) -> list[Due]:
    """Who is told of a delay: those that have ended meanwhile are another matter."""
    if owed.kind is not NoticeKind.DELAYED:
        return [owed]
    ended = [s for s in owed.about if s.state in FINAL_STATES]
    waiting = [s for s in owed.about if s.state not in FINAL_STATES]
    return [replace(owed, about=some) for some in (ended, waiting) if some]


def _mailbox(mail_from: str | None) -> Mailbox | None:
    """The submitter's; None for the null reverse-path, or one that no DSN can be sent to."""
    try:
        return parse_addr_spec(mail_from) if mail_from else None
    except AddressError:
        return None
