"""The parsers of reports that programs send."""

from __future__ import annotations

import gzip
import json

from mailer.policy.tls_report_record import wanted_by
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


def _record(content: bytes) -> None:
    wanted_by(["v=TLSRPTv1;" + content.decode("latin-1")])


FORMAT_TARGETS = (
    Target("dmarc", dmarc.parse, (_XML, *_PACKED), _XML_WORDS),
    Target("unpacking", unpack.unpacked, _PACKED, _PACKED_WORDS),
    Target("dmarc-failure", dmarc_failure.parse, (FIELDS,), _FIELD_WORDS),
    Target("tlsrpt", tlsrpt.parse, (_JSON, *_PACKED), _JSON_WORDS),
    Target("xarf", xarf.parse, (json.dumps(XARF).encode(),), _JSON_WORDS),
    Target("tls-record", _record, (b" rua=mailto:a@b.example,https://c.example/",), _RECORD_WORDS),
)  # fmt: skip
