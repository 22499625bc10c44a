"""Parsers of reports: what vendors deviate in, what is refused, and that nothing raises or takes long."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.report.formats import Unparsable, dmarc, dmarc_failure, tlsrpt, unpack, xarf
from mailer.report.formats.dmarc import AggregateReport
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsReport
from mailer.report.formats.xarf import AbuseReport

RECORD = (
    "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
    "<disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>"
    "<identifiers><header_from>{header_from}</header_from></identifiers><auth_results/></record>"
)
SECONDS = 2.0
PARSERS: list[Callable[[bytes], object]] = [dmarc.parse, dmarc_failure.parse, tlsrpt.parse, xarf.parse]


def record(**said: object) -> str:
    usual: dict[str, object] = {
        "ip": "192.0.2.1", "count": 2, "disposition": "none", "dkim": "pass", "spf": "fail",
        "header_from": "acme.example",
    }  # fmt: skip
    return RECORD.format(**(usual | said))


def aggregate(*records: str, head: str = '<?xml version="1.0"?>', root: str = "feedback") -> bytes:
    return (
        f"{head}<{root}><report_metadata><org_name>Receiver &amp; Sons</org_name><email>d@r.example</email>"
        "<report_id>r-1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range>"
        "</report_metadata><policy_published><domain>Acme.example.</domain><p>reject</p></policy_published>"
        f"{''.join(records)}</{root.split(maxsplit=1)[0]}>"
    ).encode()


def parsed(content: bytes) -> AggregateReport:
    report = dmarc.parse(content)
    assert isinstance(report, AggregateReport), report
    return report


def why(content: bytes) -> str:
    report = dmarc.parse(content)
    assert isinstance(report, Unparsable)
    return report.why


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


# ---- DMARC aggregate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lambda content: zipped(("folder/", b""), ("r.xml", content)),
        lambda content: zipped(("r.xml", content), method=zipfile.ZIP_STORED),
        lambda content: gzip.compress(gzip.compress(content)),
        lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
        lambda content: zipped(("r.xml.gz", gzip.compress(content))),
        lambda content: gzip.compress(content) + b"\0\0",
    ],
)
def test_the_octets_say_how_it_is_packed(pack: Callable[[bytes], bytes]) -> None:
    report = parsed(pack(aggregate(record())))

    assert (report.organization, report.policy.domain, report.messages) == (
        "Receiver & Sons", "acme.example", 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    "root",
    [
        "feedback", 'feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"',
        'd:feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0"',
    ],
)  # fmt: skip
def test_namespaces_do_not_matter(root: str) -> None:
    assert parsed(aggregate(record(), root=root)).messages == 2


def test_words_are_read_in_any_case_and_unknown_ones_are_none() -> None:
    report = parsed(
        aggregate(record(dkim="Pass", disposition="None"), record(spf=" PASS ", dkim="temperror"))
    )

    assert [r.is_aligned for r in report.records] == [True, True]
    assert [r.disposition for r in report.records] == ["none", "none"]


def test_a_record_that_cannot_be_read_is_left_out_and_counted() -> None:
    report = parsed(aggregate(record(count="many"), record(count=-1), record(ip="unknown"), record()))

    assert (report.unreadable, [r.source_ip for r in report.records]) == (2, [None, "192.0.2.1"])


def test_addresses_have_one_form() -> None:
    report = parsed(aggregate(record(ip="2001:DB8:0::1"), record(ip="::ffff:192.0.2.7")))

    assert [r.source_ip for r in report.records] == ["2001:db8::1", "192.0.2.7"]


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        (b"Receiver &amp; Sons", b"Receiver & Sons"),
        (b"Receiver &amp; Sons", b"Receiver &nbsp; Sons"),
        (b"Receiver &amp; Sons", b"M\xfcller"),
        (b"Receiver &amp; Sons", b"bell \x07"),
        (b'<?xml version="1.0"?>', b'\r\n<?xml version="1.0"?>'),
        (b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="utf-9"?>'),
        (b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="windows-1252"?>'),
    ],
)
def test_octets_that_many_send_are_mended(broken: bytes, whole: bytes) -> None:
    assert parsed(aggregate(record()).replace(broken, whole)).messages == 2


def test_utf_16_is_read() -> None:
    assert parsed(aggregate(record()).decode().encode("utf-16")).messages == 2


def test_what_follows_the_report_does_not_matter() -> None:
    assert parsed(b"<schema>" + aggregate(record(), head="") + b"</oops> & <").messages == 2


BOMBS = {
    "doctype": aggregate(record(), head='<!DOCTYPE feedback SYSTEM "http://192.0.2.1/x.dtd">'),
    "external entity": aggregate(
        record(ip="&x;"), head='<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    ),
    "billion laughs": aggregate(
        record(ip="&c;"),
        head='<!DOCTYPE f [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
    ),
    "parameter entity": aggregate(head='<!DOCTYPE f [<!ENTITY % x SYSTEM "http://192.0.2.1/"> %x;]>'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_type_is_refused(name: str) -> None:
    assert "document type" in why(BOMBS[name])


HUGE = {
    "gzip bomb": gzip.compress(b"\0" * (50 << 20)),
    "gzip of gzip bomb": gzip.compress(gzip.compress(b"\0" * (50 << 20))),
    "zip bomb": zipped(("r.xml", b" " * (50 << 20))),
    "50 MB of XML": aggregate(record()) + b" " * (50 << 20),
    "many elements": b"<feedback>" + b"<a/>" * 3_000_000,
    "many in one": b"<feedback><record>" + b"<a/>" * 3_000_000,
    "deep": b"<feedback>" + b"<a>" * 3_000_000,
    "one long text": b"<feedback><a>" + b"x" * (9 << 20),
    "one long name": b"<feedback><" + b"x" * (9 << 20),
    "text in pieces": b"<feedback><a>" + b"x&amp;" * 2_500_000,
    "attributes": b"<feedback><a " + b"".join(b'a%d="" ' % n for n in range(900_000)) + b"/>",
    "stray ampersands": b"<feedback><a>" + b"&" * (9 << 20),
    "open comment": b"<feedback><!--" + b"-" * (9 << 20),
    "many zip members": zipped(*((f"{n}.xml", b"") for n in range(1000))),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_huge_is_refused_soon(name: str) -> None:
    begun = time.process_time()

    report = dmarc.parse(HUGE[name])

    assert isinstance(report, Unparsable)
    assert time.process_time() - begun < SECONDS


def test_the_largest_report_is_read_in_time() -> None:
    content = aggregate(*[record() for _ in range(20_000)])
    begun = time.process_time()

    report = parsed(content)

    assert time.process_time() - begun < SECONDS
    assert report.messages == 40_000


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK\x03\x04", b"\x1f\x8b", gzip.compress(aggregate(record()))[:-40],
        zipped(("r.xml", aggregate(record())))[:-10], b"PK\x05\x06" + b"\0" * 18,
        zipped(("r.xml", aggregate(record())), method=zipfile.ZIP_BZIP2),
        b"<feedback/>", aggregate(record())[:-30], aggregate().replace(b"1700000000", b"soon"),
        aggregate().replace(b"r-1", b""), b"\x1f\x8b" + zlib.compress(b"x"), b"<html><body/></html>",
    ],
)  # fmt: skip
def test_what_is_no_report_is_unparsable(content: bytes) -> None:
    assert why(content)


def test_an_encrypted_zip_is_refused() -> None:
    content = bytearray(zipped(("r.xml", aggregate(record()))))
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1

    assert "encrypted" in why(bytes(content))


# ---- TLS reports -------------------------------------------------------------------------------------------


def tls(**said: Any) -> dict[str, Any]:
    usual = {
        "organization-name": "Sender", "contact-info": "tls@sender.example", "report-id": "<t-1>",
        "date-range": {"start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z"},
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "Acme.example"},
                "summary": {"total-successful-session-count": 3, "total-failure-session-count": 1},
            }
        ],
    }  # fmt: skip
    return usual | said


def tls_parsed(document: dict[str, Any]) -> TlsReport:
    report = tlsrpt.parse(gzip.compress(json.dumps(document).encode()))
    assert isinstance(report, TlsReport), report
    return report


def test_a_tls_report() -> None:
    report = tls_parsed(tls())

    [policy] = report.policies
    assert (report.report_id, policy.domain, policy.type, policy.successful, policy.failed) == (
        "t-1", "acme.example", "sts", 3, 1,
    )  # fmt: skip


def test_what_vendors_write_otherwise() -> None:
    policy = {
        "policy": {
            "policy-type": "STS", "policy-domain": "acme.example", "policy-string": "version: STSv1",
            "mx-host": "mx.acme.example",
        },
        "summary": {"total-successful-session-count": "7", "total-failure-session-count": None},
        "failure-details": {"result-type": "starttls_not_supported", "failed-session-count": 2.0},
    }  # fmt: skip
    dates = {"start-datetime": "2026-11-20 00:00:00", "end-datetime": "2026-11-20T23:59:59+02:00"}

    [found] = tls_parsed(tls(policies=policy, **{"date-range": dates})).policies

    assert (found.type, found.lines, found.hosts, found.successful, found.failed) == (
        "sts", ("version: STSv1",), ("mx.acme.example",), 7, 0,
    )  # fmt: skip
    assert [(f.result, f.sessions) for f in found.failures] == [("starttls-not-supported", 2)]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"nan", b'{"report-id": "x"}', b"[" * 1_000_000, b"{" + b'"a":{' * 100_000,
        json.dumps(tls(policies=[])).encode(), json.dumps(tls(policies=[1, None, {"policy": []}])).encode(),
        json.dumps(tls(**{"report-id": 7})).encode(), json.dumps(tls(**{"date-range": []})).encode(),
        b'{"a":[' + b"1," * 3_000_000 + b"1]}", gzip.compress(b" " * (50 << 20)), b'"\xff"',
        b'{"a": ' + b"9" * 1_000_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_tls_report_is_unparsable_soon(content: bytes) -> None:
    begun = time.process_time()

    assert isinstance(tlsrpt.parse(content), Unparsable)
    assert time.process_time() - begun < SECONDS


# ---- DMARC failure -----------------------------------------------------------------------------------------

FIELDS = (
    b"Feedback-Type: auth-failure\r\nUser-Agent: Fail/1\r\nVersion: 1\r\nOriginal-Mail-From:\r\n"
    b" <news@acme.example>\r\nSource-IP: 192.0.2.9\r\nAuth-Failure: dmarc, DKIM\r\n"
    b"Arrival-Date: Fri, 20 Nov 2026 10:00:00 +0100\r\nReported-Domain: ACME.example\r\n"
    b"DKIM-Domain: acme.example\r\nDelivery-Result: reject\r\n"
)


def test_the_fields_of_a_failure_report() -> None:
    report = dmarc_failure.parse(FIELDS, "message/feedback-report; name=x")

    assert isinstance(report, FailureReport)
    assert (report.domain, report.failures, report.source_ip, report.mail_from, report.delivery) == (
        "acme.example", ("dmarc", "dkim"), "192.0.2.9", "news@acme.example", "reject",
    )  # fmt: skip


def test_a_failure_report_in_its_mail_names_the_message() -> None:
    mail = (
        b"Content-Type: multipart/report; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n"
        b"Content-Type: message/feedback-report\r\n\r\n" + FIELDS + b"\r\n--b\r\n"
        b"Content-Type: text/rfc822-headers\r\n\r\n"
        b"Message-ID: <1@acme.example>\r\nSubject: hi\r\n\r\n--b--\r\n"
    )

    report = dmarc_failure.parse(mail)

    assert isinstance(report, FailureReport)
    assert (report.message_id, report.subject) == ("<1@acme.example>", "hi")


def test_a_failure_report_in_base64_is_read_all_the_same() -> None:
    mail = (
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Type: message/feedback-report\r\n\r\n"
        + base64.encodebytes(FIELDS)
        + b"\r\n--b--\r\n"
    )

    report = dmarc_failure.parse(mail, "message/feedback-report")

    assert isinstance(report, FailureReport)
    assert report.source_ip == "192.0.2.9"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"hello", FIELDS.replace(b"auth-failure", b"abuse"),
        FIELDS.replace(b"Reported-Domain: ACME.example\r\n", b""),
        b"\nContent-Type: message/rfc822\n\n" * 30_000,
        b"Feedback-Type: auth-failure\n" + b"a" * 5_000_000, b"Feedback-Type\n" * 500_000,
    ],
)  # fmt: skip
def test_what_is_no_failure_report_is_unparsable(content: bytes) -> None:
    assert isinstance(dmarc_failure.parse(content, "message/feedback-report"), Unparsable)
    assert isinstance(dmarc_failure.parse(content * 3), Unparsable)


# ---- XARF --------------------------------------------------------------------------------------------------

XARF: dict[str, Any] = {
    "xarf_version": "4.0.0", "report_id": "A1B2C3D4-e5f6-4890-abcd-ef1234567890",
    "timestamp": "2026-11-20T10:59:45Z",
    "reporter": {"org": "Spam Watch", "contact": "reports@watch.example", "domain": "watch.example"},
    "sender": {"org": "Spam Watch", "contact": "reports@watch.example", "domain": "watch.example"},
    "source_identifier": "192.0.2.100", "category": "messaging", "type": "spam",
    "evidence_source": "spamtrap", "protocol": "smtp", "smtp_from": "news@acme.example",
    "evidence": [{"content_type": "message/rfc822", "payload": "U3ViamVjdDogaGkNCg0KaGkNCg=="}],
}  # fmt: skip


def test_a_xarf_report() -> None:
    report = xarf.parse(json.dumps(XARF).encode())

    assert isinstance(report, AbuseReport)
    assert (report.source_ip, report.type, report.reporter_domain, report.is_on_mail) == (
        "192.0.2.100", "spam", "watch.example", True,
    )  # fmt: skip
    assert report.mail == b"Subject: hi\r\n\r\nhi\r\n"


def test_early_xarf_says_class() -> None:
    document = {k: v for k, v in XARF.items() if k not in ("category", "sender")} | {"class": "messaging"}

    assert isinstance(xarf.parse(json.dumps(document).encode()), AbuseReport)


@pytest.mark.parametrize(
    "change",
    [
        {"xarf_version": "3"}, {"timestamp": "now"}, {"category": "weather"}, {"source_identifier": None},
        {"report_id": ["x"]},
    ],
)  # fmt: skip
def test_what_is_no_xarf_report_is_unparsable(change: dict[str, Any]) -> None:
    assert isinstance(xarf.parse(json.dumps(XARF | change).encode()), Unparsable)


def test_evidence_that_cannot_be_decoded_is_left_out() -> None:
    evidence = [{"content_type": "message/rfc822", "payload": "A"}, "x", {"content_type": 7}]

    report = xarf.parse(json.dumps(XARF | {"evidence": evidence}).encode())

    assert isinstance(report, AbuseReport) and report.mail == b""


# ---- anything ----------------------------------------------------------------------------------------------

SEEDS = [
    aggregate(record(), record(ip="2001:db8::1")), gzip.compress(aggregate(record())),
    zipped(("r.xml", aggregate(record()))), json.dumps(tls()).encode(), json.dumps(XARF).encode(), FIELDS,
]  # fmt: skip


@given(
    seed=st.sampled_from(SEEDS),
    cut=st.integers(0, 3000),
    at=st.integers(0, 3000),
    octets=st.binary(max_size=40),
)
def test_nothing_raises(seed: bytes, cut: int, at: int, octets: bytes) -> None:
    content = (seed[:at] + octets + seed[at + len(octets) :])[: max(1, len(seed) - cut % len(seed))]

    for parse in PARSERS:
        parse(content)
    assert isinstance(unpack.unpacked(content), bytes | Unparsable)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(key=st.sampled_from(sorted({*tls(), *XARF})), value=_JSON)
def test_no_member_of_another_type_raises(key: str, value: Any) -> None:
    tlsrpt.parse(json.dumps(tls(**{key: value})).encode())
    xarf.parse(json.dumps(XARF | {key: value}).encode())
