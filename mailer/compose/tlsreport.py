"""A TLS report of ours: its JSON (RFC 8460 §4.4), and the mail that bears it (§5.3)."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from mailer.compose import fields
from mailer.compose.address import Mailbox
from mailer.compose.mime import Composed

MEDIA_TYPE = "application/tlsrpt+gzip"
SUCCESS = "success"
_MOST_FAILURES = 1_000  # of one policy: those with the most sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What was found published for the recipient's domain. type: sts, tlsa or no-policy-found."""

    type: str
    domain: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Sessions of one kind. result: SUCCESS, or a word of RFC 8460 §4.3. Texts: empty where not known."""

    policy: Policy
    result: str
    sessions: int
    host: str
    address: str
    sending_ip: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Who reports, to whom, on which day (UTC).

    submitter     the domain that reports and signs
    organization  in words
    contact       a mailbox
    domain        of the recipients
    """

    submitter: str
    organization: str
    contact: str
    domain: str
    day: date

    @property
    def report_id(self) -> str:
        """The same on every try, so that a receiver knows a repeat."""
        return f"{self.day.isoformat()}.{self.domain}@{self.submitter}"

    @property
    def filename(self) -> str:
        """RFC 8460 §5.1."""
        begin = int(datetime.fromisoformat(f"{self.day.isoformat()}T00:00:00+00:00").timestamp())
        return f"{self.submitter}!{self.domain}!{begin}!{begin + 86_399}.json.gz"


def document(reporting: Reporting, found: Sequence[Sessions]) -> dict[str, Any]:
    """The report as a JSON object; the same for the same arguments."""
    by_policy: dict[Policy, list[Sessions]] = {}
    for sessions in found:
        by_policy.setdefault(sessions.policy, []).append(sessions)
    day = reporting.day.isoformat()
    return {
        "organization-name": reporting.organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": reporting.contact,
        "report-id": reporting.report_id,
        "policies": [
            _policy(policy, some)
            for policy, some in sorted(by_policy.items(), key=lambda item: (item[0].type, item[0].domain))
        ],
    }


def packed(content: Mapping[str, Any]) -> bytes:
    """RFC 8460 §5.2: gzip, without a time in it."""
    return gzip.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), mtime=0)


def mail(
    reporting: Reporting,
    content: bytes,
    *,
    to: Sequence[Mailbox],
    message_id: str,
    sent_at: datetime,
    boundary: str,
) -> Composed:
    """The mail to the mailboxes that the domain names. content: packed.

    It says TLS-Required: No (RFC 8689 §5), since it tells of broken TLS: RFC 8460 §5.3 has it delivered all
    the same.
    """
    subject = (
        f"Report Domain: {reporting.domain} Submitter: {reporting.submitter} "
        f"Report-ID: <{reporting.report_id}>"
    )
    header = "".join(
        (
            fields.address_field("From", [Mailbox("", "tls-reports", reporting.submitter)]),
            fields.address_field("To", to),
            fields.text_field("Subject", subject),
            fields.structured_field("TLS-Report-Domain", reporting.domain),
            fields.structured_field("TLS-Report-Submitter", reporting.submitter),
            f"Date: {fields.date_text(sent_at)}\r\nMessage-ID: {message_id}\r\n",
            "Auto-Submitted: auto-generated\r\nTLS-Required: No\r\nMIME-Version: 1.0\r\n",
            f'Content-Type: multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"\r\n',
        )
    )
    words = (
        f"This is an aggregate report on TLS (RFC 8460) from {reporting.submitter}\r\n"
        f"about mail to {reporting.domain} on {reporting.day.isoformat()} (UTC).\r\n"
    )
    head = (
        f"Content-Type: {MEDIA_TYPE}\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment;\r\n filename="{reporting.filename}"\r\n\r\n'
    )
    body = (
        f"--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{words}\r\n--{boundary}\r\n{head}"
    )
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return Composed(
        header.encode(),
        body.encode() + encoded + f"\r\n--{boundary}--\r\n".encode(),
        needs_utf8=not header.isascii(),
    )


def _policy(policy: Policy, found: Sequence[Sessions]) -> dict[str, Any]:
    failures = sorted((s for s in found if s.result != SUCCESS), key=lambda s: -s.sessions)
    described: dict[str, Any] = {"policy-type": policy.type, "policy-domain": policy.domain}
    if policy.lines:
        described["policy-string"] = list(policy.lines)
    hosts = [line.partition(":")[2].strip() for line in policy.lines if line.lower().startswith("mx:")]
    if policy.type == "sts" and hosts:
        described["mx-host"] = hosts
    told: dict[str, Any] = {
        "policy": described,
        "summary": {
            "total-successful-session-count": sum(s.sessions for s in found if s.result == SUCCESS),
            "total-failure-session-count": sum(s.sessions for s in failures),
        },
    }
    if failures:
        told["failure-details"] = [_failure(s) for s in failures[:_MOST_FAILURES]]
    return told


def _failure(found: Sessions) -> dict[str, Any]:
    said = {
        "result-type": found.result,
        "sending-mta-ip": found.sending_ip,
        "receiving-mx-hostname": found.host,
        "receiving-ip": found.address,
        "failed-session-count": found.sessions,
        "failure-reason-code": found.reason,
    }
    return {name: value for name, value in said.items() if value != ""}
