"""TLS reports of ours: the JSON is that of RFC 8460 §4.4, the mail that of §5.3."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
from datetime import UTC, date, datetime
from email.message import EmailMessage

from mailer.compose import tlsreport
from mailer.compose.address import Mailbox
from mailer.compose.tlsreport import Policy, Reporting, Sessions

REPORTING = Reporting(
    submitter="op.example", organization="Op Ltd.", contact="postmaster@op.example", domain="example.net",
    day=date(2026, 11, 20),
)  # fmt: skip
STS = Policy(type="sts", domain="example.net", lines=("version: STSv1", "mode: enforce", "mx: *.example.net"))
NONE = Policy(type="no-policy-found", domain="example.net", lines=())


def sessions(policy: Policy, result: str, number: int, **more: str) -> Sessions:
    said = {"host": "mx.example.net", "address": "192.0.2.1", "sending_ip": "", "reason": ""} | more
    return Sessions(policy=policy, result=result, sessions=number, **said)


FOUND = [
    sessions(STS, "success", 7),
    sessions(STS, "success", 1, host="mx2.example.net"),
    sessions(STS, "certificate-expired", 2, sending_ip="198.51.100.1", reason="it expired"),
    sessions(STS, "starttls-not-supported", 3),
    sessions(NONE, "success", 5),
]


def test_the_document() -> None:
    told = tlsreport.document(REPORTING, FOUND)

    none, sts = told["policies"]
    assert told["report-id"] == "2026-11-20.example.net@op.example"
    assert told["date-range"] == {
        "start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z",
    }  # fmt: skip
    assert none == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "example.net"},
        "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0},
    }
    assert sts["policy"] == {
        "policy-type": "sts", "policy-domain": "example.net", "policy-string": list(STS.lines),
        "mx-host": ["*.example.net"],
    }  # fmt: skip
    assert sts["summary"] == {"total-successful-session-count": 8, "total-failure-session-count": 5}
    assert sts["failure-details"] == [
        {
            "result-type": "starttls-not-supported", "receiving-mx-hostname": "mx.example.net",
            "receiving-ip": "192.0.2.1", "failed-session-count": 3,
        },
        {
            "result-type": "certificate-expired", "sending-mta-ip": "198.51.100.1",
            "receiving-mx-hostname": "mx.example.net", "receiving-ip": "192.0.2.1",
            "failed-session-count": 2, "failure-reason-code": "it expired",
        },
    ]  # fmt: skip


def test_the_mail() -> None:
    content = tlsreport.packed(tlsreport.document(REPORTING, FOUND))

    made = tlsreport.mail(
        REPORTING, content, to=[Mailbox("", "tls", "example.net"), Mailbox("", "tls", "watch.example")],
        message_id="<1@op.example>", sent_at=datetime(2026, 11, 21, 1, tzinfo=UTC), boundary="=_1",
    )  # fmt: skip

    whole = email.message_from_bytes(made.headers + b"\r\n" + made.body, policy=email.policy.default)
    assert isinstance(whole, EmailMessage) and not whole.defects
    words, report = whole.iter_parts()
    assert whole.get_content_type() == "multipart/report"
    assert whole["Content-Type"].params["report-type"] == "tlsrpt"
    assert (whole["TLS-Report-Domain"], whole["TLS-Report-Submitter"]) == ("example.net", "op.example")
    assert whole["Subject"] == (
        "Report Domain: example.net Submitter: op.example Report-ID: <2026-11-20.example.net@op.example>"
    )
    assert (whole["TLS-Required"], whole["From"]) == ("No", "tls-reports@op.example")
    assert words.get_content_type() == "text/plain"
    assert report.get_content_type() == "application/tlsrpt+gzip"
    assert report.get_filename() == "op.example!example.net!1795132800!1795219199.json.gz"
    assert json.loads(gzip.decompress(report.get_content())) == tlsreport.document(REPORTING, FOUND)
    assert max(map(len, (made.headers + made.body).split(b"\r\n"))) <= 998


def test_the_same_report_has_the_same_octets() -> None:
    first, second = (tlsreport.packed(tlsreport.document(REPORTING, FOUND)) for _ in range(2))

    assert first == second


def test_of_very_many_failures_the_largest_are_told() -> None:
    many = [sessions(STS, "validation-failure", n + 1, reason=str(n)) for n in range(2_000)]

    [policy] = tlsreport.document(REPORTING, many)["policies"]

    assert len(policy["failure-details"]) == 1_000
    assert policy["failure-details"][0]["failed-session-count"] == 2_000
    assert policy["summary"]["total-failure-session-count"] == sum(range(1, 2_001))
