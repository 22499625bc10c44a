"""Complaints and reports on authentication are told from other mail, in every provider's form."""

from __future__ import annotations

import base64
import json

import pytest

from mailer.policy.classifier import shipped
from mailer.report.reading import (
    AuthReport,
    AuthReportKind,
    DeliveryReport,
    FeedbackReport,
    OrdinaryMail,
    Reading,
    Unsubscription,
    read,
)
from tests.report.reading.mails import ORIGINAL, REF, crlf, plain_mail

FIELDS = (
    "Feedback-Type: abuse\nUser-Agent: Isp/2.0\nVersion: 1\nOriginal-Mail-From: <shop@shop.example>\n"
    "Original-Rcpt-To: <ann@there.example>\nSource-IP: 192.0.2.1\n"
    "Received-Date: Mon, 2 Nov 2026 10:00:00 +0000\n"
    "Reporting-MTA: dns; mx.there.example\nIncidents: 3\nReported-Domain: shop.example\n"
    "Reported-URI: http://shop.example/\nAuthentication-Results: mx.there.example; spf=fail\n"
)


def arf(fields: str = FIELDS, *, original: str = ORIGINAL, kind: str = "message/feedback-report") -> bytes:
    return crlf(
        "From: fbl@isp.example\nTo: fbl@shop.example\nSubject: FW: Your order\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        f"--b\nContent-Type: text/plain\n\nThis is a report.\n--b\nContent-Type: {kind}\n\n{fields}\n"
        f"--b\nContent-Type: message/rfc822\n\n{original}\n--b--\n"
    )


def reading(content: bytes) -> Reading:
    return read(content, classifier=shipped())


def test_a_report_says_who_complains_of_what() -> None:
    """RFC 5965 §3."""
    found = reading(arf())

    assert isinstance(found, FeedbackReport)
    assert (found.feedback_type, found.form, found.bounce_class) == ("abuse", "arf", "complaint")
    assert found.recipients == ("ann@there.example",)
    assert (found.user_agent, found.version, found.source_ip, found.incidents) == (
        "Isp/2.0",
        "1",
        "192.0.2.1",
        3,
    )
    assert (found.reporting_mta, found.original_mail_from) == ("mx.there.example", "<shop@shop.example>")
    assert found.reported_domains == ("shop.example",)
    assert found.reported_uris == ("http://shop.example/",)
    assert found.authentication_results == ("mx.there.example; spf=fail",)
    assert found.original.mailer_ref == REF


def test_the_fields_of_a_report_may_stand_in_any_order() -> None:
    """RFC 5965 §3."""
    fields = "".join(reversed(FIELDS.splitlines(keepends=True)))

    assert reading(arf(fields)) == reading(arf())


def test_a_redacted_report_keeps_our_reference() -> None:
    fields = FIELDS.replace("ann@there.example", "redacted")
    original = ORIGINAL.replace("ann@there.example", "redacted").replace(
        f"Return-Path: <{REF}@", "Return-Path: <x@"
    )

    found = reading(arf(fields, original=original))

    assert isinstance(found, FeedbackReport)
    assert found.recipients == ()
    assert found.original.mailer_ref == REF


@pytest.mark.parametrize("kind", ["fraud", "virus", "other", "miscategorized", "something-new"])
def test_every_other_type_is_a_complaint_too(kind: str) -> None:
    """RFC 5965 §7.3: an unknown one stands for "other"."""
    assert reading(arf(FIELDS.replace("abuse", kind))).bounce_class == "complaint"


def test_a_report_that_it_was_no_spam_is_no_complaint() -> None:
    """RFC 6430 §3."""
    found = reading(arf(FIELDS.replace("abuse", "not-spam")))

    assert isinstance(found, FeedbackReport)
    assert found.bounce_class == "not-a-bounce"


def test_an_opt_out_is_an_unsubscription() -> None:
    assert isinstance(reading(arf(FIELDS.replace("abuse", "opt-out"))), Unsubscription)


def test_a_failed_authentication_is_for_its_own_parser() -> None:
    """RFC 6591 §3.1."""
    content = arf(FIELDS.replace("abuse", "auth-failure") + "Auth-Failure: dmarc\n")

    found = reading(content)

    assert isinstance(found, AuthReport)
    assert (found.kind, found.octets) == (AuthReportKind.DMARC_FAILURE, content)
    assert found.recipients == ("ann@there.example",)


def test_the_report_of_microsoft_is_the_message_with_a_field() -> None:
    inner = "X-HmXmrOriginalRecipient: ann@outlook.example\n" + ORIGINAL
    content = crlf(
        "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
        f"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n{inner}\n--b--\n"
    )

    found = reading(content)

    assert isinstance(found, FeedbackReport)
    assert (found.form, found.recipients) == ("microsoft-jmrp", ("ann@outlook.example",))
    assert found.original.mailer_ref == REF


def test_a_complaint_in_words_is_one_where_the_message_comes_with_it() -> None:
    head = "From: Abuse <abuse@isp.example>\nSubject: Abuse report\nContent-Type: multipart/mixed; boundary=b"
    words = (
        "--b\n\nThis is an email abuse report for a message of yours.\n--b\nContent-Type: message/rfc822\n\n"
    )

    assert reading(plain_mail(head, words + ORIGINAL + "\n--b--\n")).bounce_class == "complaint"
    assert isinstance(reading(plain_mail(head, words.partition("--b\nContent-Type")[0])), OrdinaryMail)


@pytest.mark.parametrize(
    ("header", "kind", "name", "expected"),
    [
        ("Subject: Report Domain: shop.example Submitter: isp.example Report-ID: <1>", "application/gzip",
         "isp.example!shop.example!1793000000!1793086400.xml.gz", AuthReportKind.DMARC_AGGREGATE),
        ("Subject: Report Domain: shop.example Submitter: isp.example", "application/octet-stream", "r.zip",
         AuthReportKind.DMARC_AGGREGATE),
        ("Subject: Weekly", "application/zip", "isp.example!shop.example!1793000000!1793086400!7.zip",
         AuthReportKind.DMARC_AGGREGATE),
        ("TLS-Report-Domain: shop.example", "application/tlsrpt+gzip", "r.json.gz", AuthReportKind.TLS_RPT),
        ("Subject: x", "application/gzip", "isp.example!shop.example!1793000000!1793086400!001.json.gz",
         AuthReportKind.TLS_RPT),
    ],
)  # fmt: skip
def test_a_report_in_an_attachment_is_carried(
    header: str, kind: str, name: str, expected: AuthReportKind
) -> None:
    """RFC 7489 §7.2.1.1, RFC 8460 §5.3."""
    octets = b"PK\x03\x04 or so" if "zip" in name and "gz" not in name else b"\x1f\x8b or so"
    body = (
        f'--b\nContent-Type: {kind}\nContent-Disposition: attachment; filename="{name}"\n'
        f"Content-Transfer-Encoding: base64\n\n{base64.b64encode(octets).decode()}\n--b--\n"
    )

    found = reading(
        plain_mail(f"From: r@isp.example\n{header}\nContent-Type: multipart/mixed; boundary=b", body)
    )

    assert isinstance(found, AuthReport)
    assert (found.kind, found.octets, found.media_type, found.filename) == (expected, octets, kind, name)


def test_an_attachment_alone_is_no_report() -> None:
    content = plain_mail(
        "From: bob@here.example\nSubject: photos\nContent-Type: application/zip; name=p.zip", "PK\x03\x04"
    )

    assert isinstance(reading(content), OrdinaryMail)


EVIDENCE = {"content_type": "message/rfc822", "payload": base64.b64encode(crlf(ORIGINAL)).decode()}


def xarf(**values: object) -> bytes:
    report = {
        "xarf_version": "4.0.0", "category": "messaging", "type": "spam", "source_identifier": "192.0.2.1",
        "smtp_to": "ann@there.example", "reporter": {"org": "Isp"},
        "evidence": [EVIDENCE],
    } | values  # fmt: skip
    body = (
        f"--b\n\nAbuse.\n--b\nContent-Type: application/json; name=xarf.json\n\n{json.dumps(report)}\n--b--\n"
    )
    return plain_mail("From: abuse@isp.example\nContent-Type: multipart/mixed; boundary=b", body)


def test_a_complaint_in_xarf_is_read() -> None:
    found = reading(xarf())

    assert isinstance(found, FeedbackReport)
    assert (found.form, found.feedback_type, found.recipients) == ("xarf", "spam", ("ann@there.example",))
    assert (found.source_ip, found.user_agent, found.original.mailer_ref) == ("192.0.2.1", "Isp", REF)


@pytest.mark.parametrize(
    "values",
    [{"evidence": 1}, {"evidence": [EVIDENCE | {"payload": "\ud800"}]}, {"reporter": []}, {"smtp_to": 5},
     {"evidence": [EVIDENCE | {"payload": "!"}]}],
)  # fmt: skip
def test_a_broken_complaint_in_xarf_is_read_as_far_as_it_goes(values: dict[str, object]) -> None:
    assert reading(xarf(**values)).bounce_class == "complaint"


def test_a_report_in_xarf_on_something_else_is_none() -> None:
    assert isinstance(reading(xarf(category="connection")), OrdinaryMail)


def notification(kind: str, **values: object) -> bytes:
    header = "From: no-reply@sns.amazonaws.com\nSubject: AWS Notification Message"
    return plain_mail(
        header, json.dumps({"notificationType": kind, **values}) + "\n\n--\nTo unsubscribe, visit ...\n"
    )


def test_a_notification_of_amazon_is_read() -> None:
    bounced = {
        "emailAddress": "ann@there.example",
        "status": "5.1.1",
        "diagnosticCode": "smtp; 550 5.1.1 user unknown",
    }
    complained = {"complainedRecipients": [{"emailAddress": "ann@there.example"}]}

    bounce = reading(notification("Bounce", bounce={"bouncedRecipients": [bounced]}))
    complaint = reading(notification("Complaint", complaint=complained))
    delivery = reading(
        notification("Delivery", delivery={"recipients": ["ann@there.example"], "smtpResponse": "250 ok"})
    )

    assert isinstance(bounce, DeliveryReport)
    assert isinstance(complaint, FeedbackReport)
    assert isinstance(delivery, DeliveryReport)
    assert bounce.recipients[0].address == complaint.recipients[0] == delivery.recipients[0].address
    assert (bounce.bounce_class, delivery.bounce_class) == ("invalid-mailbox", "delivered")


@pytest.mark.parametrize(
    "text", ["{", '{"notificationType": 1}', '{"notificationType": "Bounce", "bounce": []}', "[" * 9999]
)
def test_a_broken_notification_is_none(text: str) -> None:
    assert reading(plain_mail("From: a@b.example", text)).bounce_class in {"not-a-bounce", "undetermined"}
