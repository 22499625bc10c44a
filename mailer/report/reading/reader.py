"""The order in which the readers are asked."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from mailer.policy.classifier import Classifier
from mailer.report.reading import automatic, feedback, notifications
from mailer.report.reading.addresses import together
from mailer.report.reading.authreports import auth_report_from
from mailer.report.reading.deliveries import Words, from_fields, from_words
from mailer.report.reading.evidence import Evidence, evidence_of
from mailer.report.reading.fields import Fields
from mailer.report.reading.judging import Judge
from mailer.report.reading.kinds import (
    AutoReply,
    Challenge,
    DeliveryReport,
    OrdinaryMail,
    Original,
    Reading,
    Unparsable,
    Unsubscription,
)
from mailer.report.reading.mime import Part, read_message
from mailer.report.reading.original import carried_message, header_of_original, original_from
from mailer.report.reading.prose import divided, words_of
from mailer.report.reading.statusfields import StatusFields, has_status_fields, read_status_fields
from mailer.report.reading.xarfmail import complaint_in_xarf

CONTENT_OCTETS = 64 * 1024 * 1024
_STATUS_OCTETS = 512 * 1024
_ENVID_CHARS = 500
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_STATUS_NAMES = frozenset({"reporting-mta", "final-recipient"})
_FAULTS = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError, MemoryError)
_FORWARDED_MOST = 1  # a bounce that somebody forwarded, or that a host put into another


def read(content: bytes, *, classifier: Classifier) -> Reading:
    """What `content`, a whole message, says. Nothing in it raises."""
    if len(content) > CONTENT_OCTETS:
        return Unparsable(f"the message is larger than {CONTENT_OCTETS // 1024**2} MiB")
    if not content or content.isspace():
        return Unparsable("the message is empty")
    try:
        return _Mail(content, Judge(classifier)).reading(_FORWARDED_MOST)
    except _FAULTS as error:
        # A fault of ours: the mail is kept, and whoever looks at it learns which fault.
        return Unparsable(f"the reader failed: {type(error).__name__}")


def subject_and_text(content: bytes) -> tuple[str, str]:
    """What its author wrote, of a mail that `read` has read."""
    root = read_message(content)
    return root.fields.text("subject"), words_of(root)


class _Mail:
    """One mail, and what is found out about it for more than one reader."""

    def __init__(self, content: bytes, judge: Judge) -> None:
        self.content = content
        self.judge = judge
        self.root = read_message(content)
        self.evidence: Evidence = evidence_of(self.root)
        self.text = words_of(self.root)
        own, copied = divided(self.text)
        self.words = Words.of(own, copied, self.root.fields.text("subject"))
        self.original_header: Fields = header_of_original(self.root, copied)

    def reading(self, forwarded: int) -> Reading:
        return (
            self.feedback()
            or complaint_in_xarf(self.root, self.original)
            or self.notification()
            or self.auth_report()
            or self.challenge()
            or self.delivery()
            or self.unsubscription()
            or self.auto_reply()
            or self.within(forwarded)
            or self.bare_delivery()
            or OrdinaryMail(original=self.original)
        )

    @cached_property
    def original(self) -> Original:
        return original_from(self.original_header, self.content)

    def feedback(self) -> Reading | None:
        fields = feedback.report_fields(self.root)
        if fields is None or not fields.raw("feedback-type"):
            return feedback.own_form(self.root, self.original_header, self.words.flat, self.original)
        original = replace(self.original, envid=fields.raw("original-envelope-id")[:_ENVID_CHARS] or None)
        return feedback.feedback_from(fields, original, self.content)

    def notification(self) -> Reading | None:
        return notifications.notification_from(self.text, self.original, self.judge)

    def auth_report(self) -> Reading | None:
        return auth_report_from(self.root, self.original)

    def challenge(self) -> Challenge | None:
        status = self.status_fields()
        said = (
            "" if status is None else " ".join(r.values.get("diagnostic-code", "") for r in status.recipients)
        )
        found = automatic.challenge_from(
            self.root.fields, f"{self.words.own}\n{said}", self.original, self.evidence
        )
        if found is None or status is None:
            return found
        named = (recipient.address for recipient in status.recipients)
        return replace(found, recipients=tuple(address for address in named if address is not None))

    def status_fields(self) -> StatusFields | None:
        """From the part for them, or from any text of the mail's own that has some (RFC 3464 §2)."""
        for part in self.root.walk():
            if part.type.essence in _STATUS_TYPES and not part.is_nested:
                found = read_status_fields(_text(part))
                if found.recipients:
                    return found
        for part in self.root.walk():
            if not _may_hold_status(part):
                continue
            text = _text(part)
            if has_status_fields(text):
                found = read_status_fields(text)
                if found.recipients:
                    return found
        return None

    def delivery(self) -> DeliveryReport | None:
        """A report that names recipients."""
        fields = self.status_fields()
        if fields is not None and (self.evidence.is_automatic or self.evidence.is_bounce or fields.message):
            named = (r.original_address for r in fields.recipients)
            original = replace(
                self.original,
                envid=fields.message.get("original-envelope-id", "")[:_ENVID_CHARS] or None,
                recipients=together((*(each for each in named if each), *self.original.recipients)),
            )
            found = from_fields(fields, self.words, original, self.judge)
            if found is not None:
                return found
        return self.by_words(guess=False)

    def bare_delivery(self) -> DeliveryReport | None:
        """A report that names nobody."""
        return self.by_words(guess=True)

    def by_words(self, *, guess: bool) -> DeliveryReport | None:
        header = self.root.fields
        return from_words(self.words, header, self.original, self.evidence, self.judge, guess=guess)

    def within(self, forwarded: int) -> Reading | None:
        """The bounce that is the message in this one, where this one itself says nothing."""
        if forwarded <= 0 or not self.evidence.is_automatic:
            return None
        for part in self.root.walk():
            if part.type.essence == "message/rfc822" and not part.is_nested and part is not self.root:
                found = _Mail(carried_message(part), self.judge).reading(forwarded - 1)
                if isinstance(found, DeliveryReport) and found.recipients:
                    return found
        copied = self.words.copied.lstrip("\n")
        if copied:
            found = _Mail(copied.encode("utf-8", "replace"), self.judge).reading(forwarded - 1)
            if isinstance(found, DeliveryReport) and found.recipients:
                return found
        return None

    def unsubscription(self) -> Unsubscription | None:
        return automatic.unsubscription_from(self.root.fields, self.original)

    def auto_reply(self) -> AutoReply | None:
        is_host = self.evidence.is_bounce and self.evidence.is_from_daemon
        if is_host or self.root.type.essence == "multipart/report":
            return None  # a receipt (RFC 8098) is automatic too, and speaks for nobody's absence
        return automatic.auto_reply_from(self.root.fields, self.original, self.evidence)


def _may_hold_status(part: Part) -> bool:
    """A leaf of the mail's own; or fields that were labelled as a message."""
    if part.children:
        return not part.is_nested and any(
            _STATUS_NAMES & {name for name, _ in child.fields.all} for child in part.children
        )
    return not part.is_nested and part.type.main in {"text", "message", "application", "multipart"}


def _text(part: Part) -> str:
    return part.text(_STATUS_OCTETS)
