"""What a mail that came back can be."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from mailer.policy.bounceclass import BounceClass
from mailer.policy.classifier import Judgement
from mailer.protocol.enhanced import EnhancedStatus


class DeliveryAction(enum.StrEnum):
    """What the reporting host did with one recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"  # to a host that sends no report of its own
    EXPANDED = "expanded"  # to the members of a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What the mail shows of the message that it is about. Written by a stranger, all of it.

    message_id     without angle brackets; None: not shown
    mailer_ref     our token, from X-Mailer-Ref or a return-path of its form; not verified. None: not shown
    envelope_from  its reverse-path; None: not shown
    envid          Original-Envelope-Id as it stands (RFC 3464 §2.2.1); None: not shown
    recipients     addresses of its To and Cc, and those a report names as original, each once
    """

    message_id: str | None = None
    mailer_ref: str | None = None
    envelope_from: str | None = None
    envid: str | None = None
    subject: str | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What became of one recipient.

    address           where the reporting host tried to deliver: may be another than we sent to
    original_address  the one that we sent to, where the report says it
    status            None: not said
    diagnostic        the words that were judged: a reply, or what the host says in its place; "" for none
    reporting_mta     who says so; remote_mta: who said it to that one. Names or addresses; None: not said
    """

    address: str
    original_address: str | None
    action: DeliveryAction
    status: EnhancedStatus | None
    diagnostic: str
    reporting_mta: str | None
    remote_mta: str | None
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """A delivery status notification in whatever form (RFC 3464, or a text).

    recipients  the failed ones first
    form        which reader knew it: "rfc3464", the name of a form in forms.toml, "general"
    unnamed     the judgement where no recipient is named: the mail says why, not for whom
    """

    recipients: tuple[RecipientReport, ...]
    original: Original
    form: str
    unnamed: Judgement | None = None

    @property
    def bounce_class(self) -> BounceClass:
        if self.recipients:
            return self.recipients[0].judgement.bounce_class
        return BounceClass.UNDETERMINED if self.unnamed is None else self.unnamed.bounce_class


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReport:
    """Somebody pressed "spam", or takes that back (RFC 5965, RFC 6430), in ARF or a provider's own form.

    feedback_type  in lower case; "abuse" where the form has no such field
    form           "arf", or the name of the form
    recipients     Original-Rcpt-To and what stands for it; empty where redacted
    source_ip      where our message came from, as it stands; None: not said
    """

    feedback_type: str
    form: str
    original: Original
    recipients: tuple[str, ...] = ()
    user_agent: str | None = None
    version: str | None = None
    original_mail_from: str | None = None
    arrival_date: str | None = None
    source_ip: str | None = None
    reporting_mta: str | None = None
    incidents: int = 1
    authentication_results: tuple[str, ...] = ()
    reported_domains: tuple[str, ...] = ()
    reported_uris: tuple[str, ...] = ()

    @property
    def bounce_class(self) -> BounceClass:
        # RFC 6430 §3: such a report says that the message was wanted.
        return BounceClass.NOT_A_BOUNCE if self.feedback_type == "not-spam" else BounceClass.COMPLAINT


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoReply:
    """A person's mailbox answers in their stead (RFC 3834). reason: how it is known."""

    reason: str
    subject: str
    original: Original
    bounce_class: BounceClass = field(default=BounceClass.AUTO_REPLY, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A mailbox holds the message until its sender proves to be somebody. Never to be answered by us."""

    reason: str
    subject: str
    original: Original
    recipients: tuple[str, ...] = ()
    bounce_class: BounceClass = field(default=BounceClass.CHALLENGE, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscription:
    """Somebody wants no more: by mail (RFC 2369 §3.2) or a report of type opt-out. reason: which of them."""

    reason: str
    original: Original
    recipients: tuple[str, ...] = ()
    bounce_class: BounceClass = field(default=BounceClass.UNSUBSCRIBE, init=False)


class AuthReportKind(enum.StrEnum):
    DMARC_AGGREGATE = "dmarc-aggregate"  # RFC 7489 §7.2
    DMARC_FAILURE = "dmarc-failure"  # RFC 6591
    TLS_RPT = "tls-rpt"  # RFC 8460


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthReport:
    """A report about authentication or TLS; what it says is read by its own parser.

    octets      of the attachment, without its transfer encoding; of a failure report the whole mail
    media_type  as the part names it; None: it names none
    recipients  of the message that a failure report is about
    """

    kind: AuthReportKind
    octets: bytes
    media_type: str | None
    filename: str | None
    original: Original
    recipients: tuple[str, ...] = ()
    bounce_class: BounceClass = field(default=BounceClass.AUTH_REPORT, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdinaryMail:
    """From a person, or a machine that says nothing about a message of ours."""

    original: Original
    bounce_class: BounceClass = field(default=BounceClass.NOT_A_BOUNCE, init=False)


@dataclass(frozen=True, slots=True)
class Unparsable:
    """Nothing can be read from it. why: a sentence for the operator."""

    why: str
    bounce_class: BounceClass = field(default=BounceClass.UNDETERMINED, init=False)


Reading = (
    DeliveryReport
    | FeedbackReport
    | AutoReply
    | Challenge
    | Unsubscription
    | AuthReport
    | OrdinaryMail
    | Unparsable
)
