"""What was reported about a domain, as it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from mailer.accept.http.shapes import At, MessageId, RecipientId, Shape, shown_as

DmarcReportId = Annotated[int, *shown_as("dmr")]
TlsReportId = Annotated[int, *shown_as("tlr")]
FailureId = Annotated[int, *shown_as("dmf")]
ComplaintId = Annotated[int, *shown_as("cmp")]

_NEXT = "`cursor` of the next page; null: there is nothing more"
_SOURCE = "IP address; empty: not said"


class _Came(Shape):
    """How a report came."""

    via: Literal["mail", "http"]
    signed_by: str | None = Field(
        description="Domain whose DKIM signature held on the mail that brought it; null: it is not verified"
    )
    received_at: At


class DmarcTally(Shape):
    """Messages, and what became of them."""

    messages: int
    aligned: int = Field(description="Passed DMARC: by DKIM, SPF or both")
    dkim_aligned: int
    spf_aligned: int
    quarantined: int
    rejected: int


class DmarcSource(Shape):
    source_ip: str = Field(description=_SOURCE)
    is_ours: bool = Field(description="An egress IP of this installation")
    tally: DmarcTally


class DmarcResult(Shape):
    dkim_aligned: bool
    spf_aligned: bool
    disposition: Literal["none", "quarantine", "reject", "pass", ""] = Field(description="Empty: another")
    messages: int


class DmarcReporter(Shape):
    organization: str
    reports: int
    messages: int
    aligned: int


class DmarcDay(Shape):
    day: date
    messages: int
    aligned: int


class DmarcSummary(Shape):
    """What receivers saw of mail in the domain's name. The longer lists have the largest 200."""

    reports: int
    totals: DmarcTally
    by_source: Sequence[DmarcSource]
    by_result: Sequence[DmarcResult]
    by_reporter: Sequence[DmarcReporter]
    by_day: Sequence[DmarcDay]


class DmarcPolicy(Shape):
    """As the receiver found it published; empty: not said."""

    domain: str
    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    pct: int | None
    fo: str
    testing: str
    discovery: str


class DmarcReport(_Came):
    id: DmarcReportId
    organization: str
    contact: str
    report_id: str = Field(description="The reporter's own")
    begins_at: At
    ends_at: At
    policy: DmarcPolicy
    messages: int
    aligned: int
    records: int
    unreadable: int = Field(description="Records that could not be read")


class DmarcReportPage(Shape):
    reports: Sequence[DmarcReport] = Field(description="The latest to come first")
    next_cursor: str | None = Field(description=_NEXT)


class DmarcReason(Shape):
    type: str
    comment: str


class DkimResult(Shape):
    domain: str
    selector: str
    result: str


class SpfResult(Shape):
    domain: str
    scope: str
    result: str


class DmarcRecord(Shape):
    """Messages that were seen alike."""

    source_ip: str = Field(description=_SOURCE)
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


class DmarcReportInFull(Shape):
    report: DmarcReport
    records: Sequence[DmarcRecord]
    next_cursor: str | None = Field(description=_NEXT)


class DmarcFailure(_Came):
    """A message that failed DMARC somewhere."""

    id: FailureId
    stream: str | None = Field(description="null: the message is not known here")
    message_id: MessageId | None
    source_ip: str = Field(description=_SOURCE)
    failures: Sequence[str] = Field(description="What failed: dmarc, dkim, spf ...")
    delivery: str
    mail_from: str
    recipient: str
    rfc_message_id: str
    subject: str
    results: str = Field(description="Authentication-Results, as the receiver wrote it")
    reporter: str
    incidents: int = Field(description="Messages that it stands for")
    arrived_at: At


class DmarcFailurePage(Shape):
    failures: Sequence[DmarcFailure] = Field(description="The latest to come first")
    next_cursor: str | None = Field(description=_NEXT)


class TlsPolicyTally(Shape):
    type: Literal["sts", "tlsa", "no-policy-found", ""] = Field(description="Empty: another")
    policy_domain: str
    successful: int
    failed: int


class TlsResultTally(Shape):
    result: str = Field(description="A word of RFC 8460 §4.3, or the reporter's own")
    sessions: int


class TlsSource(Shape):
    sending_ip: str = Field(description=_SOURCE)
    sessions: int


class TlsReporter(Shape):
    organization: str
    reports: int
    successful: int
    failed: int


class TlsDay(Shape):
    day: date
    successful: int
    failed: int


class TlsSummary(Shape):
    """How TLS to the domain's hosts, mostly that of its return path, fared; in sessions.

    The longer lists have the largest 200.
    """

    reports: int
    successful: int
    failed: int
    by_policy: Sequence[TlsPolicyTally]
    by_result: Sequence[TlsResultTally] = Field(description="Failed sessions")
    by_source: Sequence[TlsSource] = Field(description="Failed sessions")
    by_reporter: Sequence[TlsReporter]
    by_day: Sequence[TlsDay]


class TlsReport(_Came):
    id: TlsReportId
    organization: str
    contact: str
    report_id: str = Field(description="The reporter's own")
    begins_at: At
    ends_at: At
    successful: int
    failed: int


class TlsReportPage(Shape):
    reports: Sequence[TlsReport] = Field(description="The latest to come first")
    next_cursor: str | None = Field(description=_NEXT)


class TlsFailure(Shape):
    result: str
    sessions: int
    sending_ip: str
    receiving_host: str
    receiving_ip: str
    reason_code: str
    more: str


class TlsPolicy(TlsPolicyTally):
    lines: Sequence[str]
    hosts: Sequence[str]
    failures: Sequence[TlsFailure] = Field(description="Of a report the first 1,000")


class TlsReportInFull(Shape):
    report: TlsReport
    policies: Sequence[TlsPolicy]


class ComplaintTally(Shape):
    complaints: int
    verified: int = Field(description="Proved by a token of ours or a provider's signature")


class ComplaintSource(Shape):
    source_ip: str | None = Field(validation_alias="name", description="null: not said")
    is_ours: bool = Field(description="An egress IP of this installation")
    tally: ComplaintTally


class ComplaintStream(Shape):
    stream: str | None = Field(validation_alias="name", description="null: the message is not known here")
    tally: ComplaintTally


class ComplaintKind(Shape):
    kind: str | None = Field(validation_alias="name", description="abuse, fraud, virus, spam ...")
    tally: ComplaintTally


class ComplaintReporter(Shape):
    reporter: str | None = Field(validation_alias="name")
    tally: ComplaintTally


class ComplaintDay(Shape):
    day: date
    tally: ComplaintTally


class ComplaintSummary(Shape):
    """Complaints about mail of the domain. The longer lists have the largest 200."""

    totals: ComplaintTally
    by_source: Sequence[ComplaintSource]
    by_stream: Sequence[ComplaintStream]
    by_kind: Sequence[ComplaintKind]
    by_reporter: Sequence[ComplaintReporter]
    by_day: Sequence[ComplaintDay]


class Complaint(_Came):
    id: ComplaintId
    stream: str | None = Field(description="null: the message is not known here")
    message_id: MessageId | None
    recipient_id: RecipientId | None
    format: str = Field(description="arf, xarf ...")
    kind: str
    source_ip: str = Field(description=_SOURCE)
    reporter: str
    rfc_message_id: str
    subject: str
    incidents: int = Field(description="Messages that it stands for")
    is_verified: bool = Field(description="Proved by a token of ours or a provider's signature")
    arrived_at: At


class ComplaintPage(Shape):
    complaints: Sequence[Complaint] = Field(description="The latest to come first")
    next_cursor: str | None = Field(description=_NEXT)
