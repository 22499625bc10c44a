"""A report on our domains, read from a mail: shown to whose domain it is about. It changes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

from sqlalchemy import Connection

from mailer.policy.bounceclass import BounceClass
from mailer.report.formats import Unparsable
from mailer.report.formats.dmarc import AggregateReport
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsReport
from mailer.report.keeping import Received, authreports, complaints
from mailer.report.keeping.authreports import Report
from mailer.report.keeping.complaints import Complaint
from mailer.report.keeping.failures import Matched
from mailer.report.matching import Match
from mailer.report.reading import AuthReport, FeedbackReport, Reading

NewId = Callable[[], int]
Kept = Report | Complaint | Unparsable | None


def read(reading: Reading, found: Match | None) -> Kept:
    """What there is to keep; None: it is no report. It may take a second: hold no lock.

    found  whose mail it speaks of, as far as that is known
    """
    if isinstance(reading, FeedbackReport) and reading.bounce_class is BounceClass.COMPLAINT:
        return _complaint(reading, found)
    if isinstance(reading, AuthReport):
        return authreports.read(reading.kind, reading.octets, reading.media_type)
    return None


def keep(
    connection: Connection,
    report: Kept,
    found: Match | None,
    *,
    received: Received,
    new_id: NewId,
    now: datetime,
) -> str | None:
    """In the transaction that settles the mail. A word on what became of it; None: it is no report."""
    if report is None:
        return None
    if isinstance(report, Unparsable):
        return f"unparsable: {report.why}"
    keep_one: Callable[..., bool] = complaints.keep if isinstance(report, Complaint) else authreports.keep
    matched = None if found is None else _matched(found)
    is_new = keep_one(connection, report, received=received, matched=matched, new_id=new_id, now=now)
    kind = _KINDS[type(report)]
    return kind if is_new else f"{kind}, nothing new"


_KINDS: dict[type, str] = {
    Complaint: "complaint",
    AggregateReport: "dmarc",
    FailureReport: "dmarc failure",
    TlsReport: "tls",
}


def _matched(found: Match) -> Matched:
    known = found.known
    return Matched(
        tenant_id=known.tenant_id,
        stream_id=known.stream_id,
        message_id=known.message_id,
        recipient_id=known.id,
    )


def _complaint(reading: FeedbackReport, found: Match | None) -> Complaint:
    original = reading.original
    names = (
        # A token is one recipient's: a second complaint of it is the same.
        ("recipient", str(found.known.id))
        if found is not None and found.is_verified
        else (
            reading.form, original.message_id or "", original.envelope_from or "",
            ",".join(reading.recipients), reading.source_ip or "", reading.arrival_date or "",
        )
    )  # fmt: skip
    senders = (original.envelope_from, reading.original_mail_from, original.message_id)
    domains = [sender.rpartition("@")[2].strip("<>").lower() for sender in senders if sender]
    domains += [domain.lower() for domain in reading.reported_domains]
    return Complaint(
        names=names,
        domains=tuple(dict.fromkeys(domain for domain in domains if domain)),
        format=reading.form,
        kind=_plain(reading.feedback_type),
        source_ip=_plain(reading.source_ip) or None,
        reporter=_plain(reading.user_agent),
        message_id=_plain(original.message_id),
        subject=_plain(original.subject),
        incidents=reading.incidents,
        arrived_at=_moment(reading.arrival_date),
        is_verified=found is not None and found.is_verified,
    )


def _plain(text: str | None) -> str:
    """What a database can keep and a person can see."""
    return "".join(c if c.isprintable() else " " for c in text or "").strip()


def _moment(text: str | None) -> datetime | None:
    """RFC 5322 §3.3; None where it is no date with a zone, which would be anybody's guess."""
    if text is None:
        return None
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else None
