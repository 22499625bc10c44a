"""Complaints: reports of RFC 5965 and its kin, and those of providers that have a form of their own."""

from __future__ import annotations

import re

from mailer.report.reading.addresses import addresses_in, one_address
from mailer.report.reading.fields import Fields, fields_in
from mailer.report.reading.kinds import (
    AuthReport,
    AuthReportKind,
    FeedbackReport,
    Original,
    Unsubscription,
)
from mailer.report.reading.mime import Part
from mailer.report.reading.wording import wording

ARF = "arf"
JMRP = "microsoft-jmrp"
TEXT = "text"
OTHER = "other"  # RFC 5965 §7.3: also what stands for a type that nobody knows
_FIELDS_OCTETS = 64 * 1024
_VALUE_CHARS = 1000
_VALUES_MOST = 100

_UNSUBSCRIBES = frozenset(
    {"opt-out", "opt-out-list"}
)  # draft-shafranovich-feedback-report-05 §4, left out of RFC 5965
_TYPE_FIELD = re.compile(r"^feedback-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
# Where the part is not named as what it is: fields from its beginning on, and among them this one.
_STARTS = re.compile(
    r"\A\s*(?:[!-9;-~]{1,60}[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*){0,40}?feedback-type[ \t]*:", re.IGNORECASE
)
# Microsoft's Junk Mail Reporting Program returns the message with this field and no report part
# (https://sendersupport.olc.protection.outlook.com/pm/services.aspx).
_JMRP_FIELDS = ("x-hmxmroriginalrecipient", "x-hmxmr-originalrecipient")
_TEXT_SUBJECT = wording("complaint-subject")
_TEXT_BODY = wording("complaint")
_SENDERS = wording("complaint-sender")


def report_fields(root: Part) -> Fields | None:
    """The fields of the part message/feedback-report, by whatever name it goes (RFC 5965 §3)."""
    for part in root.walk():
        if part.is_nested or (part is root and part.children):
            continue
        is_named = part.type.essence == "message/feedback-report"
        if not (is_named or part.type.main in {"text", "message", "application"}):
            continue
        text = part.text(_FIELDS_OCTETS)
        if is_named and _TYPE_FIELD.search(text):
            return fields_in(text.strip())
        if _STARTS.match(text) and ("user-agent" in text.lower() or "version" in text.lower()):
            return fields_in(text.strip())
    return None


def feedback_from(
    fields: Fields, original: Original, content: bytes
) -> FeedbackReport | Unsubscription | AuthReport:
    """What a feedback report means. content: the whole mail."""
    kind = fields.raw("feedback-type").split("(")[0].strip().lower() or OTHER
    recipients = _recipients(fields)
    if kind in _UNSUBSCRIBES:
        return Unsubscription(reason="feedback_report", original=original, recipients=recipients)
    if kind == "auth-failure" or (kind == "dkim" and "auth-failure" in fields):
        return AuthReport(
            kind=AuthReportKind.DMARC_FAILURE,
            octets=content,
            media_type="message/feedback-report",
            filename=None,
            original=original,
            recipients=recipients,
        )
    return FeedbackReport(
        feedback_type=kind[:60],
        form=ARF,
        original=original,
        recipients=recipients,
        user_agent=_value(fields, "user-agent"),
        version=_value(fields, "version"),
        original_mail_from=_value(fields, "original-mail-from"),
        arrival_date=_value(fields, "arrival-date") or _value(fields, "received-date"),
        source_ip=_value(fields, "source-ip"),
        reporting_mta=(_value(fields, "reporting-mta") or "").rpartition(";")[2].strip() or None,
        incidents=_incidents(fields.raw("incidents")),
        authentication_results=_values(fields, "authentication-results"),
        reported_domains=_values(fields, "reported-domain"),
        reported_uris=_values(fields, "reported-uri"),
    )


def _recipients(fields: Fields) -> tuple[str, ...]:
    """Original-Rcpt-To may stand more than once (RFC 5965 §3.2); redacted ones are no addresses."""
    given = [*fields.every("original-rcpt-to"), *fields.every("removal-recipient")]
    found = [address for value in given[:_VALUES_MOST] for address in _addresses(value)]
    return tuple(dict.fromkeys(found))


def _addresses(value: str) -> list[str]:
    whole = one_address(value)
    return [whole] if whole is not None else list(addresses_in(value))


def _value(fields: Fields, name: str) -> str | None:
    return fields.text(name)[:_VALUE_CHARS] or None


def _values(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(value[:_VALUE_CHARS] for value in list(fields.every(name))[:_VALUES_MOST])


def _incidents(value: str) -> int:
    """RFC 5965 §3.2: how many such messages it stands for; one where nothing usable is said."""
    return min(int(value), 1_000_000) if re.fullmatch(r"[0-9]{1,9}", value) and int(value) else 1


def own_form(root: Part, header: Fields, words: str, original: Original) -> FeedbackReport | None:
    """A complaint without a report part. header: of the message that came back."""
    for given in (root.fields, header):
        for name in _JMRP_FIELDS:
            if name in given:
                recipients = tuple(addresses_in(given.raw(name)))[:1]
                source = _value(given, "x-originating-ip") or _value(given, "x-sender-ip")
                return FeedbackReport(
                    feedback_type="abuse",
                    form=JMRP,
                    original=original,
                    recipients=recipients,
                    source_ip=source,
                )
    carries = any(part.type.main == "message" and part is not root for part in root.walk())
    told = _TEXT_SUBJECT.search(root.fields.text("subject")), _TEXT_BODY.search(words[:4000])
    if carries and _SENDERS.search(root.fields.text("from")) and any(told):
        return FeedbackReport(feedback_type="abuse", form=TEXT, original=original)
    return None
