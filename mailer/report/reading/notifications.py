"""Amazon SES's notifications by mail: JSON in the text (https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mailer.report.reading.judging import Judge, reply_in
from mailer.report.reading.kinds import (
    DeliveryAction,
    DeliveryReport,
    FeedbackReport,
    Original,
    Reading,
    RecipientReport,
)
from mailer.report.reading.statusfields import status_in

FORM = "amazon-ses"
_BEGINS = re.compile(r'\A\s*\{\s*"(?:notificationType|eventType|Type)"')
_CHARS = 256 * 1024
_RECIPIENTS_MOST = 500


def notification_from(text: str, original: Original, judge: Judge) -> Reading | None:
    """None: it is no such notification."""
    if not _BEGINS.match(text):
        return None
    # Folded to lines of mail; JSON itself needs no line breaks.
    found = _decoded(text[:_CHARS].replace("\n ", " ").replace("\n", "").strip())
    if isinstance(found.get("Message"), str):
        found = _decoded(found["Message"][:_CHARS])
    kind = found.get("notificationType", found.get("eventType"))
    if kind == "Complaint":
        return FeedbackReport(
            feedback_type="abuse",
            form=FORM,
            original=original,
            recipients=_complained(found.get("complaint")),
        )
    if kind == "Bounce":
        reports = [_bounced(each, judge) for each in _listed(found.get("bounce"), "bouncedRecipients")]
        return DeliveryReport(
            recipients=tuple(r for r in reports if r is not None), original=original, form=FORM
        )
    if kind == "Delivery":
        return DeliveryReport(recipients=_delivered(found, judge), original=original, form=FORM)
    return None


def _decoded(text: str) -> Mapping[str, Any]:
    try:
        # What follows the object is the footer of the mail; tabs in it are of the mail's lines.
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(holder: object, name: str) -> list[Any]:
    found = holder.get(name) if isinstance(holder, dict) else None
    return found[:_RECIPIENTS_MOST] if isinstance(found, list) else []


def _complained(holder: object) -> tuple[str, ...]:
    found = [
        each.get("emailAddress") for each in _listed(holder, "complainedRecipients") if isinstance(each, dict)
    ]
    return tuple(address for address in found if isinstance(address, str))


def _bounced(each: object, judge: Judge) -> RecipientReport | None:
    if not isinstance(each, dict) or not isinstance(each.get("emailAddress"), str):
        return None
    diagnostic = re.sub(r"^\s*smtp\s*;\s*", "", str(each.get("diagnosticCode", "")))
    return _report(
        each["emailAddress"], DeliveryAction.FAILED, diagnostic, str(each.get("status", "")), judge
    )


def _delivered(found: Mapping[str, Any], judge: Judge) -> tuple[RecipientReport, ...]:
    holder = found.get("delivery")
    reply = str(holder.get("smtpResponse", "")) if isinstance(holder, dict) else ""
    addresses = [address for address in _listed(holder, "recipients") if isinstance(address, str)]
    return tuple(_report(address, DeliveryAction.DELIVERED, reply, "", judge) for address in addresses)


def _report(address: str, action: DeliveryAction, said: str, status: str, judge: Judge) -> RecipientReport:
    given = status_in(status) or reply_in(said)[1]
    return RecipientReport(
        address=address,
        original_address=None,
        action=action,
        status=given,
        diagnostic=said,
        reporting_mta=None,
        remote_mta=None,
        judgement=judge.of(action, [said], status=given),
    )
