"""Reports on DMARC and on TLS: which mails are some, and what they carry. What is in it others read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.report.reading.decoding import plain
from mailer.report.reading.fields import MediaType, parameters_of
from mailer.report.reading.kinds import AuthReport, AuthReportKind, Original
from mailer.report.reading.mime import Part

ATTACHMENT_OCTETS = 64 * 1024 * 1024

# RFC 7489 §7.2.1.1: receiver "!" policy-domain "!" begin "!" end [ "!" unique-id ] "." extension.
_DMARC_NAME = re.compile(
    r"[^!/\\\s]{1,255}![^!/\\\s]{1,255}!\d{6,12}!\d{6,12}(?:![^/\\\s]{0,200})?\.(?:xml|zip|xml\.gz|gz|xml\.zip)",
    re.IGNORECASE,
)
_DMARC_SUBJECT = re.compile(
    r"report domain:|\bdmarc\b.{0,40}\b(?:aggregate )?report|report-id:\s*\S+", re.IGNORECASE
)
# RFC 8460 §5.1: policy-domain and the rest alike, its own media types in §6.5 and §6.6.
_TLS_NAME = re.compile(
    r"[^!/\\\s]{1,255}![^!/\\\s]{1,255}!\d{6,12}!\d{6,12}(?:![^/\\\s]{0,200})?\.json(?:\.gz)?", re.IGNORECASE
)
_TLS_TYPES = frozenset({"application/tlsrpt+json", "application/tlsrpt+gzip"})
_PACKED = frozenset(
    {
        "application/zip",
        "application/gzip",
        "application/x-gzip",
        "application/x-zip-compressed",
        "application/xml",
        "text/xml",
        "application/octet-stream",
        "application/x-zip",
        "application/gzip-compressed",
        "application/gzipped",
    }
)
_LOOKS_OCTETS = 4096
_SMALL_MAGIC = (b"PK\x03\x04", b"\x1f\x8b")


def auth_report_from(root: Part, original: Original) -> AuthReport | None:
    """None: it carries no such report."""
    subject = root.fields.text("subject")
    is_tls = (
        root.type.parameters.get("report-type", "").lower() == "tlsrpt" or "tls-report-domain" in root.fields
    )
    for part, name in _leaves(root):
        kind = _kind(part, name, subject, is_tls=is_tls)
        if kind is not None:
            return AuthReport(
                kind=kind,
                octets=part.octets(ATTACHMENT_OCTETS),
                media_type=part.type.essence or None,
                filename=name or None,
                original=original,
            )
    return None


def _leaves(root: Part) -> Iterator[tuple[Part, str]]:
    for part in root.walk():
        if not part.is_nested and not part.children:
            yield part, filename_of(part)


def filename_of(part: Part) -> str:
    """As Content-Disposition or Content-Type say; "" for none (RFC 2183 §2.3)."""
    disposition = parameters_of(";" + part.fields.raw("content-disposition").partition(";")[2])
    return plain(disposition.get("filename", "") or part.type.parameters.get("name", ""))[:255].strip()


def _kind(part: Part, name: str, subject: str, *, is_tls: bool) -> AuthReportKind | None:
    if part.type.essence in _TLS_TYPES or _TLS_NAME.fullmatch(name):
        return AuthReportKind.TLS_RPT
    if _DMARC_NAME.fullmatch(name):
        return AuthReportKind.DMARC_AGGREGATE
    if not _is_packed(part.type, name):
        return None
    beginning = part.octets(_LOOKS_OCTETS)
    if is_tls and (beginning.startswith(_SMALL_MAGIC) or beginning.lstrip().startswith(b"{")):
        return AuthReportKind.TLS_RPT
    is_report = b"<feedback" in beginning and b"report_metadata" in beginning
    if is_report or (_DMARC_SUBJECT.search(subject) and beginning.startswith(_SMALL_MAGIC)):
        return AuthReportKind.DMARC_AGGREGATE
    return None


def _is_packed(kind: MediaType, name: str) -> bool:
    return kind.essence in _PACKED or name.lower().endswith((".xml", ".gz", ".zip", ".json"))
