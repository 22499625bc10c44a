"""Reports of the world are read as another parser reads them, and soon."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mailer.report.formats import Unparsable, dmarc, dmarc_failure, tlsrpt
from mailer.report.formats.dmarc import AggregateReport, Record
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsReport
from tests.report import corpora

SECONDS = 2.0
EXPECTED = corpora.expected()
pytestmark = pytest.mark.skipif(not EXPECTED, reason="no corpora at hand")


def told(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def aggregate_told(report: AggregateReport | Unparsable) -> dict[str, Any]:
    """In the words of the expectations. The other parser writes names that look like domains as domains."""
    if isinstance(report, Unparsable):
        return {"type": "rejected"}
    return {
        "type": "aggregate",
        "org_name": report.organization.lower(),
        "report_id": report.report_id,
        "begin": told(report.begins_at),
        "end": told(report.ends_at),
        "domain": report.policy.domain,
        "p": report.policy.p,
        "records": len(report.records) + report.unreadable,
        "messages": report.messages,
        "aligned_messages": sum(r.messages for r in report.records if r.is_aligned),
        "source_ips": sorted({r.source_ip for r in report.records if r.source_ip is not None}),
    }


def expected_of(path: Path) -> dict[str, Any]:
    known = dict(EXPECTED[corpora.name_of(path)])
    known.pop("error", None)
    for key in ("org_name", "org"):
        if key in known:
            known[key] = known[key].lower()
    if "source_ips" in known:
        known["source_ips"] = sorted(known["source_ips"])
    return known


@pytest.mark.parametrize(
    "path", [p for p in corpora.files("dmarc-aggregate") if p.suffix != ".json"], ids=corpora.name_of
)
def test_aggregate_reports(path: Path) -> None:
    content = corpora.report_in(path, "zip", "gzip", ".gz", ".xml", "xml")
    begun = time.process_time()

    report = dmarc.parse(content)

    assert time.process_time() - begun < SECONDS
    assert aggregate_told(report) == expected_of(path)


@pytest.mark.parametrize("path", corpora.files("dmarc-failure"), ids=corpora.name_of)
def test_failure_reports(path: Path) -> None:
    report = dmarc_failure.parse(path.read_bytes())

    assert isinstance(report, FailureReport)
    assert report.arrived_at is not None
    assert {
        "type": "failure",
        "feedback_type": "auth-failure",
        "reported_domain": report.domain,
        "source_ip": report.source_ip,
        "original_mail_from": report.mail_from or None,
        "original_rcpt_to": report.recipient,
        "auth_failure": list(report.failures),
        "arrival": told(report.arrived_at),
    } == expected_of(path)


def tls_told(report: TlsReport) -> dict[str, Any]:
    return {
        "type": "smtp_tls",
        "org": report.organization.lower(),
        "report_id": report.report_id,
        "begin": report.begins_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "end": report.ends_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "policies": [
            {"domain": p.domain, "type": p.type, "ok": p.successful, "failed": p.failed,
             "failures": len(p.failures)}
            for p in report.policies
        ],
    }  # fmt: skip


@pytest.mark.parametrize("path", corpora.files("tlsrpt"), ids=corpora.name_of)
def test_tls_reports(path: Path) -> None:
    report = tlsrpt.parse(corpora.report_in(path, "tlsrpt"))

    assert isinstance(report, TlsReport)
    beside = path.with_suffix(".json")
    if (
        beside.exists() and beside != path
    ):  # as its own tests have it; the other parser refuses its media type
        assert report == tlsrpt.parse(beside.read_bytes())
    elif corpora.name_of(path) in EXPECTED:
        known = expected_of(path)
        assert tls_told(report) == known | {end: known[end].removesuffix("Z") for end in ("begin", "end")}


@pytest.mark.parametrize("path", corpora.files("dmarc-aggregate"), ids=corpora.name_of)
def test_aggregate_reports_in_full(path: Path) -> None:
    """As the reports' own tests have them, where they have."""
    beside = path.with_suffix(".json")
    if path.suffix == ".json" or not beside.exists():
        return
    known = json.loads(beside.read_text())

    report = dmarc.parse(corpora.report_in(path, "zip", "gzip", "xml"))

    assert isinstance(report, AggregateReport)
    metadata = known["report_metadata"]
    assert (report.contact, report.errors) == (metadata["email"], tuple(metadata["error"]))
    assert report.policy.sp == known["policy_published"]["sp"].lower()
    assert [record_told(r) for r in report.records] == [record_known(r) for r in known["record"]]


def record_told(record: Record) -> dict[str, Any]:
    return {
        "row": (record.source_ip, record.messages),
        "evaluated": (record.disposition, record.dkim_aligned, record.spf_aligned),
        "reasons": [(r.type.replace("_", ""), r.comment) for r in record.reasons],
        "names": (record.header_from, record.envelope_from, record.envelope_to),
        "dkim": [(d.domain, d.selector, d.result) for d in record.dkim],
        "spf": [(s.domain, SCOPES[s.scope], s.result) for s in record.spf],
    }


SCOPES = {"": "unspecified", "mfrom": "mailfrom", "helo": "helo"}


def record_known(known: dict[str, Any]) -> dict[str, Any]:
    evaluated = known["row"]["policy_evaluated"]
    names = known["identifiers"]
    results = known["auth_results"]
    return {
        "row": (known["row"]["source_ip"], known["row"]["count"]),
        "evaluated": (
            evaluated["disposition"].lower(), evaluated["dkim"] == "Pass", evaluated["spf"] == "Pass",
        ),
        "reasons": [(r["type_"].lower(), r["comment"] or "") for r in evaluated["reason"]],
        "names": (names["header_from"], names["envelope_from"] or "", names["envelope_to"] or ""),
        "dkim": [(d["domain"], d["selector"], d["result"].lower()) for d in results["dkim"]],
        "spf": [(s["domain"], s["scope"].lower(), s["result"].lower()) for s in results["spf"]],
    }  # fmt: skip
