"""Reports are kept once, for those they are about, and add up; on both engines."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from mailer.ids import IdMaker
from mailer.queue.reports import complaints as told_complaints
from mailer.queue.reports import dmarc as told_dmarc
from mailer.queue.reports import dropping
from mailer.queue.reports import failures as told_failures
from mailer.queue.reports import tls as told_tls
from mailer.queue.reports.span import Span
from mailer.report.formats import Unparsable, dmarc_failure, xarf
from mailer.report.formats.dmarc import AggregateReport, DkimResult, PublishedPolicy, Record
from mailer.report.formats.dmarc_failure import FailureReport
from mailer.report.formats.tlsrpt import TlsFailure, TlsPolicy, TlsReport
from mailer.report.keeping import Received, authreports, complaints, dmarc, failures, received, tls
from mailer.report.keeping.complaints import Complaint
from mailer.report.keeping.failures import Matched
from mailer.store import Store
from mailer.store.tables import egress_ip, sending_domain, tenant
from tests.report import test_formats as formats
from tests.report.test_formats import FIELDS
from tests.support.mailroom import Mailroom

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
MAIL = Received(via="mail", signed_by="receiver.example", raw_id=7)
UNSIGNED = Received(via="mail")


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=NOW)


@pytest.fixture
def new_id() -> IdMaker:
    return IdMaker(1, lambda: int(NOW.timestamp() * 1000))


def span(room: Mailroom, domain_id: int | None = None) -> Span:
    return Span(domain_id or room.domain_id, date(2026, 11, 1), date(2026, 11, 20))


def neighbour(room: Mailroom, name: str = "news.acme.example") -> int:
    """Another tenant's sending domain below ours."""
    tenant_id, domain_id = room.new_id(), room.new_id()
    with room.store.write() as c:
        c.execute(tenant.insert().values(id=tenant_id, name="other", state="active", created_at=NOW))
        c.execute(
            sending_domain.insert().values(
                id=domain_id, tenant_id=tenant_id, name=name, return_path_domain=f"bounce.{name}",
                state="active", created_at=NOW,
            )
        )  # fmt: skip
    return domain_id


def record(**said: object) -> Record:
    usual = Record(
        source_ip="192.0.2.1", messages=5, disposition="none", dkim_aligned=True, spf_aligned=False,
        header_from="acme.example", envelope_from="bounce.acme.example", envelope_to="", reasons=(),
        dkim=(DkimResult("acme.example", "s1", "pass"),), spf=(),
    )  # fmt: skip
    return replace(usual, **said)  # type: ignore[arg-type]


def aggregate(*records: Record, report_id: str = "r-1", domain: str = "acme.example") -> AggregateReport:
    return AggregateReport(
        organization="Receiver", contact="d@receiver.example", report_id=report_id, begins_at=BEGIN,
        ends_at=BEGIN + timedelta(days=1), version="1.0", generator="", errors=(),
        policy=PublishedPolicy(domain=domain, p="reject"), records=records, unreadable=0,
    )  # fmt: skip


def keep_dmarc(room: Mailroom, report: AggregateReport, how: Received = MAIL) -> bool:
    with room.store.write() as c:
        return dmarc.keep(c, report, received=how, new_id=room.new_id, now=NOW)


SPOOF = record(source_ip="203.0.113.9", messages=3, disposition="reject", dkim_aligned=False, dkim=())


def test_an_aggregate_report_adds_up(room: Mailroom) -> None:
    with room.store.write() as c:
        c.execute(egress_ip.insert().values(id=1, ipv4="192.0.2.1", helo="m", state="active", created_at=NOW))

    assert keep_dmarc(room, aggregate(record(), record(dkim_aligned=False, spf_aligned=True), SPOOF))

    told = told_dmarc.summary(room.store, span(room))
    assert (told.reports, told.totals.messages, told.totals.aligned, told.totals.rejected) == (1, 13, 10, 3)
    assert [(s.source_ip, s.is_ours, s.tally.messages, s.tally.aligned) for s in told.by_source] == [
        ("192.0.2.1", True, 10, 10),
        ("203.0.113.9", False, 3, 0),
    ]
    assert {(r.dkim_aligned, r.spf_aligned, r.disposition): r.messages for r in told.by_result} == {
        (True, False, "none"): 5, (False, True, "none"): 5, (False, False, "reject"): 3,
    }  # fmt: skip
    assert [(r.organization, r.reports, r.messages) for r in told.by_reporter] == [("Receiver", 1, 13)]
    assert [(d.day, d.messages, d.aligned) for d in told.by_day] == [(date(2026, 11, 20), 13, 10)]


def test_the_days_asked_for_are_those_of_the_report(room: Mailroom) -> None:
    keep_dmarc(room, aggregate(record()))

    before = Span(room.domain_id, date(2026, 11, 1), date(2026, 11, 19))
    assert told_dmarc.summary(room.store, before).totals.messages == 0
    assert told_dmarc.summary(room.store, before).by_source == []


def test_the_same_report_again_changes_nothing(room: Mailroom) -> None:
    assert [keep_dmarc(room, aggregate(record())) for _ in range(2)] == [True, False]
    assert not keep_dmarc(room, replace(aggregate(record()), organization="RECEIVER"), UNSIGNED)
    assert keep_dmarc(room, aggregate(record(), report_id="r-2"))

    assert told_dmarc.summary(room.store, span(room)).totals.messages == 10


def test_a_signed_report_takes_the_place_of_one_that_anybody_wrote(room: Mailroom) -> None:
    keep_dmarc(room, aggregate(SPOOF), UNSIGNED)

    assert keep_dmarc(room, aggregate(record()))

    told = told_dmarc.reports(room.store, span(room), limit=10)
    assert [(r.signed_by, r.messages) for r in told.found] == [("receiver.example", 5)]
    assert told_dmarc.summary(room.store, span(room)).totals.messages == 5


def test_a_report_on_nobody_here_is_not_kept(room: Mailroom) -> None:
    assert not keep_dmarc(room, aggregate(record(header_from="else.example"), domain="else.example"))
    assert not keep_dmarc(room, aggregate(record(header_from="example"), domain="example"))


def test_each_owner_sees_the_own_part(room: Mailroom) -> None:
    other = neighbour(room)
    parts = [record(), record(header_from="news.acme.example", messages=70)]

    keep_dmarc(room, aggregate(*parts))

    assert told_dmarc.summary(room.store, span(room)).totals.messages == 5
    assert told_dmarc.summary(room.store, span(room, other)).totals.messages == 70


def test_a_domain_above_ours_reports_on_ours(room: Mailroom) -> None:
    other = neighbour(room, "news.parent.example")

    kept = keep_dmarc(
        room,
        aggregate(
            record(header_from="news.parent.example"), record(header_from="parent.example"),
            domain="parent.example",
        ),
    )  # fmt: skip

    assert kept
    assert told_dmarc.summary(room.store, span(room, other)).totals.messages == 5


def test_pages_of_reports_and_of_records(room: Mailroom) -> None:
    for n in range(3):
        keep_dmarc(room, aggregate(record(), SPOOF, report_id=f"r-{n}"))

    first = told_dmarc.reports(room.store, span(room), limit=2)
    second = told_dmarc.reports(room.store, span(room), limit=2, position=first.position)

    assert [r.report_id for r in (*first.found, *second.found)] == ["r-2", "r-1", "r-0"]
    assert second.position is None
    [report, *_] = first.found
    assert told_dmarc.one(room.store, room.domain_id, report.id) == report
    assert told_dmarc.one(room.store, room.domain_id + 1, report.id) is None
    found = told_dmarc.records(room.store, report.id, limit=1, after=0)
    assert [(r.number, r.source_ip, list(r.dkim)) for r in found] == [(1, "203.0.113.9", [])]


def test_a_day_has_room_for_so_many_reports(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "MOST_A_DAY", 2)

    kept = [keep_dmarc(room, aggregate(record(), report_id=f"r-{n}")) for n in range(3)]

    assert kept == [True, True, False]


def test_a_failure_report_is_kept_with_its_stream(room: Mailroom) -> None:
    report = dmarc_failure.parse(FIELDS, "message/feedback-report")
    assert isinstance(report, FailureReport)
    mine = Matched(tenant_id=room.tenant_id, stream_id=room.stream_id, message_id=5)
    of_another = replace(mine, tenant_id=1)

    with room.store.write() as c:
        kept = [
            failures.keep(c, found, received=MAIL, matched=matched, new_id=room.new_id, now=NOW)
            for found, matched in (
                (report, mine), (report, mine), (replace(report, recipient="b@x.example"), of_another),
                (replace(report, domain="else.example"), mine),
            )
        ]  # fmt: skip

    assert kept == [True, False, True, False]
    told = told_failures.failures(room.store, span(room), limit=10)
    assert [(f.stream, f.message_id, f.source_ip) for f in told.found] == [
        (None, None, "192.0.2.9"),
        ("transactional", 5, "192.0.2.9"),
    ]


def tls_report(*policies: TlsPolicy) -> TlsReport:
    return TlsReport(
        organization="Sender", contact="", report_id="t-1", begins_at=BEGIN,
        ends_at=BEGIN + timedelta(days=1), policies=policies,
    )  # fmt: skip


def policy(domain: str = "bounce.acme.example") -> TlsPolicy:
    failure = TlsFailure(
        result="certificate-expired", sessions=2, sending_ip="198.51.100.3",
        receiving_host="mx.acme.example", receiving_helo="", receiving_ip="192.0.2.1", reason_code="",
        more="",
    )  # fmt: skip
    return TlsPolicy(
        type="sts", domain=domain, lines=("version: STSv1",), hosts=(), successful=8, failed=2,
        failures=(failure,),
    )  # fmt: skip


def test_a_tls_report_is_about_the_host_of_the_return_path(room: Mailroom) -> None:
    with room.store.write() as c:
        kept = [
            tls.keep(c, tls_report(policy(), policy("else.example")), received=r, new_id=room.new_id, now=NOW)
            for r in (UNSIGNED, MAIL, UNSIGNED)
        ]

    assert kept == [True, True, False]
    told = told_tls.summary(room.store, span(room))
    assert (told.reports, told.successful, told.failed) == (1, 8, 2)
    assert [(r.result, r.sessions) for r in told.by_result] == [("certificate-expired", 2)]
    assert [(s.sending_ip, s.sessions) for s in told.by_source] == [("198.51.100.3", 2)]
    assert [(p.type, p.policy_domain, p.failed) for p in told.by_policy] == [
        ("sts", "bounce.acme.example", 2)
    ]
    [report] = told_tls.reports(room.store, span(room), limit=5).found
    found = told_tls.one(room.store, room.domain_id, report.id)
    assert found is not None
    assert [f.receiving_host for f in found[1][0].failures] == ["mx.acme.example"]
    assert told_tls.one(room.store, 1, report.id) is None


def test_complaints_add_up(room: Mailroom) -> None:
    message = room.message()
    room.accept(message)
    matched = Matched(
        tenant_id=room.tenant_id, stream_id=room.stream_id, message_id=message.id,
        recipient_id=message.recipients[0].id,
    )  # fmt: skip
    sure = Complaint(
        names=("arf", "1"), domains=(), format="arf", kind="abuse", source_ip="192.0.2.1",
        reporter="receiver.example", arrived_at=BEGIN, is_verified=True,
    )  # fmt: skip
    stranger = replace(sure, names=("arf", "2"), domains=("bounce.acme.example",), is_verified=False)

    with room.store.write() as c:
        kept = [
            complaints.keep(c, found, received=UNSIGNED, matched=m, new_id=room.new_id, now=NOW)
            for found, m in (
                (sure, matched),
                (sure, matched),
                (stranger, None),
                (replace(sure, names=()), None),
            )
        ]

    assert kept == [True, False, True, False]
    told = told_complaints.summary(room.store, span(room))
    assert (told.totals.complaints, told.totals.verified) == (2, 1)
    assert {g.name: g.tally.complaints for g in told.by_stream} == {"transactional": 1, None: 1}
    assert [(g.name, g.tally.complaints, g.is_ours) for g in told.by_source] == [("192.0.2.1", 2, False)]
    listed = told_complaints.complaints(room.store, span(room), limit=1)
    assert [(x.stream, x.is_verified) for x in listed.found] == [(None, False)]
    assert listed.position is not None


def test_a_xarf_report_is_a_complaint(room: Mailroom) -> None:
    report = xarf.parse(
        b'{"xarf_version": "4.0.0", "report_id": "A-1", "timestamp": "2026-11-20T10:00:00Z", "category":'
        b' "messaging", "type": "spam", "source_identifier": "192.0.2.1", "smtp_from": "x@news.acme.example"}'
    )
    assert isinstance(report, xarf.AbuseReport)

    with room.store.write() as c:
        kept = complaints.keep(
            c, complaints.of_xarf(report), received=Received(via="http"), new_id=room.new_id, now=NOW
        )

    assert kept
    [found] = told_complaints.complaints(room.store, span(room), limit=5).found
    assert (found.format, found.kind, found.via, found.signed_by) == ("xarf", "spam", "http", None)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("dmarc-aggregate", formats.aggregate(formats.record())),
        ("dmarc-failure", FIELDS),
        ("tls-rpt", json.dumps(formats.tls()).encode()),
    ],
)
def test_reports_are_read_and_kept_by_their_kind(room: Mailroom, kind: str, content: bytes) -> None:
    report = authreports.read(kind, content)
    assert not isinstance(report, Unparsable)

    with room.store.write() as c:
        kept = [authreports.keep(c, report, received=MAIL, new_id=room.new_id, now=NOW) for _ in range(2)]

    assert kept == [True, False]
    assert isinstance(authreports.read(kind, b"nothing"), Unparsable)


def test_old_reports_go_with_what_belongs_to_them(room: Mailroom) -> None:
    keep_dmarc(room, aggregate(record()))
    with room.store.write() as c:
        tls.keep(c, tls_report(policy()), received=MAIL, new_id=room.new_id, now=NOW)

    assert dropping.drop(room.store, before=NOW) == 0
    assert dropping.drop(room.store, before=NOW + timedelta(seconds=1)) == 2
    assert dropping.drop(room.store, before=NOW + timedelta(seconds=1)) == 0
    assert told_dmarc.summary(room.store, span(room)).totals.messages == 0
