"""Abuse reports in XARF v4 (https://xarf.org, schemas/v4/xarf-core.json and types/messaging-*.json).

Only reports on messaging tell of mail; those on other things are read as far as what all reports have. Early
writers say `class` where the format now says `category`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.report.formats import jsondoc, values
from mailer.report.formats.jsondoc import listed, member
from mailer.report.formats.values import Unparsable

MOST_OCTETS = 8 * 1024 * 1024
MESSAGING = "messaging"
_MOST_EVIDENCE = 50  # the schema's own limit
_MAIL = frozenset({"message/rfc822", "text/email", "message/global", "text/rfc822-headers"})  # not our word
_CATEGORIES = frozenset(
    {MESSAGING, "content", "copyright", "connection", "vulnerability", "infrastructure", "reputation"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseReport:
    """Empty or None: not said.

    reporter, reporter_domain   who complains; sender_domain: who filed it
    source          IP address or name that the abuse came from; source_ip: where it is an address
    type            spam, bulk_messaging, phishing ...
    evidence_source spamtrap, user_complaint ...
    mail            the mail complained of, from the evidence; empty: none is enclosed
    """

    version: str
    report_id: str
    at: datetime
    reporter: str
    reporter_domain: str
    reporter_contact: str
    sender_domain: str
    source: str
    source_ip: str | None
    category: str
    type: str
    evidence_source: str
    protocol: str
    mail_from: str
    recipient: str
    subject: str
    message_id: str
    mail: bytes

    @property
    def is_on_mail(self) -> bool:
        return self.category == MESSAGING and self.protocol in ("", "smtp")


def parse(content: bytes, media_type: str | None = None) -> AbuseReport | Unparsable:
    """media_type: not needed. Never raises."""
    found = jsondoc.decoded(content, most=MOST_OCTETS)
    if isinstance(found, Unparsable):
        return found
    version = values.line(found.get("xarf_version"), 20)
    if not version.startswith("4."):
        return Unparsable("it is not XARF version 4")
    report_id = values.line(found.get("report_id"), 100)
    at = values.rfc3339(found.get("timestamp"))
    source = values.line(found.get("source_identifier"), values.NAME_CHARS)
    category = values.word(found.get("category") or found.get("class"))
    if not report_id or at is None or not source or category not in _CATEGORIES:
        return Unparsable("it lacks a report_id, a timestamp, a source_identifier or a category")
    contact = values.line(member(found, "reporter", "contact"), 320)
    return AbuseReport(
        version=version,
        report_id=report_id.lower(),
        at=at,
        reporter=values.line(member(found, "reporter", "org"), 200),
        reporter_domain=_domain(member(found, "reporter", "domain"), contact),
        reporter_contact=contact,
        sender_domain=_domain(
            member(found, "sender", "domain"), values.line(member(found, "sender", "contact"), 320)
        ),
        source=source,
        source_ip=values.address(source),
        category=category,
        type=values.word(found.get("type")),
        evidence_source=values.word(found.get("evidence_source")),
        protocol=values.word(found.get("protocol")),
        mail_from=values.line(found.get("smtp_from"), 320).strip("<> "),
        recipient=values.line(found.get("smtp_to"), 320).strip("<> "),
        subject=values.line(found.get("subject"), 200),
        message_id=values.line(found.get("message_id"), values.NAME_CHARS),
        mail=_mail(listed(found.get("evidence"))[:_MOST_EVIDENCE]),
    )


def _domain(said: object, contact: str) -> str:
    return values.domain(said) or values.domain(contact.rpartition("@")[2])


def _mail(evidence: list[Any]) -> bytes:
    """The first that is a mail and can be decoded."""
    for item in evidence:
        kind = values.line(member(item, "content_type"), 100).partition(";")[0].strip().lower()
        payload = member(item, "payload")
        if kind in _MAIL and isinstance(payload, str):
            try:
                return base64.b64decode(payload, validate=False)
            except (binascii.Error, ValueError):
                continue
    return b""
