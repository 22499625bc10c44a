"""Complaints in XARF v4 that come by mail: JSON in a part (https://xarf.org, schemas/v4/xarf-core.json).

What is read is whom and what the complaint is about; the whole format has a parser of its own, for those that
are posted.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any

from mailer.report.reading.addresses import one_address
from mailer.report.reading.kinds import FeedbackReport, Original
from mailer.report.reading.mime import Part, read_message
from mailer.report.reading.original import original_from

FORM = "xarf"
_OCTETS = 2 * 1024 * 1024
_MARK = b'"xarf_version"'
_MESSAGING = "messaging"
_EVIDENCE_MOST = 50
_VALUE_CHARS = 1000
_MAIL_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers")


def complaint_in_xarf(root: Part, original: Original) -> FeedbackReport | None:
    """None: there is none, or it is about something else than mail."""
    for part in root.walk():
        if part.is_nested or part.children or part.type.main not in {"application", "text"}:
            continue
        octets = part.octets(_OCTETS)
        if _MARK not in octets:
            continue
        report = _decoded(octets)
        if _word(report, "category") == _MESSAGING or _word(report, "class") == _MESSAGING:
            return _complaint(report, original)
    return None


def _decoded(octets: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(octets.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _complaint(report: Mapping[str, Any], original: Original) -> FeedbackReport:
    recipient = one_address(_text(report, "smtp_to"))
    reporter = report.get("reporter")
    return FeedbackReport(
        feedback_type=_word(report, "type")[:60] or "abuse",
        form=FORM,
        original=_enclosed(report) or original,
        recipients=() if recipient is None else (recipient,),
        user_agent=_text(reporter, "org") or None if isinstance(reporter, dict) else None,
        version=_text(report, "xarf_version") or None,
        original_mail_from=_text(report, "smtp_from") or None,
        arrival_date=None,
        source_ip=_text(report, "source_identifier") or None,
    )


def _enclosed(report: Mapping[str, Any]) -> Original | None:
    """What the first mail among the evidence shows."""
    evidence = report.get("evidence")
    for item in evidence[:_EVIDENCE_MOST] if isinstance(evidence, list) else []:
        payload = item.get("payload") if isinstance(item, dict) else None
        if isinstance(payload, str) and _word(item, "content_type").startswith(_MAIL_TYPES):
            try:
                mail = binascii.a2b_base64(payload)
            except (ValueError, UnicodeEncodeError):
                continue
            return original_from(read_message(mail).fields, mail)
    return None


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return " ".join(value[:_VALUE_CHARS].split()) if isinstance(value, str) else ""


def _word(holder: Mapping[str, Any], name: str) -> str:
    return _text(holder, name).lower()
