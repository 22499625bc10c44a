"""Reports about deliveries: from the fields of RFC 3464 where a mail has them, else from its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.protocol.enhanced import EnhancedStatus
from mailer.report.reading.addresses import addresses_in, listed, same
from mailer.report.reading.evidence import Evidence
from mailer.report.reading.fields import Fields
from mailer.report.reading.forms import Found, forms_in
from mailer.report.reading.judging import Judge, reply_in, telling
from mailer.report.reading.kinds import DeliveryAction, DeliveryReport, Original, RecipientReport
from mailer.report.reading.listing import (
    Entry,
    Transcript,
    answered_in,
    commanded_in,
    entries_in,
    labelled_in,
    mentioned_in,
)
from mailer.report.reading.statusfields import RecipientFields, StatusFields
from mailer.report.reading.wording import wording

GENERAL = "general"
RFC3464 = "rfc3464"
_WORDS_CHARS = 6000

# The host goes on trying: Postfix bounce(5), Exim's and sendmail's warnings, Gmail; others assumed.
_GOES_ON = wording("goes-on")
_FINAL = wording("final")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """own: what the mail says itself. flat: that, on one line. copied: the copy of the original in the text.

    transcript  of own
    """

    own: str
    flat: str
    copied: str
    subject: str
    transcript: Transcript

    @classmethod
    def of(cls, own: str, copied: str, subject: str) -> Words:
        flat = " ".join(own.split())
        return cls(own=own, flat=flat, copied=copied, subject=subject, transcript=Transcript(own))

    @property
    def all(self) -> list[str]:
        """Everything the mail says, its reply lines first, its subject last."""
        # "Returned mail: User unknown": what stands before the colon is the host's, not about the recipient.
        texts = (self.transcript.all(), self.flat, self.subject.partition(":")[2])
        return [text[:_WORDS_CHARS] for text in texts if text.strip(" *-_=.:")]


def from_fields(
    fields: StatusFields, words: Words, original: Original, judge: Judge
) -> DeliveryReport | None:
    """None: no recipient is named in them."""
    told = _Told(words, judge)
    reports = []
    alone = len(fields.recipients) == 1
    for recipient in fields.recipients:
        report = _of_fields(recipient, fields, told, original, alone=alone)
        if report is not None:
            reports.append(report)
    if not reports:
        return None
    reports.sort(key=lambda report: _ORDER[report.action])
    return DeliveryReport(recipients=tuple(reports), original=original, form=RFC3464)


def _block(own: str, found: Found) -> str:
    """What follows the phrase of a form, where no address begins a line: a program or a file failed."""
    return " ".join(own[found.end : found.end + _WORDS_CHARS].split()).lstrip(" :.)s")


_ORDER = {action: place for place, action in enumerate(DeliveryAction)}


@dataclass(slots=True)
class _Told:
    """What the words say of each recipient, found once."""

    words: Words
    judge: Judge
    entries: list[Entry] | None = None
    block: str = ""

    def further(self) -> list[str]:
        return [entry.further for entry in self.entries or () if entry.further]

    def of(self, address: str | None, original: str | None) -> list[str]:
        if self.entries is None:
            forms = forms_in(self.words.own)
            self.block = _block(self.words.own, forms[0]) if forms else ""
            self.entries = entries_in(self.words.own[forms[0].end :] if forms else self.words.own)
        said = []
        for entry in self.entries:
            if same(entry.address, address) or same(entry.address, original):
                said += entry.words
        if not said and not self.entries:
            said = [self.block]
        spoken = self.words.transcript.of(address) if address else ""
        return [text for text in (*said[:1], spoken, *said[1:]) if text]


def _of_fields(
    recipient: RecipientFields, fields: StatusFields, told: _Told, original: Original, *, alone: bool
) -> RecipientReport | None:
    address = recipient.address
    said = told.of(address, recipient.original_address)
    if address is None:
        address = _by_words(told, original) if alone else None
        if address is None:
            return None
    diagnostic = recipient.diagnostic
    action = recipient.action or _action_of(recipient.status)
    status = telling(recipient.status, reply_in(diagnostic)[1] or _status_of(said[:1]))
    remote = recipient.host("remote-mta")
    judgement = told.judge.of(
        action,
        [text for text in (diagnostic, *said) if text],
        [*told.further(), *told.words.all] if alone else (),
        status=status,
        remote_mta=remote,
        has_expired=recipient.has_expired,
    )
    return RecipientReport(
        address=address,
        original_address=recipient.original_address,
        action=action,
        status=status or judgement.status,
        diagnostic=diagnostic or (said[0] if said else ""),
        reporting_mta=RecipientFields(fields.message).host("reporting-mta"),
        remote_mta=remote,
        judgement=judgement,
    )


def _status_of(said: Sequence[str]) -> EnhancedStatus | None:
    return reply_in(said[0])[1] if said else None


def _action_of(status: EnhancedStatus | None) -> DeliveryAction:
    """RFC 3464 §2.3.3 makes Action required; some leave it out."""
    return DeliveryAction.DELIVERED if status is not None and status.class_ == 2 else DeliveryAction.FAILED


def _by_words(told: _Told, original: Original) -> str | None:
    """The one recipient that the words name, or the original's only one, where the field is no address."""
    if told.entries and len(told.entries) == 1:
        return told.entries[0].original or told.entries[0].address
    return original.recipients[0] if len(original.recipients) == 1 else None


def from_words(
    words: Words, header: Fields, original: Original, evidence: Evidence, judge: Judge, *, guess: bool
) -> DeliveryReport | None:
    """A bounce that is text. None: it has no known form, and nothing else shows that it is one.

    guess  where no recipient is named, it is the only one of the original, or nobody
    """
    forms = forms_in(words.own)
    if not (evidence.is_bounce or (forms and evidence.is_automatic)):
        return None
    name, is_delay, entries = GENERAL, False, []
    for found in forms:
        entries = entries_in(words.own[found.end :]) or labelled_in(words.own[found.start :])
        name, is_delay = found.form.name, found.form.is_delay
        if entries:
            break
    if not entries:
        entries = _in_general(words, header, original, evidence)
        if not entries and not guess:
            return None
        entries = entries or [
            Entry(address) for address in original.recipients if len(original.recipients) == 1
        ]
        if forms:
            for entry in entries:
                entry.words.append(_block(words.own, forms[0]))
    is_delay = is_delay or (_GOES_ON.search(words.flat) is not None and _FINAL.search(words.flat) is None)
    action = DeliveryAction.DELAYED if is_delay else DeliveryAction.FAILED
    alone = len(entries) == 1
    reports = [_of_entry(entry, action, words, judge, alone=alone) for entry in entries]
    if reports:
        return DeliveryReport(recipients=tuple(reports), original=original, form=name)
    judgement = judge.of(action, (), words.all)
    return DeliveryReport(recipients=(), original=original, form=name, unnamed=judgement)


def _of_entry(
    entry: Entry, action: DeliveryAction, words: Words, judge: Judge, *, alone: bool
) -> RecipientReport:
    spoken = words.transcript.of(entry.address)
    said = [text for text in (*entry.words[:1], spoken, *entry.words[1:]) if text]
    rest = [text for text in (entry.further, *(words.all if alone or not said else ())) if text]
    status = next((found for text in (*said, *rest) if (found := reply_in(text)[1])), None)
    judgement = judge.of(action, said, rest)
    return RecipientReport(
        address=entry.address,
        original_address=entry.original,
        action=action,
        status=judgement.status or status,
        diagnostic=next((text for text in (*said, *rest) if reply_in(text)[0]), said[0] if said else ""),
        reporting_mta=None,
        remote_mta=None,
        judgement=judgement,
    )


def _in_general(words: Words, header: Fields, original: Original, evidence: Evidence) -> list[Entry]:
    """Exim and Gmail name them in a field; others beside a reply, behind a label, or just somewhere."""
    failed = [address for value in header.every("x-failed-recipients") for address in addresses_in(value)]
    if failed:
        told = {entry.address.lower(): entry for entry in entries_in(words.own)}
        return [told.get(address.lower(), Entry(address)) for address in dict.fromkeys(failed)]
    own = words.own
    others = {
        *listed(header.raw(name) for name in ("to", "from", "sender", "reply-to", "return-path")),
        *evidence.own,
    }
    wanted = {address.lower() for address in original.recipients}
    known = {other.lower() for other in others}
    for reader in (_listed_in, commanded_in, labelled_in, entries_in, answered_in):
        entries = [entry for entry in reader(own) if entry.address.lower() not in known]
        if entries:
            return [entry for entry in entries if entry.address.lower() in wanted] or entries
    entries = mentioned_in(own, others) or mentioned_in(words.subject, others)
    meant = [entry for entry in entries if entry.address.lower() in wanted]
    return meant or (entries if len(entries) == 1 else [])


def _listed_in(own: str) -> list[Entry]:
    """A list of several with something said of each, where it has all that a transcript commands."""
    entries = entries_in(own)
    listed_ones = {entry.address.lower() for entry in entries if entry.words}
    commanded = {entry.address.lower() for entry in commanded_in(own)}
    is_whole = len(entries) > 1 and len(listed_ones) == len(entries)
    return entries if is_whole and commanded <= listed_ones else []
