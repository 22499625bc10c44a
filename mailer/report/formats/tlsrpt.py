"""SMTP TLS reports: how senders fared with TLS to hosts of a domain (RFC 8460 §4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.report.formats import jsondoc, values
from mailer.report.formats.jsondoc import listed, member
from mailer.report.formats.values import Unparsable

MOST_OCTETS = 8 * 1024 * 1024
MOST_POLICIES = 1_000
MOST_FAILURES = 10_000  # of all policies together
_MOST_LINES = 100
_TYPES = frozenset({"sts", "tlsa", "no_policy_found"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFailure:
    """Sessions that failed alike. result: a word of RFC 8460 §4.3, or the vendor's own. Empty: not said."""

    result: str
    sessions: int
    sending_ip: str
    receiving_host: str
    receiving_helo: str
    receiving_ip: str
    reason_code: str
    more: str  # additional-information, mostly a URI


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """What was found for a domain, and what became of sessions under it.

    type    sts | tlsa | no-policy-found; empty: something else
    lines   the policy as it was found
    hosts   patterns of MX hosts
    """

    type: str
    domain: str
    lines: tuple[str, ...]
    hosts: tuple[str, ...]
    successful: int
    failed: int
    failures: tuple[TlsFailure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReport:
    organization: str
    contact: str
    report_id: str
    begins_at: datetime
    ends_at: datetime
    policies: tuple[TlsPolicy, ...]


def parse(content: bytes, media_type: str | None = None) -> TlsReport | Unparsable:
    """media_type: not needed. Never raises."""
    found = jsondoc.decoded(content, most=MOST_OCTETS)
    if isinstance(found, Unparsable):
        return found
    report_id = values.line(found.get("report-id")).strip("<>")
    begins_at = values.rfc3339(member(found, "date-range", "start-datetime"))
    ends_at = values.rfc3339(member(found, "date-range", "end-datetime"))
    if not report_id:
        return Unparsable("it has no report-id")
    if begins_at is None or ends_at is None:
        return Unparsable("it does not say of which time it tells")
    policies = _policies(listed(found.get("policies")))
    if not policies:
        return Unparsable("it tells of no policy")
    contact = values.line(found.get("contact-info"), 320)
    organization = values.line(found.get("organization-name"), 200)
    return TlsReport(
        organization=organization or values.domain(contact.rpartition("@")[2]) or "unknown",
        contact=contact,
        report_id=report_id,
        begins_at=begins_at,
        ends_at=max(begins_at, ends_at),
        policies=policies,
    )


def _policies(found: list[Any]) -> tuple[TlsPolicy, ...]:
    kept: list[TlsPolicy] = []
    room = MOST_FAILURES
    for entry in found[:MOST_POLICIES]:
        domain = values.domain(member(entry, "policy", "policy-domain"))
        if not domain:
            continue
        failures = _failures(listed(member(entry, "failure-details"))[:room])
        room -= len(failures)
        kept.append(_policy(entry, domain, failures))
    return tuple(kept)


def _policy(entry: Any, domain: str, failures: tuple[TlsFailure, ...]) -> TlsPolicy:
    kind = values.word(member(entry, "policy", "policy-type"))
    # The text of RFC 8460 says mx-host, and its example mx-host-pattern.
    hosts = member(entry, "policy", "mx-host") or member(entry, "policy", "mx-host-pattern")
    return TlsPolicy(
        type=kind.replace("_", "-") if kind in _TYPES else "",
        domain=domain,
        lines=_lines(member(entry, "policy", "policy-string")),
        hosts=_lines(hosts),
        successful=values.count(member(entry, "summary", "total-successful-session-count")) or 0,
        failed=values.count(member(entry, "summary", "total-failure-session-count")) or 0,
        failures=failures,
    )


def _lines(found: object) -> tuple[str, ...]:
    return tuple(filter(None, (values.line(entry) for entry in listed(found)[:_MOST_LINES])))


def _failures(found: list[Any]) -> tuple[TlsFailure, ...]:
    return tuple(
        TlsFailure(
            result=values.word(entry.get("result-type")).replace("_", "-"),
            sessions=values.count(entry.get("failed-session-count")) or 0,
            sending_ip=values.address(entry.get("sending-mta-ip")) or "",
            receiving_host=values.domain(entry.get("receiving-mx-hostname")),
            receiving_helo=values.line(entry.get("receiving-mx-helo"), values.NAME_CHARS),
            receiving_ip=values.address(entry.get("receiving-ip")) or "",
            reason_code=values.line(entry.get("failure-reason-code")),
            more=values.line(entry.get("additional-information")),
        )
        for entry in found
        if isinstance(entry, dict)
    )
