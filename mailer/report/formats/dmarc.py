"""DMARC aggregate reports: what receivers saw of mail that bears a domain in its From.

Both schemas are read, and what vendors make of them: RFC 7489 Appendix C, and RFC 9990 Appendix A, which has
a namespace, the disposition `pass`, and `testing`, `np` and `discovery_method` in place of `pct`. Names of
elements are looked for without their prefix, in any order, and unknown ones are passed over (RFC 9990 allows
extensions anywhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer.report.formats import unpack, values, xmlstream
from mailer.report.formats.values import Unparsable
from mailer.report.formats.xmlstream import Element, XmlRefused

MOST_RECORDS = 30_000
_MOST_RESULTS = 20  # of DKIM, SPF or reasons that are kept of one record
_MOST_ERRORS = 20
_PASS = "pass"  # noqa: S105 - a result, not a secret
_DISPOSITIONS = frozenset({"none", "quarantine", "reject", _PASS})
_POLICIES = frozenset({"none", "quarantine", "reject"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPolicy:
    """What the receiver found in the DNS; empty: it does not say.

    p, sp, np     none | quarantine | reject: of the domain, of sub-domains, of names that do not exist
    adkim, aspf   r | s
    pct           percentage (RFC 7489 §6.3)
    testing       y | n (RFC 9989 t=)
    discovery     psl | treewalk
    """

    domain: str
    p: str = ""
    sp: str = ""
    np: str = ""
    adkim: str = ""
    aspf: str = ""
    pct: int | None = None
    fo: str = ""
    testing: str = ""
    discovery: str = ""


@dataclass(frozen=True, slots=True)
class DkimResult:
    """A signature that was verified; result: a word of RFC 8601 §2.7.1."""

    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True)
class SpfResult:
    """scope: mfrom | helo; empty: not said. result: a word of RFC 8601 §2.7.2."""

    domain: str
    scope: str
    result: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why another disposition was applied than the policy asks for (RFC 7489 Appendix C)."""

    type: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Messages that are alike.

    source_ip      that they came from; None: it is no address
    disposition    none | quarantine | reject | pass; empty: something else
    dkim_aligned, spf_aligned  the mechanism passed with a domain that goes with the one in From
    header_from    domain in From; empty: not said, as for the two after it
    """

    source_ip: str | None
    messages: int
    disposition: str
    dkim_aligned: bool
    spf_aligned: bool
    header_from: str
    envelope_from: str
    envelope_to: str
    reasons: tuple[Reason, ...]
    dkim: tuple[DkimResult, ...]
    spf: tuple[SpfResult, ...]

    @property
    def is_aligned(self) -> bool:
        return self.dkim_aligned or self.spf_aligned


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateReport:
    """organization: who reports; the domain of the contact where no name is given.

    unreadable  records that were left out
    """

    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    version: str
    generator: str
    errors: tuple[str, ...]
    policy: PublishedPolicy
    records: tuple[Record, ...]
    unreadable: int

    @property
    def messages(self) -> int:
        return sum(record.messages for record in self.records)


def parse(content: bytes, media_type: str | None = None) -> AggregateReport | Unparsable:
    """media_type: not needed. Never raises."""
    octets = unpack.unpacked(content)
    if isinstance(octets, Unparsable):
        return octets
    try:
        found = xmlstream.walked(octets, "feedback", _Reading)
    except XmlRefused as refused:
        return Unparsable(refused.why)
    return found.report()


@dataclass(slots=True)
class _Reading:
    """Called with every child of `feedback`; records become values one by one, so that no tree is kept."""

    version: str = ""
    metadata: Element | None = None
    policy: Element | None = None
    records: list[Record] = field(default_factory=list)
    unreadable: int = 0

    def __call__(self, element: Element) -> None:
        match element.name:
            case "record":
                self._add(element)
            case "report_metadata" if self.metadata is None:
                self.metadata = element
            case "policy_published" if self.policy is None:
                self.policy = element
            case "version":
                self.version = values.line(element.text, 20)

    def _add(self, element: Element) -> None:
        record = _record(element)
        if record is None:
            self.unreadable += 1
            return
        if len(self.records) == MOST_RECORDS:
            raise XmlRefused(f"it has more than {MOST_RECORDS} records")
        self.records.append(record)

    def report(self) -> AggregateReport | Unparsable:
        if self.metadata is None or self.policy is None:
            return Unparsable("it does not say who reports, or on which policy")
        policy = _policy(self.policy)
        report_id = values.line(self.metadata.value("report_id")).strip("<>")
        begins_at = values.seconds(self.metadata.value("date_range", "begin"))
        ends_at = values.seconds(self.metadata.value("date_range", "end"))
        if not policy.domain or not report_id:
            return Unparsable("it names no domain, or has no id")
        if begins_at is None or ends_at is None:
            return Unparsable("it does not say of which time it tells")
        contact = values.line(self.metadata.value("email"), 320)  # not our word
        organization = values.line(self.metadata.value("org_name"), 200)
        return AggregateReport(
            organization=organization or values.domain(contact.rpartition("@")[2]) or "unknown",
            contact=contact,
            report_id=report_id,
            begins_at=begins_at,
            ends_at=max(begins_at, ends_at),
            version=self.version,
            generator=values.line(self.metadata.value("generator"), 200),
            errors=tuple(values.line(e.text) for e in self.metadata.every("error")[:_MOST_ERRORS]),
            policy=policy,
            records=tuple(self.records),
            unreadable=self.unreadable,
        )


def _policy(element: Element) -> PublishedPolicy:
    return PublishedPolicy(
        domain=values.domain(element.value("domain")),
        p=_one_of(_POLICIES, element.value("p")),
        sp=_one_of(_POLICIES, element.value("sp")),
        np=_one_of(_POLICIES, element.value("np")),
        adkim=_one_of("rs", element.value("adkim")),
        aspf=_one_of("rs", element.value("aspf")),
        pct=values.count(element.value("pct"), 100),
        fo=values.line(element.value("fo"), 20),
        testing=_one_of("yn", element.value("testing")),
        discovery=values.word(element.value("discovery_method"), 20),
    )


def _record(element: Element) -> Record | None:
    row = element.first("row")
    messages = None if row is None else values.count(row.value("count"))
    if row is None or not messages:
        return None
    evaluated = row.first("policy_evaluated") or Element("policy_evaluated")
    # Early drafts call them identities.
    who = element.first("identifiers") or element.first("identities") or Element("identifiers")
    results = element.first("auth_results") or Element("auth_results")
    return Record(
        source_ip=values.address(row.value("source_ip")),
        messages=messages,
        disposition=_one_of(_DISPOSITIONS, evaluated.value("disposition")),
        dkim_aligned=values.word(evaluated.value("dkim")) == _PASS,
        spf_aligned=values.word(evaluated.value("spf")) == _PASS,
        header_from=values.domain(who.value("header_from")),
        envelope_from=values.domain(who.value("envelope_from")),
        envelope_to=values.domain(who.value("envelope_to")),
        reasons=tuple(_reasons(evaluated)),
        dkim=tuple(
            DkimResult(
                values.domain(found.value("domain")),
                values.line(found.value("selector"), values.NAME_CHARS),
                values.word(found.value("result")),
            )
            for found in results.every("dkim")[:_MOST_RESULTS]
        ),
        spf=tuple(
            SpfResult(
                values.domain(found.value("domain")),
                values.word(found.value("scope")),
                values.word(found.value("result")),
            )
            for found in results.every("spf")[:_MOST_RESULTS]
        ),
    )


def _reasons(evaluated: Element) -> list[Reason]:
    found = (
        Reason(values.word(reason.value("type")), values.line(reason.value("comment"), 200))
        for reason in evaluated.every("reason")[:_MOST_RESULTS]
    )
    return [reason for reason in found if reason.type or reason.comment]


def _one_of(known: frozenset[str] | Sequence[str], text: str) -> str:
    said = values.word(text, 20)
    return said if said and said in known else ""
