"""DMARC failure reports (RFC 6591): one message that failed, in the fields of message/feedback-report.

What is read is that part, and of the message or header that is enclosed after it the few fields that name the
message. Where the whole mail is given, the part is looked for in it.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mailer.report.formats import values
from mailer.report.formats.values import Unparsable

_REACH = 1024 * 1024  # where the fields are looked for; what follows is the message
_FIELDS_OCTETS = 64 * 1024
_MOST_FIELDS = 500
_MOST_PARTS = 20
_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)  # RFC 5322 §2.2
_PART = re.compile(
    rb"^content-type[ \t]*:[ \t]*(message/feedback-report|message/rfc822|message/global|"
    rb"text/rfc822-headers|message/global-headers)",
    re.IGNORECASE | re.MULTILINE,
)
_REPORT = b"message/feedback-report"
_IN_BASE64 = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t]*base64", re.IGNORECASE | re.MULTILINE)
_KIND = "auth_failure"
_RESULT = re.compile(r"header\.from\s*=\s*([^\s;]{1,255})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """Empty or None: not said.

    domain          that stands in From
    failures        what failed: dmarc, dkim, spf, adsp, bodyhash, revoked, signature
    mail_from       reverse-path of the message; empty also for the null one
    delivery        delivered | spam | policy | reject | other, or the vendor's own word (RFC 6591 §3.2.2)
    incidents       messages that it stands for (RFC 5965 §3.2)
    message_id, subject, header_from   of the enclosed message
    """

    domain: str
    failures: tuple[str, ...]
    source_ip: str | None
    mail_from: str
    recipient: str
    arrived_at: datetime | None
    delivery: str
    aligned: str
    dkim_domain: str
    dkim_selector: str
    results: str
    reporter: str
    agent: str
    envid: str
    incidents: int
    message_id: str
    subject: str
    header_from: str


def parse(content: bytes, media_type: str | None = None) -> FailureReport | Unparsable:
    """content: the fields alone, or the whole mail. media_type: not needed. Never raises."""
    report, enclosed = _divided(content[:_REACH])
    if report is None:
        return Unparsable("it has no message/feedback-report part")
    said = _fields(report)
    if values.word(said.get("feedback-type")) != _KIND:
        return Unparsable("its feedback type is not auth-failure")
    original = _fields(enclosed)
    results = values.line(said.get("authentication-results"), 1000)
    header_from = values.line(original.get("from"), 320)
    domain = _domain(said, results, header_from)
    if not domain:
        return Unparsable("it names no domain")
    return FailureReport(
        domain=domain,
        failures=_failures(said.get("auth-failure", "")),
        source_ip=values.address(said.get("source-ip")),
        mail_from=_path(said.get("original-mail-from")),
        recipient=_path(said.get("original-rcpt-to")),
        arrived_at=values.rfc5322(said.get("arrival-date") or said.get("received-date")),
        delivery=values.word(said.get("delivery-result")).replace("_", "-"),
        aligned=values.line(said.get("identity-alignment"), 40).lower(),
        dkim_domain=values.domain(said.get("dkim-domain")),
        dkim_selector=values.line(said.get("dkim-selector"), values.NAME_CHARS),
        results=results,
        reporter=values.domain(said.get("reporting-mta", "").rpartition(";")[2]),
        agent=values.line(said.get("user-agent"), 200),
        envid=values.line(said.get("original-envelope-id"), 200),
        incidents=values.count(said.get("incidents", ""), 10**9) or 1,
        message_id=values.line(original.get("message-id") or said.get("message-id"), values.NAME_CHARS),
        subject=values.line(original.get("subject"), 200),
        header_from=header_from,
    )


def _domain(said: Mapping[str, str], results: str, header_from: str) -> str:
    """The reported one; else what the receiver saw in From."""
    found = values.domain(said.get("reported-domain"))
    if not found and (by_result := _RESULT.search(results)):
        found = values.domain(by_result[1])
    return found or values.domain(header_from.rpartition("@")[2].strip("> "))


def _failures(text: str) -> tuple[str, ...]:
    words = (values.word(part) for part in values.line(text, 200).split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _path(text: str | None) -> str:
    return values.line(text, 320).strip("<> ")


def _divided(content: bytes) -> tuple[bytes | None, bytes]:
    """The fields of the report, and the header of the enclosed message."""
    content = content.replace(b"\r\n", b"\n")
    if "feedback-type" in _fields(content[:_FIELDS_OCTETS]):
        return content[:_FIELDS_OCTETS], b""
    report: bytes | None = None
    for found in itertools.islice(_PART.finditer(content), _MOST_PARTS):
        begin = content.find(b"\n\n", found.end())
        if begin < 0:
            break
        piece = content[begin + 2 : begin + 2 + _FIELDS_OCTETS].lstrip(b"\n").partition(b"\n--")[0]
        head = content[content.rfind(b"\n--", 0, found.start()) + 1 : begin]
        piece = _decoded(piece) if _IN_BASE64.search(head) else piece
        if report is not None and found[1].lower() != _REPORT:
            return report, piece
        if report is None and found[1].lower() == _REPORT:
            report = piece
    return report, b""


def _decoded(piece: bytes) -> bytes:
    """RFC 5965 §2 wants it in 7 bits, and some encode it all the same. What is cut off may be missing."""
    octets = b"".join(piece.split())
    try:
        return base64.b64decode(octets[: len(octets) // 4 * 4]).replace(b"\r\n", b"\n")
    except binascii.Error:
        return piece


def _fields(block: bytes) -> dict[str, str]:
    """By name in lower case, unfolded, the first of each; up to the first empty line or what is no field."""
    text = block.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    lines: list[list[str]] = []
    for line in text.split("\n")[:_MOST_FIELDS]:
        if line[:1] in (" ", "\t") and lines:
            lines[-1].append(line)
        else:
            lines.append([line])
    found: dict[str, str] = {}
    for pieces in lines:
        matched = _FIELD.fullmatch(" ".join(pieces))
        if matched is not None:
            found.setdefault(matched[1].lower(), matched[2].strip())
    return found
