"""The parsers of reports that programs send, and of what domains publish about TLS."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress

from mailer.policy.tls_report_record import wanted_by
from mailer.policy.tls_sts import LONGEST_AGE, StsError, StsMode, parse_policy, record_id
from mailer.report.formats import dmarc, dmarc_failure, tlsrpt, unpack, xarf
from tests.fuzz.harness import Target
from tests.report.test_formats import FIELDS, XARF, aggregate, record, tls, zipped

_XML = aggregate(record(), record(ip="2001:db8::1", dkim="Pass"))
_JSON = json.dumps(tls()).encode()
_XML_WORDS = (
    b"<", b">", b"</", b"/>", b"<record>", b"</record>", b"<row>", b"<count>", b"1", b"<feedback>",
    b"</feedback>", b"&", b"&amp;", b"&#0;", b"&x;", b"<!DOCTYPE f [<!ENTITY x 'y'>]>", b"<![CDATA[", b"]]>",
    b"<!--", b"-->", b"<?xml version='1.0' encoding='utf-16'?>", b"<?x ?>", b" xmlns='u'", b"a:", b"\xff",
    b"\xfe\xff", b"\0", b"=", b'"',
)  # fmt: skip
_JSON_WORDS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"null", b"1e999", b"-1",
    b"99999999999999999999",
    b'"policies":', b'"policy":', b'"report-id":', b'"evidence":', b"\xff", b"\xef\xbb\xbf",
)  # fmt: skip
_PACKED = (gzip.compress(_XML), zipped(("r.xml", _XML)), gzip.compress(_JSON))
_PACKED_WORDS = (
    b"\x1f\x8b", b"\x1f\x8b\x08\0", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\0\0", b"\xff\xff",
    b"\x08\0",
)  # fmt: skip
_FIELD_WORDS = (
    b"Feedback-Type: auth-failure\r\n", b"Content-Type: message/feedback-report\r\n\r\n", b"\r\n", b"\n",
    b": ",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n", b"--b\r\n", b"\n--",
    b"Reported-Domain: ", b"Arrival-Date: ", b"Source-IP: ", b"[", b"\xff", b"\0", b" ", b"99 Feb 0000",
)  # fmt: skip
_RECORD_WORDS = (b"rua=", b";", b",", b"=", b"%", b"mailto:", b"https://", b"[", b"?")
_POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.a.example\r\nmx: *.b.example\r\nmax_age: 604800\r\n"
_STS_WORDS = (
    b"v=STSv1;", b"id=", b";", b"=", b" ", b"\t", b"version:", b"STSv1", b"mode:", b"testing", b"none",
    b"mx:", b"*.", b".", b"max_age:", b"9", b"31557600", b"\r", b"\n", b"\r\n", b":", b"\0", b"\xe9",
)  # fmt: skip


def _record(content: bytes) -> None:
    wanted_by(["v=TLSRPTv1;" + content.decode("latin-1")])


def _sts_record(content: bytes) -> None:
    record_id([content.decode("latin-1")])


def _sts_policy(content: bytes) -> None:
    with suppress(StsError):
        policy = parse_policy(content.decode("latin-1"))
        assert policy.mx or policy.mode is StsMode.NONE
        assert 0 <= policy.max_age <= LONGEST_AGE
        # What is kept and told in reports reads as the same.
        again = parse_policy("\n".join(policy.lines))
        assert (again.mode, again.mx, again.max_age) == (policy.mode, policy.mx, policy.max_age)


FORMAT_TARGETS = (
    Target("dmarc", dmarc.parse, (_XML, *_PACKED), _XML_WORDS),
    Target("unpacking", unpack.unpacked, _PACKED, _PACKED_WORDS),
    Target("dmarc-failure", dmarc_failure.parse, (FIELDS,), _FIELD_WORDS),
    Target("tlsrpt", tlsrpt.parse, (_JSON, *_PACKED), _JSON_WORDS),
    Target("xarf", xarf.parse, (json.dumps(XARF).encode(),), _JSON_WORDS),
    Target("tls-record", _record, (b" rua=mailto:a@b.example,https://c.example/",), _RECORD_WORDS),
    Target("sts-record", _sts_record, (b"v=STSv1; id=20160831085700Z;",), _STS_WORDS),
    Target("sts-policy", _sts_policy, (_POLICY, _POLICY.replace(b"\r\n", b"\n")), _STS_WORDS),
)  # fmt: skip
