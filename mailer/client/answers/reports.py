"""What receivers report about mail of a sending domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from msgspec import Struct


class DmarcTally(Struct, frozen=True, kw_only=True):
    """Messages, and what became of them."""

    messages: int
    aligned: int
    dkim_aligned: int
    spf_aligned: int
    quarantined: int
    rejected: int


class DmarcSource(Struct, frozen=True, kw_only=True):
    source_ip: str
    is_ours: bool
    tally: DmarcTally


class DmarcResult(Struct, frozen=True, kw_only=True):
    dkim_aligned: bool
    spf_aligned: bool
    disposition: str
    messages: int


class DmarcReporter(Struct, frozen=True, kw_only=True):
    organization: str
    reports: int
    messages: int
    aligned: int


class DmarcDay(Struct, frozen=True, kw_only=True):
    day: date
    messages: int
    aligned: int


class DmarcSummary(Struct, frozen=True, kw_only=True):
    """What receivers saw of mail in the domain's name. The longer lists have the largest 200."""

    reports: int
    totals: DmarcTally
    by_source: Sequence[DmarcSource]
    by_result: Sequence[DmarcResult]
    by_reporter: Sequence[DmarcReporter]
    by_day: Sequence[DmarcDay]


class DmarcPolicy(Struct, frozen=True, kw_only=True):
    """As the receiver found it published; empty: not said."""

    domain: str
    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    fo: str
    testing: str
    discovery: str
    pct: int | None = None


class DmarcReport(Struct, frozen=True, kw_only=True):
    id: str
    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    policy: DmarcPolicy
    messages: int
    aligned: int
    records: int
    unreadable: int
    via: str
    received_at: datetime
    signed_by: str | None = None


class DmarcReportPage(Struct, frozen=True, kw_only=True):
    reports: Sequence[DmarcReport]
    next_cursor: str | None = None


class DmarcReason(Struct, frozen=True, kw_only=True):
    type: str
    comment: str


class DkimResult(Struct, frozen=True, kw_only=True):
    domain: str
    selector: str
    result: str


class SpfResult(Struct, frozen=True, kw_only=True):
    domain: str
    scope: str
    result: str


class DmarcRecord(Struct, frozen=True, kw_only=True):
    """Messages that were seen alike."""

    source_ip: str
    messages: int
    disposition: str
    dkim_aligned: bool
    spf_aligned: bool
    header_from: str
    envelope_from: str
    envelope_to: str
    reasons: Sequence[DmarcReason]
    dkim: Sequence[DkimResult]
    spf: Sequence[SpfResult]


class DmarcReportInFull(Struct, frozen=True, kw_only=True):
    report: DmarcReport
    records: Sequence[DmarcRecord]
    next_cursor: str | None = None


class DmarcFailure(Struct, frozen=True, kw_only=True):
    """A message that failed DMARC somewhere."""

    id: str
    source_ip: str
    failures: Sequence[str]
    delivery: str
    mail_from: str
    recipient: str
    rfc_message_id: str
    subject: str
    results: str
    reporter: str
    incidents: int
    arrived_at: datetime
    via: str
    received_at: datetime
    stream: str | None = None
    message_id: str | None = None
    signed_by: str | None = None


class DmarcFailurePage(Struct, frozen=True, kw_only=True):
    failures: Sequence[DmarcFailure]
    next_cursor: str | None = None


class TlsPolicyTally(Struct, frozen=True, kw_only=True):
    type: str
    policy_domain: str
    successful: int
    failed: int


class TlsResultTally(Struct, frozen=True, kw_only=True):
    result: str
    sessions: int


class TlsSource(Struct, frozen=True, kw_only=True):
    sending_ip: str
    sessions: int


class TlsReporter(Struct, frozen=True, kw_only=True):
    organization: str
    reports: int
    successful: int
    failed: int


class TlsDay(Struct, frozen=True, kw_only=True):
    day: date
    successful: int
    failed: int


class TlsSummary(Struct, frozen=True, kw_only=True):
    """How TLS to the domain's hosts, mostly that of its return path, fared; in sessions."""

    reports: int
    successful: int
    failed: int
    by_policy: Sequence[TlsPolicyTally]
    by_result: Sequence[TlsResultTally]
    by_source: Sequence[TlsSource]
    by_reporter: Sequence[TlsReporter]
    by_day: Sequence[TlsDay]


class TlsReport(Struct, frozen=True, kw_only=True):
    id: str
    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    successful: int
    failed: int
    via: str
    received_at: datetime
    signed_by: str | None = None


class TlsReportPage(Struct, frozen=True, kw_only=True):
    reports: Sequence[TlsReport]
    next_cursor: str | None = None


class TlsFailure(Struct, frozen=True, kw_only=True):
    result: str
    sessions: int
    sending_ip: str
    receiving_host: str
    receiving_ip: str
    reason_code: str
    more: str


class TlsPolicy(Struct, frozen=True, kw_only=True):
    lines: Sequence[str]
    hosts: Sequence[str]
    failures: Sequence[TlsFailure]
    type: str
    policy_domain: str
    successful: int
    failed: int


class TlsReportInFull(Struct, frozen=True, kw_only=True):
    report: TlsReport
    policies: Sequence[TlsPolicy]


class ComplaintTally(Struct, frozen=True, kw_only=True):
    complaints: int
    verified: int


class ComplaintSource(Struct, frozen=True, kw_only=True):
    is_ours: bool
    tally: ComplaintTally
    source_ip: str | None = None


class ComplaintStream(Struct, frozen=True, kw_only=True):
    tally: ComplaintTally
    stream: str | None = None


class ComplaintKind(Struct, frozen=True, kw_only=True):
    tally: ComplaintTally
    kind: str | None = None


class ComplaintReporter(Struct, frozen=True, kw_only=True):
    tally: ComplaintTally
    reporter: str | None = None


class ComplaintDay(Struct, frozen=True, kw_only=True):
    day: date
    tally: ComplaintTally


class ComplaintSummary(Struct, frozen=True, kw_only=True):
    """Complaints about mail of the domain. The longer lists have the largest 200."""

    totals: ComplaintTally
    by_source: Sequence[ComplaintSource]
    by_stream: Sequence[ComplaintStream]
    by_kind: Sequence[ComplaintKind]
    by_reporter: Sequence[ComplaintReporter]
    by_day: Sequence[ComplaintDay]


class Complaint(Struct, frozen=True, kw_only=True):
    id: str
    format: str
    kind: str
    source_ip: str
    reporter: str
    rfc_message_id: str
    subject: str
    incidents: int
    is_verified: bool
    arrived_at: datetime
    via: str
    received_at: datetime
    stream: str | None = None
    message_id: str | None = None
    recipient_id: str | None = None
    signed_by: str | None = None


class ComplaintPage(Struct, frozen=True, kw_only=True):
    complaints: Sequence[Complaint]
    next_cursor: str | None = None
