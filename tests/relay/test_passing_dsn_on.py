"""What a submitter asked of DSNs reaches a next hop that offers them, and no other (RFC 3461 §5.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mailer import clock
from mailer.compose.verp import constant_keys
from mailer.policy.outcome import Accepted
from mailer.queue.bodies import StoredContent
from mailer.queue.claim import Claimed
from mailer.relay.carrier import Asked, Report
from mailer.relay.journal import DotRecord, Journal, read_journal
from mailer.relay.signing import KeyRing, Signer, Unready
from mailer.store import Store
from tests.relay.test_seven_bits import NOON, Domain
from tests.support.claims import claim_at
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NotedJournal, carrier_to, mail

OFFERS = ["mx.example.net", "PIPELINING", "DSN"]
OFFERS_NOT = ["mx.example.net", "PIPELINING"]
CONTENT = StoredContent(b"From: a@acme.example\r\n", b"x\r\n", "x" * 44, is_8bit=False, needs_utf8=False)
ALL = Asked("SUCCESS,FAILURE", "rfc822;Ann+Sales@example.org", "HDRS", "QQ 314")


async def deliver(
    asked: Asked | None, extensions: list[str], journal: NotedJournal | None = None
) -> tuple[Report, list[str]]:
    """The report, and MAIL and RCPT as the peer heard them."""
    async with ScriptedPeer(extensions=extensions) as peer, carrier_to(peer.port, journal) as carrier:
        report = await carrier.deliver(mail(asked=asked))
    [conversation] = peer.conversations
    return report, [line for line in conversation.heard if line.startswith(("MAIL", "RCPT"))]


@pytest.mark.parametrize(
    ("asked", "of_mail", "of_rcpt"),
    [
        (None, "", ""),
        (ALL, " RET=HDRS ENVID=QQ+20314", " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ann+2BSales@example.org"),
        (Asked("NEVER", None, None, None), "", " NOTIFY=NEVER"),
        (Asked(None, None, "FULL", None), " RET=FULL", ""),
        (Asked(None, None, None, "a=b"), " ENVID=a+3Db", ""),
        (
            Asked(None, "utf-8;jörg@example.org", None, None),
            "",
            " ORCPT=utf-8;j\\x{F6}rg@example.org",
        ),
    ],
)
async def test_what_was_said_is_said_on_and_nothing_else(
    asked: Asked | None, of_mail: str, of_rcpt: str
) -> None:
    """RFC 3461 §5.2.1."""
    _, heard = await deliver(asked, OFFERS)

    assert heard == [f"MAIL FROM:<bounce@example.com>{of_mail}", f"RCPT TO:<b@example.net>{of_rcpt}"]


async def test_a_peer_without_the_extension_hears_nothing_of_it() -> None:
    """RFC 3461 §5.2.2."""
    report, heard = await deliver(ALL, OFFERS_NOT)

    assert heard == ["MAIL FROM:<bounce@example.com>", "RCPT TO:<b@example.net>"]
    assert not report.passed_on


@pytest.mark.parametrize(
    ("asked", "passed_on"), [(ALL, True), (Asked(None, None, "HDRS", "x"), False), (None, False)]
)
async def test_the_report_and_the_journal_know_whether_notify_was_passed_on(
    asked: Asked | None, passed_on: bool
) -> None:
    journal = NotedJournal()
    report, _ = await deliver(asked, OFFERS, journal)

    assert isinstance(report.outcome, Accepted)
    assert report.passed_on is passed_on
    assert bool(journal.passed_on) is passed_on


async def test_the_host_that_decided_counts_not_one_that_was_lost_before() -> None:
    """A session with DSN that breaks before the dot, then a peer that does not offer it."""
    script = "S: 220 x\nC: EHLO\nS: 250-x\nS: 250 DSN\nC: MAIL\nDROP"
    async with ScriptedPeer(script, extensions=OFFERS_NOT) as peer, carrier_to(peer.port) as carrier:
        first = await carrier.deliver(mail(asked=ALL))
        second = await carrier.deliver(mail(asked=ALL))

    assert first.passed_on
    assert not isinstance(first.outcome, Accepted)
    assert (isinstance(second.outcome, Accepted), second.passed_on) == (True, False)


# ---- from the claim ----------------------------------------------------------------------------------------


def claimed(**more: Any) -> Claimed:
    return claim_at(NOON, **more)


def signer_of(store: Store) -> Signer:
    keys = KeyRing(lambda _: Domain(), clock.monotonic)
    return Signer(store, keys, token_keys=lambda: constant_keys(bytes(32)), now=clock.now)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, None),
        ({"notify": ""}, Asked(None, None, None, None)),
        ({"notify": "NEVER"}, Asked("NEVER", None, None, None)),
        ({"notify": "", "orcpt": "rfc822;a@b.example", "ret": "FULL", "envid": "1"},
         Asked(None, "rfc822;a@b.example", "FULL", "1")),
        ({"envid": "1"}, Asked(None, None, None, "1")),
    ],
)  # fmt: skip
def test_what_was_not_said_is_not_asked(store: Store, given: dict[str, str], asked: Asked | None) -> None:
    made = signer_of(store).consign(claimed(**given), CONTENT)

    assert not isinstance(made, Unready)
    assert made.asked == asked
    assert made.reverse_path.endswith("@bounce.acme.example")


def test_without_a_domain_of_its_own_the_reverse_path_is_null(store: Store) -> None:
    """RFC 3461 §6.1."""
    made = signer_of(store).consign(claimed(return_path_domain=""), CONTENT)

    assert not isinstance(made, Unready)
    assert made.reverse_path == ""


async def test_a_null_reverse_path_goes_out_as_such() -> None:
    async with ScriptedPeer(extensions=OFFERS) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(replace(mail(), reverse_path=""))

    assert "MAIL FROM:<>" in peer.conversations[0].heard


# ---- after a death -----------------------------------------------------------------------------------------


def test_the_journal_tells_a_successor_what_was_passed_on(tmp_path: Path) -> None:
    j = Journal(tmp_path, 7, lambda: True)
    j.about_to_send_dot(1, passed_on=True)
    j.about_to_send_dot(2)
    j.about_to_send_dot(3, passed_on=True)
    j.heard(3, 250, "ok")

    records = read_journal(tmp_path, 7)

    j.close(settled=False)
    assert records == {
        1: DotRecord(passed_on=True), 2: DotRecord(), 3: DotRecord(250, "ok", passed_on=True),
    }  # fmt: skip


def test_a_line_about_passing_on_alone_is_no_dot(tmp_path: Path) -> None:
    """The disk filled between the two: nothing was sent."""
    j = Journal(tmp_path, 7, lambda: True)
    j.close(settled=False)
    [segment] = tmp_path.glob("7.*.log")
    segment.write_bytes(b"P 5\nD")

    assert read_journal(tmp_path, 7) == {}
