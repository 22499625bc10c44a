"""Reports on TLS to owners of recipient domains: to whom, when, how often. On both engines, over real DNS."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mailer.identity import domains, operator
from mailer.outward import Guard, GuardedTransport
from mailer.outward.guard import LOOPBACK
from mailer.policy.tls import Wish
from mailer.queue import tlsresults
from mailer.queue.reports import sending
from mailer.queue.reports.sending import Accepting
from mailer.queue.tlsresults import ResultKind
from mailer.relay.reportnetwork import ReportNetwork
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.tlsreporting import TlsReporter, Words
from mailer.report.formats import tlsrpt
from mailer.report.formats.tlsrpt import TlsReport
from mailer.store import Store
from mailer.store.tables import message, recipient
from tests.compose.verifiers import dkimpy_verdicts
from tests.support.certificates import server_context, trusting_context
from tests.support.dns_server import DnsServer
from tests.support.instance import wait_for
from tests.support.receiver import Answer, receiving
from tests.support.report_collector import ReportCollector
from tests.support.submitters import OPERATOR, Submitters

DAY = "2026-11-20"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
RECORD = ("_smtp._tls.example.net", "TXT")
KIND = ResultKind(
    day=DAY, domain="example.net", policy_type="sts", policy_domain="example.net",
    policy_lines=("version: STSv1",), result="success", mx_host="mx.example.net", mx_ip="192.0.2.1",
    sending_ip="198.51.100.1", reason="",
)  # fmt: skip


def asking(*places: str) -> dict[tuple[str, str], Sequence[str]]:
    return {RECORD: [f'"v=TLSRPTv1; rua={",".join(places)}"']}


@dataclass
class Office:
    """A store with results of a day, and any number of reporters on it."""

    submitters: Submitters
    folder: Path
    now: datetime = MIDNIGHT + timedelta(hours=5)
    draw: float = 0.0
    reporters: list[TlsReporter] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.submitters.room.store

    def reporter(self, dns: DnsServer, domain: str | None = OPERATOR) -> TlsReporter:
        room = self.submitters.room
        return TlsReporter(
            store=self.store,
            find_operator=partial(operator.find, self.store, domain),
            words=lambda by: Words(organization="Op Ltd.", contact=f"postmaster@{by.domain}"),
            network=self._network(dns),
            accepting=Accepting(new_id=room.new_id, process_number=room.worker.process_number),
            now=lambda: self.now,
            draw=lambda: self.draw,
        )

    def _network(self, dns: DnsServer) -> Callable[[], ReportNetwork]:
        def made() -> ReportNetwork:
            lookup = Lookup([dns.place], seconds=2.0)
            tls = trusting_context(self.folder) if (self.folder / "mx.example.net.pem").exists() else None
            transport = GuardedTransport(
                Guard(networks=LOOPBACK), connections=4, resolve=lookup.addresses, tls=tls
            )
            return ReportNetwork(lookup, transport, user_agent="test")

        return made

    def states(self) -> list[tuple[str, str, int]]:
        with self.store.read() as c:
            return [(row.domain, row.state, row.tries) for row in sending.state_of(c, DAY)]

    def mails(self) -> list[Any]:
        wanted = (
            select(message, recipient.c.address)
            .join(recipient, recipient.c.message_id == message.c.id)
            .where(message.c.door == "report")
            .order_by(recipient.c.id)
        )
        with self.store.read() as c:
            return list(c.execute(wanted))


@pytest.fixture
def office(store: Store, tmp_path: Path) -> Office:
    made = Office(Submitters.furnish(store), tmp_path)
    tlsresults.add(store, {KIND: 9})
    return made


def report_of(content: bytes) -> TlsReport:
    report = tlsrpt.parse(content)
    assert isinstance(report, TlsReport)
    return report


async def test_a_domain_that_asks_gets_a_signed_report_once(office: Office) -> None:
    async with DnsServer(asking("mailto:tls@example.net", "mailto:tls@watch.example")) as dns:
        queued = [await asyncio.to_thread(office.reporter(dns).send) for _ in range(2)]

    assert queued == [1, 0]
    assert office.states() == [("example.net", "sent", 1)]
    assert [(m.address, m.tls, m.door) for m in office.mails()] == [
        ("tls@example.net", Wish.OPTIONAL, "report"),
        ("tls@watch.example", Wish.OPTIONAL, "report"),
    ]
    first, _ = office.submitters.taken_out()
    whole = message_from_bytes(first.content)
    _, attached = whole.get_payload()
    assert isinstance(attached, Message)
    report = report_of(attached.get_payload(decode=True))  # type: ignore[arg-type]
    assert (report.report_id, report.policies[0].successful) == (f"{DAY}.example.net@{OPERATOR}", 9)
    assert first.reverse_path.endswith(f"@bounce.{OPERATOR}")
    domain, keys = domains.described(office.store, OPERATOR)
    records = {
        f"{key.selector}._domainkey.{domain.name}": f"v=DKIM1; k={key.key_type}; p={key.public_key}"
        for key in keys
    }
    assert dkimpy_verdicts(first.content, records) == [True, True]
    assert f"d={OPERATOR};".encode() in first.content


async def test_a_domain_that_does_not_ask_gets_none(office: Office) -> None:
    async with DnsServer({("example.net", "A"): ["192.0.2.1"]}) as dns:
        await asyncio.to_thread(office.reporter(dns).send)

    assert (office.states(), office.mails()) == ([("example.net", "none", 1)], [])


async def test_reports_wait_for_the_day_to_be_over_and_for_their_own_time(office: Office) -> None:
    """RFC 8460 §4.1: not all at once."""
    office.draw = 0.5
    async with DnsServer(asking("mailto:tls@example.net")) as dns:
        reporter = office.reporter(dns)
        told = []
        for now in (
            MIDNIGHT - timedelta(minutes=1), MIDNIGHT + timedelta(minutes=5),
            MIDNIGHT + timedelta(minutes=15), MIDNIGHT + timedelta(hours=2),
            MIDNIGHT + timedelta(hours=2, minutes=16),
        ):  # fmt: skip
            office.now = now
            await asyncio.to_thread(reporter.send)
            told.append(len(office.mails()))

    assert told == [0, 0, 0, 0, 1]


async def test_two_hosts_at_once_send_one(office: Office) -> None:
    async with DnsServer(asking("mailto:tls@example.net")) as dns:
        await asyncio.gather(*(asyncio.to_thread(office.reporter(dns).send) for _ in range(4)))

    assert len(office.mails()) == 1


async def test_without_an_operator_none_is_sent(office: Office) -> None:
    async with DnsServer(asking("mailto:tls@example.net")) as dns:
        await asyncio.to_thread(office.reporter(dns, domain=None).send)

    assert (office.states(), office.mails()) == ([], [])


async def test_without_an_answer_it_is_asked_again_and_given_up_at_last(office: Office) -> None:
    async with DnsServer({}, faults={RECORD[0]: "servfail"}) as dns:
        reporter = office.reporter(dns)
        for _ in range(8):
            await asyncio.to_thread(reporter.send)
            office.now += timedelta(days=2)

    assert office.states() == [("example.net", "failed", 8)]


async def test_a_process_that_dies_in_between_leaves_it_to_the_next(office: Office) -> None:
    async with DnsServer(asking("mailto:tls@example.net")) as dns:
        sending.plan(office.store, DAY, lambda: office.now)
        sending.take(office.store, most=5, now=office.now, lease=timedelta(minutes=15))
        await asyncio.to_thread(office.reporter(dns).send)
        before = len(office.mails())
        office.now += timedelta(minutes=16)
        await asyncio.to_thread(office.reporter(dns).send)

    assert (before, len(office.mails())) == (0, 1)


async def test_a_report_by_https(office: Office) -> None:
    with ReportCollector(server_context(office.folder)) as collector:
        async with DnsServer(asking(f"{collector.url}/tls")) as dns:
            await asyncio.to_thread(office.reporter(dns).send)

    [(path, media_type, content)] = collector.taken
    assert (path, media_type) == ("/tls", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(content))["organization-name"] == "Op Ltd."
    assert report_of(content).policies[0].domain == "example.net"
    assert (office.states(), office.mails()) == ([("example.net", "sent", 1)], [])


async def test_what_https_refuses_is_sent_again_but_not_its_mail(office: Office) -> None:
    with ReportCollector(server_context(office.folder), status=503) as collector:
        async with DnsServer(asking("mailto:tls@example.net", collector.url)) as dns:
            reporter = office.reporter(dns)
            await asyncio.to_thread(reporter.send)
            first = office.states()
            collector.status = 200
            office.now += timedelta(hours=1)
            await asyncio.to_thread(reporter.send)

    assert (first, office.states()) == ([("example.net", "due", 1)], [("example.net", "sent", 2)])
    assert (len(collector.taken), len(office.mails())) == (2, 1)


async def test_a_host_that_does_not_answer_keeps_no_other_report_back(office: Office) -> None:
    """Neither mail nor a post, though its own report was due before theirs."""
    tlsresults.add(office.store, {replace(KIND, domain=d): 1 for d in ("example.com", "example.org")})
    turns, silent, tls = iter((2, 1, 3)), threading.Event(), server_context(office.folder)
    sending.plan(office.store, DAY, lambda: office.now - timedelta(hours=1, minutes=-next(turns)))
    with (
        receiving(lambda call: Answer(after=silent), tls=tls) as receiver,
        ReportCollector(tls) as collector,
    ):
        others = {
            ("_smtp._tls.example.org", "TXT"): ['"v=TLSRPTv1; rua=mailto:tls@example.org"'],
            ("_smtp._tls.example.com", "TXT"): [f'"v=TLSRPTv1; rua={collector.url}"'],
        }
        async with DnsServer(asking(receiver.url) | others) as dns:
            sent = asyncio.create_task(asyncio.to_thread(office.reporter(dns).send))
            await asyncio.to_thread(
                wait_for, "both posts", lambda: receiver.calls and collector.taken, within_seconds=20
            )
            mailed = [m.address for m in office.mails()]
            silent.set()
            await sent

    assert mailed == ["tls@example.org"]
    assert office.states() == [(d, "sent", 1) for d in ("example.com", "example.net", "example.org")]


async def test_a_url_inside_is_not_dialled(office: Office) -> None:
    async with DnsServer(asking("https://192.168.0.1/tls")) as dns:
        await asyncio.to_thread(office.reporter(dns).send)

    with office.store.read() as c:
        [row] = sending.state_of(c, DAY)
    assert (row.state, row.reason) == ("due", "the host must not be dialled")


async def test_a_certificate_that_is_not_good_fails_the_post(office: Office, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with ReportCollector(server_context(tmp_path / "other")) as collector:
        async with DnsServer(asking(collector.url)) as dns:
            await asyncio.to_thread(office.reporter(dns).send)

    assert (collector.taken, office.states()) == ([], [("example.net", "due", 1)])
