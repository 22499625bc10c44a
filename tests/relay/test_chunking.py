"""When content goes by BDAT in one flight with its envelope, and what the peer then gets (RFC 3030 §2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.outcome import Accepted, Broken, NotTried, Refused, Unsuitable
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.relay import tlsmemory
from mailer.relay.carrier import Asked
from mailer.relay.smtp.chunking import LARGEST_OCTETS, is_not_understood
from mailer.relay.smtp.tls import RecentTls
from mailer.relay.tlsmemory import StoredTls
from mailer.store import Store, StoreUnavailable
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NotedJournal, carrier_to, impatient_at, mail

CHUNKING = ("mx.example.net", "PIPELINING", "SIZE 10000000", "CHUNKING")
ALL = (*CHUNKING, "8BITMIME", "SMTPUTF8", "DSN")
DOTTED = b"Subject: dots\r\n\r\n.\r\n..\r\n.one\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n"
HOST = "127.0.0.1"
NOW = clock.now()
HOUR = timedelta(hours=1)
REFUSES = """GREET-CHUNKING
FLIGHT
S: 250 ok
S: 550 5.1.1 no
S: 503 5.5.1 no recipients
C: RSET
S: 250 ok
"""


def commands(peer: ScriptedPeer) -> list[str]:
    """The verbs of all connections, without greetings and farewells."""
    said = [line.partition(" ")[0] for c in peer.conversations for line in c.heard]
    return [verb for verb in said if verb not in ("EHLO", "QUIT")]


async def test_small_content_goes_in_one_flight_with_its_envelope() -> None:
    """The peer says nothing until it has all of it."""
    silent = "GREET-CHUNKING\nFLIGHT\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 taken"
    async with ScriptedPeer(silent) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail(DOTTED))

    assert isinstance(report.outcome, Accepted)
    assert peer.contents == [DOTTED]
    assert commands(peer) == ["MAIL", "RCPT", "BDAT"]
    assert [s.text for s in report.steps if s.who == "us"][-2:] == [
        f"BDAT {len(DOTTED)} LAST",
        f"<{len(DOTTED)} octets>",
    ]


@pytest.mark.parametrize(
    ("offered", "octets", "verb"),
    [
        (CHUNKING, LARGEST_OCTETS, "BDAT"),
        (CHUNKING, LARGEST_OCTETS + 2, "DATA"),
        (("x", "CHUNKING"), 100, "DATA"),
        (("x", "PIPELINING"), 100, "DATA"),
    ],
)
async def test_bdat_is_used_where_it_is_offered_and_pays(offered: Any, octets: int, verb: str) -> None:
    content = b"S: 1\r\n\r\n" + b"x" * (octets - 10) + b"\r\n"
    async with ScriptedPeer(extensions=offered) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail(content))

    assert commands(peer) == ["MAIL", "RCPT", verb]
    assert peer.contents == [content]


@pytest.mark.parametrize("content", [b"", b".", b"no line end", b"\r\n.\r\n", b".\r\nQUIT\r\n"])
async def test_content_arrives_octet_by_octet(content: bytes) -> None:
    """As by DATA, a missing last line end is added."""
    async with ScriptedPeer(extensions=CHUNKING) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail(content))
        await carrier.deliver(mail(b"S: after\r\n"))

    assert peer.contents == [content if content.endswith(b"\r\n") else content + b"\r\n", b"S: after\r\n"]
    assert commands(peer) == ["MAIL", "RCPT", "BDAT"] * 2


async def test_the_envelope_says_the_same_as_before_data() -> None:
    content = "Subject: ü\r\n\r\nÄ\r\n".encode()
    letter = mail(
        content, forward_path="jürg@bücher.example", is_8bit=True, needs_utf8=True,
        asked=Asked("FAILURE", "rfc822;a@b.example", "HDRS", "id 1"),
    )  # fmt: skip
    journal = NotedJournal()
    heard = []
    for offered in (ALL, ALL[:3] + ALL[4:]):
        async with ScriptedPeer(extensions=offered) as peer, carrier_to(peer.port, journal) as carrier:
            report = await carrier.deliver(replace(letter, attempt_id=7))
        heard.append(peer.conversations[0].heard[1:3])
        assert report.passed_on

    assert heard[0] == heard[1]
    assert heard[0] == [
        f"MAIL FROM:<bounce@example.com> SIZE={len(content)} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+201",
        "RCPT TO:<jürg@bücher.example> NOTIFY=FAILURE ORCPT=rfc822;a@b.example",
    ]
    assert journal.passed_on == [7, 7]


async def test_what_the_peer_cannot_take_is_encoded_or_not_offered() -> None:
    eight = mail(b"Subject: x\r\n\r\n\xc3\xbc\r\n", is_8bit=True)
    seven = mail(b"Subject: x\r\n\r\n=C3=BC\r\n")
    async with ScriptedPeer(extensions=CHUNKING) as peer, carrier_to(peer.port) as carrier:
        refused = await carrier.deliver(eight)
        await carrier.deliver(replace(eight, in_seven_bits=lambda: seven))

    assert isinstance(refused.outcome, Unsuitable)
    assert peer.contents == [seven.content]
    assert commands(peer) == ["MAIL", "RCPT", "BDAT"]
    assert "BODY" not in peer.conversations[0].heard[1]


async def test_a_stale_lease_says_nothing_at_all() -> None:
    """What goes out with the envelope cannot be held back after it."""
    journal = NotedJournal(may_send=False)
    async with ScriptedPeer(extensions=CHUNKING) as peer, carrier_to(peer.port, journal) as carrier:
        report = await carrier.deliver(mail())

    assert report.outcome == NotTried(WaitReason.RELEASED)
    assert commands(peer) == []


async def test_a_host_that_refused_its_last_recipient_gets_data_until_it_takes_one() -> None:
    async with ScriptedPeer(REFUSES, extensions=CHUNKING) as peer, carrier_to(peer.port) as carrier:
        first = await carrier.deliver(mail())
        rest = [await carrier.deliver(mail()) for _ in range(2)]

    assert isinstance(first.outcome, Refused)
    assert all(isinstance(r.outcome, Accepted) for r in rest)
    assert commands(peer) == [
        "MAIL", "RCPT", "BDAT", "RSET", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "BDAT",
    ]  # fmt: skip


async def test_the_transcript_tells_of_content_that_was_accepted_for_nobody() -> None:
    taking = REFUSES.replace("503 5.5.1 no recipients", "250 2.0.0 taken")
    async with ScriptedPeer(taking) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert report.outcome == Refused(Reply(550, ("5.1.1 no",)), Phase.RCPT)
    assert [s.text for s in report.steps if s.who == "note"][-1].startswith(
        "the content was accepted for nobody"
    )


@pytest.mark.parametrize(
    "breaks",
    [
        "FLIGHT\nS: 250 ok\nS: 250 ok\nDROP",
        "FLIGHT\nS: 250 ok\nS: 250 ok\nHANG",
        "C: MAIL\nC: RCPT\nC: BDAT\nS: 250 ok\nS: 250 ok\nS: 502 5.5.1 not implemented",
    ],
)
async def test_a_host_that_fails_at_bdat_gets_data_for_a_day(breaks: str) -> None:
    memory = RecentTls()
    script = f"GREET-CHUNKING\n{breaks}"
    async with (
        ScriptedPeer(script, extensions=CHUNKING) as peer,
        carrier_to(peer.port, tls_memory=memory, timeouts=impatient_at(Phase.END_OF_DATA)) as carrier,
    ):
        await carrier.deliver(mail())
        await carrier.deliver(mail())

    assert commands(peer)[-3:] == ["MAIL", "RCPT", "DATA"]
    assert memory.bdat_failed_before(HOST, clock.now() + 23 * HOUR)
    assert not memory.bdat_failed_before(HOST, clock.now() + 25 * HOUR)


LOST = "C: MAIL\nC: RCPT\nC: BDAT\nDROP"
TAKEN = "FLIGHT\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 taken\n"


async def test_a_host_that_answered_bdat_before_may_lose_one_connection() -> None:
    memory, failed = RecentTls(), []
    scripts = [f"GREET-CHUNKING\n{TAKEN}{LOST}", f"GREET-CHUNKING\n{TAKEN}{LOST}", f"GREET-CHUNKING\n{LOST}"]
    async with ScriptedPeer(*scripts) as peer, carrier_to(peer.port, tls_memory=memory) as carrier:
        for _ in range(5):
            await carrier.deliver(mail())
            failed.append(memory.bdat_failed_before(HOST, clock.now()))

    assert failed == [False] * 4 + [True]
    assert commands(peer).count("BDAT") == 5


@pytest.mark.parametrize("last", ["550 5.7.1 spam", "451 4.3.0 later", "250 2.0.0 taken"])
async def test_a_verdict_on_the_mail_is_no_failure_of_bdat(last: str) -> None:
    memory = RecentTls()
    script = f"GREET-CHUNKING\nFLIGHT\nS: 250 ok\nS: 250 ok\nS: {last}"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port, tls_memory=memory) as carrier:
        await carrier.deliver(mail())
        await carrier.deliver(mail())

    assert commands(peer).count("BDAT") == 2
    assert not memory.bdat_failed_before(HOST, clock.now())


async def test_a_kept_session_that_does_not_know_bdat_is_followed_by_one_with_data() -> None:
    script = "GREET-CHUNKING\nFLIGHT\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 taken\n"
    script += "C: MAIL\nC: RCPT\nC: BDAT\nS: 250 ok\nS: 250 ok\nS: 500 5.5.1 what?"
    journal = NotedJournal()
    async with (
        ScriptedPeer(script, extensions=CHUNKING) as peer,
        carrier_to(peer.port, journal) as carrier,
    ):
        await carrier.deliver(mail())
        second = await carrier.deliver(mail(attempt_id=9))

    assert isinstance(second.outcome, Accepted)
    assert [e[0] for e in journal.entries if e[1] == 9] == ["dot", "withdrawn", "dot", "heard"]


async def test_a_session_that_idled_gets_data() -> None:
    """It may be closed as we write; before the dot that is harmless."""
    async with ScriptedPeer(extensions=CHUNKING) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail())
        await asyncio.sleep(2.1)
        await carrier.deliver(mail())

    assert commands(peer) == ["MAIL", "RCPT", "BDAT", "MAIL", "RCPT", "DATA"]
    assert len(peer.conversations) == 1


async def test_a_kept_session_that_was_closed_unseen_is_in_doubt() -> None:
    script = "GREET-CHUNKING\nFLIGHT\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 taken\nC: MAIL\nDROP"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert isinstance(second.outcome, Broken)
    assert second.outcome.in_doubt
    assert len(peer.conversations) == 1  # no other session, no other host


async def test_a_worker_that_stops_waits_for_what_went_with_bdat() -> None:
    script = "GREET-CHUNKING\nFLIGHT\nWAIT 0.5\nS: 250 ok\nS: 250 ok\nS: 250 2.0.0 taken"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        under_way = asyncio.create_task(carrier.deliver(mail()))
        while not peer.contents:
            await asyncio.sleep(0.01)
        await carrier.close(grace_seconds=5)

    assert isinstance((await under_way).outcome, Accepted)


@pytest.mark.parametrize(
    ("reply", "is_about_bdat"),
    [
        (Reply(500, ("what?",)), True),
        (Reply(503, ("5.5.1 bad sequence",)), True),
        (Reply(554, ("5.5.1 invalid command",)), True),
        (Reply(554, ("5.7.1 spam",)), False),
        (Reply(552, ("5.3.4 too big",)), False),
        (Reply(451, ("4.5.1 later",)), False),
        (Reply(250, ("ok",)), False),
    ],
)
def test_a_refusal_of_the_command_is_told_from_one_of_the_mail(reply: Reply, is_about_bdat: bool) -> None:
    assert is_not_understood(reply) is is_about_bdat


@given(st.integers(200, 599), st.text(max_size=30))
def test_only_5yz_can_say_that_bdat_is_not_understood(code: int, text: str) -> None:
    assert code >= 500 or not is_not_understood(Reply(code, (text,)))


# ---- shared by all workers --------------------------------------------------------------------------------


def test_what_one_worker_found_all_know(store: Store) -> None:
    one, other = StoredTls(store, lambda: 0.0), StoredTls(store, lambda: 0.0)
    one.note_tls(HOST, NOW)
    one.synchronise(NOW)
    one.note_bdat_failure(HOST, NOW)
    one.note_bdat_failure("mx.example", NOW)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert other.bdat_failed_before(HOST, NOW + HOUR)
    assert other.bdat_failed_before("mx.example", NOW + HOUR)
    assert not other.bdat_failed_before(HOST, NOW + 25 * HOUR)
    assert other.seen_with_tls(HOST, NOW + HOUR)
    assert not other.failed_before(HOST, NOW)


def test_a_note_on_tls_leaves_what_is_known_of_bdat(store: Store) -> None:
    one, other = StoredTls(store, lambda: 0.0), StoredTls(store, lambda: 0.0)
    one.note_bdat_failure(HOST, NOW)
    one.synchronise(NOW)
    one.note_failure(HOST, NOW)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert other.bdat_failed_before(HOST, NOW)
    assert other.failed_before(HOST, NOW)


def test_it_is_kept_while_the_database_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = StoredTls(store, lambda: 0.0), StoredTls(store, lambda: 0.0)
    one.note_bdat_failure(HOST, NOW)
    with monkeypatch.context() as broken:
        broken.setattr(tlsmemory.tlshosts, "note_bdat", _unavailable)
        one.synchronise(NOW)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert other.bdat_failed_before(HOST, NOW)


def _unavailable(*_: object) -> None:
    raise StoreUnavailable("away")
