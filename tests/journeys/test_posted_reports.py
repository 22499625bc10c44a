"""A report that comes by HTTP to a running installation is shown to whose domain it is about."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.report.test_formats import XARF
from tests.report.test_formats import tls as tls_document
from tests.support.instance import Instance, installed

TOKEN = "a-token-of-twenty-characters"
DAYS = {"from": "2026-11-01", "to": "2026-11-30"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with installed(tmp_path / "data", {"MAILER_REPORT_TOKEN": TOKEN}, http_port=0) as running:
        yield running


def test_posted_reports_are_shown_to_the_owner_of_the_domain(instance: Instance) -> None:
    assert instance.ready is not None
    domain, base = instance.ready.domain, instance.ready.http_url
    policy = {
        "policy": {"policy-type": "sts", "policy-domain": f"bounce.{domain}"},
        "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0},
    }
    report = gzip.compress(json.dumps(tls_document(policies=[policy])).encode())
    abuse = json.dumps(XARF | {"smtp_from": f"shop@{domain}"}).encode()

    answers = [
        httpx.post(
            f"{base}/reports/tls", content=report, headers={"Content-Type": "application/tlsrpt+gzip"}
        ),
        httpx.post(
            f"{base}/reports/xarf/{TOKEN}", content=abuse, headers={"Content-Type": "application/json"}
        ),
        httpx.post(f"{base}/reports/xarf/x", content=abuse, headers={"Content-Type": "application/json"}),
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 401]
    told = instance.get(f"/v1/domains/{domain}/tls", **DAYS)
    complained = instance.get(f"/v1/domains/{domain}/complaints", **DAYS)
    assert (told["reports"], told["successful"]) == (1, 5)
    assert complained["totals"] == {"complaints": 1, "verified": 0}
    [shown] = instance.get(f"/v1/domains/{domain}/tls/reports", **DAYS)["reports"]
    assert (shown["via"], shown["signed_by"]) == ("http", None)
