"""Owners of recipient domains are told once a day how TLS with their hosts went (RFC 8460): `mailer up` in
live mode, on both engines, in a network of its own, with a resolver, an MX host and web servers as the world
has them.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from mailer import clock
from tests.compose.verifiers import dkimpy_verdicts
from tests.support.chains import authority, host
from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.own_network import own_network
from tests.support.policy_host import Page, policies
from tests.support.postfix import Mx
from tests.support.receiver import Answer, Receiver, receiving
from tests.support.servers import Postgres
from tests.support.stepping import set_clock, stepped
from tests.support.unbound import Unbound

# They pass for addresses of the world, and stand on this machine's loopback while a test runs.
OURS, MX, WEB, COLLECTOR = "128.66.7.1", "128.66.7.25", "128.66.7.80", "128.66.7.81"
SENDER, OPERATOR = "shop.example", "mail.shop.example"
BY_MAIL, BY_POST, UNTOLD = "mails.example", "posts.example", "untold.example"
LINK = f"https://collector.{BY_POST}/tls"
PATIENCE_SECONDS = 60
ZONES = {
    BY_MAIL: [
        "@ MX 10 mx", f"mx A {MX}",
        f'_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@{BY_MAIL}"',
    ],
    BY_POST: [
        "@ MX 10 mx", f"mx A {MX}", f"mta-sts A {WEB}", f"collector A {COLLECTOR}",
        '_mta-sts TXT "v=STSv1; id=1;"', f'_smtp._tls TXT "v=TLSRPTv1; rua={LINK}"',
    ],
    UNTOLD: [f"@ MX 10 mx.{BY_MAIL}."],
}  # fmt: skip
POLICY = f"version: STSv1\r\nmode: enforce\r\nmx: mx.{BY_POST}\r\nmax_age: 86400\r\n"


@dataclass
class Scene:
    """An installation and the world around it.

    first  the day (UTC) that the product's clock showed at the start
    """

    running: Instance
    ledger: Ledger
    mx: Mx
    collector: Receiver
    step_file: Path
    first: date

    def step_to(self, days: int, hour: int, minute: int = 0) -> None:
        """The product's clock shows that time, so many days after the first."""
        set_clock(self.step_file, offset_to(self.first + timedelta(days), time(hour, minute)))

    def send(self, *domains: str) -> list[str]:
        letter = {"from": f"shop@{SENDER}", "subject": "order", "text": "hi"}
        answers = [self.running.send(**letter, to=f"ann@{domain}") for domain in domains]
        return [answer.json()["id"] for answer in answers]

    def cancel(self, message_id: str) -> None:
        done = self.running.post(f"/v1/messages/{message_id}/cancel", None)
        assert len(done.json()["cancelled"]) == 1, done.text

    def await_count(self, wanted: int, condition: str, table: str, **values: object) -> None:
        wait_for(
            f"{wanted} of {table} with {condition}",
            lambda: self.ledger.count(condition, table, **values) == wanted,
            within_seconds=PATIENCE_SECONDS,
        )

    def day(self, days: int) -> str:
        return (self.first + timedelta(days)).isoformat()

    def await_results(self, wanted: int, days: int) -> None:
        self.await_count(wanted, "day = :day", "tls_result", day=self.day(days))

    def mailed(self) -> list[bytes]:
        """Reports that came by mail, as they were stored."""
        return [octets for octets in self.mx.kept() if b"\nTLS-Report-Domain:" in octets]

    def replace(self, *roles: str) -> None:
        """kill -9 of each, and a successor."""
        old = {role: self.running.pid(role) for role in roles}
        for pid in old.values():
            os.kill(pid, signal.SIGKILL)
        for role, pid in old.items():
            self.running.wait_for_successor(role, pid)


def offset_to(day: date, hour: time) -> int:
    return int((datetime.combine(day, hour, clock.now().tzinfo) - clock.now()).total_seconds())


@pytest.fixture(params=["sqlite", "postgres"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    root = authority("root")
    (tmp_path / "root.pem").write_bytes(root.pem(tmp_path).read_bytes())
    # Of one host for two domains: the certificate is right for the first.
    mail = host(f"mx.{BY_MAIL}", issuer=root)
    web = host(f"mta-sts.{BY_POST}", f"collector.{BY_POST}", issuer=root)
    # All of it is past: a verifier believes no signature of tomorrow.
    first, step_file = clock.now().date() - timedelta(days=3), tmp_path / "clock"
    set_clock(step_file, offset_to(first, time(12)))
    with ExitStack() as stack:
        stack.enter_context(own_network(OURS, MX, WEB, COLLECTOR))
        mx = stack.enter_context(closing(Mx(certificate=mail.pem(tmp_path), at=MX)))
        resolver = stack.enter_context(closing(Unbound(ZONES, signed=())))
        mx.start()
        resolver.start()
        page = {f"mta-sts.{BY_POST}": Page(POLICY.encode())}
        stack.enter_context(policies(page, web.served(tmp_path), (WEB, 443)))
        collector = stack.enter_context(receiving(host=COLLECTOR, port=443, tls=web.served(tmp_path)))
        url = f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}"
        if request.param == "postgres":
            server = stack.enter_context(closing(Postgres(durable=True)))
            server.start()
            url = server.new_database()
        settings = {
            "MAILER_MODE": "live", "MAILER_HOSTNAME": OPERATOR, "MAILER_DOMAIN": SENDER,
            "MAILER_OPERATOR_DOMAIN": OPERATOR, "MAILER_DATABASE_URL": url,
            "MAILER_RESOLVERS": resolver.url, "MAILER_RETRY_DELAYS": "2h",
            "MAILER_LEASE_SECONDS": "5", "MAILER_SWEEP_SECONDS": "0.5", "MAILER_RETURNS_PORT": "0",
            "MAILER_REPORT_ORGANIZATION": "Shop Ltd.", "SSL_CERT_FILE": str(tmp_path / "root.pem"),
        }  # fmt: skip
        running = stack.enter_context(installed(tmp_path / "data", settings | stepped(step_file)))
        yield Scene(running, Ledger(url), mx, collector, step_file, first)


@pytest.mark.timeout(600)
def test_each_domain_that_asks_is_told_once_of_its_day(scene: Scene) -> None:
    scene.send(BY_MAIL, UNTOLD)
    [refused] = scene.send(BY_POST)
    scene.await_results(3, days=0)
    scene.cancel(refused)
    scene.step_to(1, 12)
    scene.await_count(3, "1 = 1", "tls_report_sent")

    kill_while_they_leave(scene)

    day = scene.day(0)
    [told] = scene.mailed()
    report = report_by_mail(scene, told, day)
    [policy] = report["policies"]
    assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": BY_MAIL}
    assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    report = report_by_post(scene)
    assert report["report-id"] == f"{day}.{BY_POST}@{OPERATOR}"
    [policy] = report["policies"]
    assert policy["policy"]["policy-type"] == "sts"
    assert policy["summary"] == {"total-successful-session-count": 0, "total-failure-session-count": 1}
    assert policy["failure-details"][0]["result-type"] == "certificate-host-mismatch"
    assert scene.ledger.count("state = 'none' AND domain = :d", "tls_report_sent", d=UNTOLD) == 1

    # The day after is told of as well, and the mail that bore the report is no part of it.
    scene.send(BY_MAIL)
    scene.await_results(1, days=1)
    scene.step_to(2, 12)
    scene.await_count(4, "1 = 1", "tls_report_sent")
    scene.step_to(2, 17)
    wait_for("the second", lambda: len(scene.mailed()) == 2, within_seconds=PATIENCE_SECONDS)

    [second] = [octets for octets in scene.mailed() if octets != told]
    report = report_by_mail(scene, second, scene.day(1))
    [policy] = report["policies"]
    assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    assert scene.ledger.count("state = 'due'", "tls_report_sent") == 0
    assert scene.running.verify()[0] == 0


def kill_while_they_leave(scene: Scene) -> None:
    """The worker with a report in hand and no answer yet, and what posts the other one before its answer."""
    answer = threading.Event()
    scene.collector.answer = lambda call: Answer(status=201, after=answer)
    scene.mx.pause()
    scene.step_to(1, 17)
    scene.await_count(1, "sent_as IS NOT NULL", "tls_report_sent")
    wait_for("the report in hand", lambda: scene.ledger.leased() == 1, within_seconds=PATIENCE_SECONDS)
    wait_for("the post", lambda: scene.collector.calls, within_seconds=PATIENCE_SECONDS)
    scene.replace("worker", "sweeper")
    scene.mx.resume()
    answer.set()
    scene.step_to(1, 17, 20)
    wait_for("the mail", scene.mailed, within_seconds=PATIENCE_SECONDS)
    scene.await_count(0, "state = 'due'", "tls_report_sent")
    scene.replace("worker", "sweeper")


def report_by_mail(scene: Scene, octets: bytes, day: str) -> Any:
    """What the mail says, which is signed and has the form of RFC 8460 §5.3."""
    assert dkimpy_verdicts(stripped(octets), dkim_records(scene)) == [True, True]
    whole = message_from_bytes(octets)
    report_id = f"{day}.{BY_MAIL}@{OPERATOR}"
    assert (whole.get_content_type(), whole.get_param("report-type")) == ("multipart/report", "tlsrpt")
    assert (whole["TLS-Report-Domain"], whole["TLS-Report-Submitter"]) == (BY_MAIL, OPERATOR)
    assert whole["To"] == f"tls@{BY_MAIL}"
    assert " ".join(whole["Subject"].split()) == (
        f"Report Domain: {BY_MAIL} Submitter: {OPERATOR} Report-ID: <{report_id}>"
    )
    assert all(f"d={OPERATOR};" in signature for signature in whole.get_all("DKIM-Signature", []))
    words, attached = parts(whole)
    assert words.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert str(attached.get_filename()).startswith(f"{OPERATOR}!{BY_MAIL}!")
    report = json.loads(gzip.decompress(octets_of(attached)))
    assert (report["report-id"], report["organization-name"]) == (report_id, "Shop Ltd.")
    assert report["date-range"]["start-datetime"] == f"{day}T00:00:00Z"
    return report


def report_by_post(scene: Scene) -> Any:
    """The one report that was posted: once before the kill, and once more under the same id, since nobody
    heard that it was taken."""
    first, again = scene.collector.calls
    assert first.body == again.body
    assert (again.path, again.headers["content-type"]) == ("/tls", "application/tlsrpt+gzip")
    return json.loads(gzip.decompress(again.body))


def stripped(octets: bytes) -> bytes:
    """As it was sent: without what the host that kept it wrote on top, and in the wire's line ends."""
    lines = octets.replace(b"\r\n", b"\n").split(b"\n")
    first = next(at for at, line in enumerate(lines) if line.startswith(b"DKIM-Signature:"))
    return b"\r\n".join(lines[first:])


def dkim_records(scene: Scene) -> dict[str, str]:
    """What the operator is told to publish."""
    done = scene.running.run("domain", "records", OPERATOR, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {one["name"].rstrip("."): one["value"] for one in found if "._domainkey." in one["name"]}


def parts(whole: Message) -> Sequence[Message]:
    made = whole.get_payload()
    assert isinstance(made, list)
    return made


def octets_of(part: Message) -> bytes:
    made = part.get_payload(decode=True)
    assert isinstance(made, bytes)
    return made
