"""Reports on a domain by the API: for its owner, of the days asked for, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailer.queue.reports import dropping
from mailer.report.formats.dmarc import AggregateReport, PublishedPolicy, Record
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsFailure, TlsPolicy, TlsReport
from mailer.report.keeping import Received, complaints, dmarc, failures, tls
from mailer.report.keeping.complaints import Complaint
from tests.accept.http.conftest import Door
from tests.support.mailroom import Mailroom

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
SIGNED = Received(via="mail", signed_by="receiver.example")
DAYS = "from=2026-11-01&to=2026-11-20"


def aggregate(number: int, *, records: int = 2) -> AggregateReport:
    record = Record(
        source_ip="192.0.2.1", messages=5, disposition="none", dkim_aligned=True, spf_aligned=False,
        header_from="acme.example", envelope_from="", envelope_to="", reasons=(), dkim=(), spf=(),
    )  # fmt: skip
    return AggregateReport(
        organization="Receiver", contact="d@receiver.example", report_id=f"r-{number}", begins_at=BEGIN,
        ends_at=BEGIN + timedelta(days=1), version="1.0", generator="", errors=(),
        policy=PublishedPolicy(domain="acme.example", p="reject"), records=(record,) * records, unreadable=0,
    )  # fmt: skip


def fill(room: Mailroom, reports: int = 1) -> None:
    """One of each kind, and more aggregate reports."""
    failure = TlsFailure(
        result="certificate-expired", sessions=2, sending_ip="198.51.100.3", receiving_host="mx.acme.example",
        receiving_helo="", receiving_ip="", reason_code="", more="",
    )  # fmt: skip
    policy = TlsPolicy(
        type="sts", domain="bounce.acme.example", lines=("version: STSv1",), hosts=("mx.acme.example",),
        successful=8, failed=2, failures=(failure,),
    )  # fmt: skip
    tls_report = TlsReport(
        organization="Sender", contact="", report_id="t-1", begins_at=BEGIN,
        ends_at=BEGIN + timedelta(days=1), policies=(policy,),
    )  # fmt: skip
    failed = FailureReport(
        domain="acme.example", failures=("dmarc",), source_ip="192.0.2.9", mail_from="",
        recipient="x@b.example", arrived_at=BEGIN, delivery="reject", aligned="none", dkim_domain="",
        dkim_selector="", results="",
        reporter="b.example", agent="", envid="", incidents=1, message_id="<1@acme.example>", subject="hi",
        header_from="",
    )  # fmt: skip
    complaint = Complaint(
        names=("arf", "1"), domains=("acme.example",), format="arf", kind="abuse", source_ip="192.0.2.1",
        reporter="receiver.example", arrived_at=BEGIN,
    )  # fmt: skip
    with room.store.write() as c:
        how: dict[str, Any] = {"received": SIGNED, "new_id": room.new_id, "now": NOW}
        for number in range(reports):
            dmarc.keep(c, aggregate(number), **how)
        tls.keep(c, tls_report, **how)
        failures.keep(c, failed, **how)
        complaints.keep(c, complaint, **how)


async def test_dmarc_adds_up(door: Door) -> None:
    fill(door.room, reports=3)

    told = (await door.get(f"/v1/domains/acme.example/dmarc?{DAYS}")).json()

    assert (told["reports"], told["totals"]["messages"], told["totals"]["aligned"]) == (3, 30, 30)
    assert [(s["source_ip"], s["is_ours"], s["tally"]["messages"]) for s in told["by_source"]] == [
        ("192.0.2.1", False, 30)
    ]
    assert told["by_day"] == [{"day": "2026-11-20", "messages": 30, "aligned": 30}]


async def test_reports_come_in_pages_and_one_by_one(door: Door) -> None:
    fill(door.room, reports=3)
    path = "/v1/domains/Acme.example/dmarc/reports"

    first = (await door.get(f"{path}?{DAYS}&limit=2")).json()
    second = (await door.get(f"{path}?{DAYS}&limit=2&cursor={first['next_cursor']}")).json()

    listed = [*first["reports"], *second["reports"]]
    assert [r["report_id"] for r in listed] == ["r-2", "r-1", "r-0"]
    assert second["next_cursor"] is None
    whole = (await door.get(f"{path}/{listed[0]['id']}?limit=1")).json()
    rest = (await door.get(f"{path}/{listed[0]['id']}?limit=5&cursor={whole['next_cursor']}")).json()
    assert whole["report"] == listed[0]
    assert (len(whole["records"]), len(rest["records"]), rest["next_cursor"]) == (1, 1, None)


async def test_a_cursor_is_for_its_list_alone(door: Door) -> None:
    fill(door.room, reports=3)
    first = (await door.get(f"/v1/domains/acme.example/dmarc/reports?{DAYS}&limit=1")).json()

    other = await door.get(f"/v1/domains/acme.example/tls/reports?{DAYS}&cursor={first['next_cursor']}")

    assert other.status_code == 422


async def test_failures_tls_and_complaints(door: Door) -> None:
    fill(door.room)
    base = "/v1/domains/acme.example"

    [failure] = (await door.get(f"{base}/dmarc/failures?{DAYS}")).json()["failures"]
    told = (await door.get(f"{base}/tls?{DAYS}")).json()
    [report] = (await door.get(f"{base}/tls/reports?{DAYS}")).json()["reports"]
    whole = (await door.get(f"{base}/tls/reports/{report['id']}")).json()
    complained = (await door.get(f"{base}/complaints?{DAYS}")).json()
    [complaint] = (await door.get(f"{base}/complaints/reports?{DAYS}")).json()["complaints"]

    assert (failure["source_ip"], failure["stream"], failure["signed_by"]) == (
        "192.0.2.9", None, "receiver.example",
    )  # fmt: skip
    assert (told["successful"], told["failed"], told["by_result"]) == (
        8, 2, [{"result": "certificate-expired", "sessions": 2}],
    )  # fmt: skip
    assert whole["policies"][0]["failures"][0]["receiving_host"] == "mx.acme.example"
    assert complained["totals"] == {"complaints": 1, "verified": 0}
    assert complained["by_kind"][0]["kind"] == complaint["kind"] == "abuse"


async def test_without_days_it_is_the_last_thirty(door: Door) -> None:
    answer = await door.get("/v1/domains/acme.example/dmarc")

    assert (answer.status_code, answer.json()["reports"]) == (200, 0)


PATHS = [
    "dmarc", "dmarc/reports", "dmarc/failures", "tls", "tls/reports", "complaints", "complaints/reports",
    "dmarc/reports/dmr_0000000000005", "tls/reports/tlr_0000000000005",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_domain_of_another_tenant_is_not_there(door: Door, path: str) -> None:
    fill(door.room)
    theirs = door.keyring.issue(to=door.keyring.globex)

    answers = [
        await door.get(f"/v1/domains/acme.example/{path}", key=theirs),
        await door.get(f"/v1/domains/nobody.example/{path}"),
        await door.get(f"/v1/domains/-/{path}"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]


@pytest.mark.parametrize("path", PATHS)
async def test_it_takes_a_key_that_may_read(door: Door, path: str) -> None:
    sender = door.keyring.issue(scopes=("send",))

    answer = await door.get(f"/v1/domains/acme.example/{path}", key=sender)

    assert answer.status_code == 403


async def test_a_report_of_another_domain_is_not_there(door: Door) -> None:
    fill(door.room)
    door.furnished_key(domains=("shop.example",))
    [report] = (await door.get(f"/v1/domains/acme.example/dmarc/reports?{DAYS}")).json()["reports"]

    answer = await door.get(f"/v1/domains/shop.example/dmarc/reports/{report['id']}")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-11-20&to=2026-11-01", "from=2020-01-01&to=2026-11-01", "from=1700000000", "to=tomorrow",
        "to=9999-12-31", "from=0001-01-01", "since=2026-11-01", "from=2026-11-01&from=2026-11-02",
        "from=2026-02-30",
    ],
)  # fmt: skip
async def test_days_that_make_no_sense_are_refused(door: Door, query: str) -> None:
    answer = await door.get(f"/v1/domains/acme.example/dmarc?{query}")

    assert answer.status_code == 422, answer.text


async def test_what_was_dropped_is_gone(door: Door) -> None:
    fill(door.room)

    dropping.drop(door.room.store, before=NOW + timedelta(days=1))

    assert (await door.get(f"/v1/domains/acme.example/dmarc?{DAYS}")).json()["reports"] == 0
