"""Deliveries over real sockets: what is offered, which session carries it, and how it all stops."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.egress import BROADCAST
from mailer.policy.outcome import Accepted, Broken, NotTried, Refused, Unroutable, Unsuitable
from mailer.policy.sites import SiteRules
from mailer.protocol.phase import Phase
from mailer.relay.hosts import MxFinder
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import Mode
from tests.support.dns_server import DnsServer
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NoDns, NotedJournal, carrier_to, impatient_at, mail, settings

BIG = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"." + b"y" * 75 + b"\r\n") * 40_000
HANG_AFTER_DOT = "GREET\nENVELOPE\nCONTENT\nHANG"
HANG_AT_RCPT = "GREET\nC: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nHANG"


# ---- when it is offered ----------------------------------------------------------------------------------


async def test_mail_waits_for_its_turn_and_what_missed_it_is_not_offered() -> None:
    now = clock.monotonic()
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        late = await carrier.deliver(mail(spend=(0.0, now - 1.0)))
        in_time = await carrier.deliver(mail(spend=(now + 0.3, now + 60.0)))

    assert late.outcome == NotTried(WaitReason.LIMITED)
    assert "passed" in late.steps[-1].text
    assert isinstance(in_time.outcome, Accepted)
    assert clock.monotonic() >= now + 0.3
    # The session that was opened for the one carried the other.
    assert [c.heard.count("DATA") for c in peer.conversations] == [1]


async def test_a_tenants_backlog_at_a_site_does_not_keep_another_tenant_waiting() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, connections_of=lambda _: 1) as carrier:
        backlog = [mail(forward_path=f"a{n}@example.net", party=(1, BROADCAST)) for n in range(30)]
        tasks = [asyncio.create_task(carrier.deliver(one)) for one in backlog]
        await asyncio.sleep(0)
        tasks.append(
            asyncio.create_task(carrier.deliver(mail(forward_path="b@example.net", party=(2, BROADCAST))))
        )
        await asyncio.gather(*tasks)

    said = [line for c in peer.conversations for line in c.heard if line.startswith("RCPT")]
    assert len(said) == 31
    assert said.index("RCPT TO:<b@example.net>") <= 3


# ---- what is offered -------------------------------------------------------------------------------------


async def test_the_envelope_names_what_the_peer_should_know() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        content = "Subject: ü\r\n\r\nÄ\r\n".encode()
        await carrier.deliver(
            mail(content, reverse_path="", forward_path="jürg@bücher.example", is_8bit=True, needs_utf8=True)
        )

    assert peer.conversations[0].heard[1:3] == [
        f"MAIL FROM:<> SIZE={len(content)} BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<jürg@bücher.example>",
    ]


@pytest.mark.parametrize(
    ("offered", "needs", "status"),
    [
        (["x", "SIZE 60"], {}, "5.3.4"),
        (["x", "PIPELINING"], {"is_8bit": True}, "5.6.3"),
        (["x", "8BITMIME"], {"needs_utf8": True}, "5.6.7"),
    ],
)
async def test_mail_a_peer_cannot_take_is_not_offered(
    offered: list[str], needs: dict[str, Any], status: str
) -> None:
    async with ScriptedPeer(extensions=offered) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail(**needs))
        after = await carrier.deliver(mail(b"S: 1\r\n\r\n"))

    assert isinstance(report.outcome, Unsuitable)
    assert report.outcome.status == status
    assert isinstance(after.outcome, Accepted)
    assert len(peer.conversations) == 1


@pytest.mark.parametrize("offered", [["x", "SIZE"], ["x", "SIZE 0"], ["x", "SIZE many"]])
async def test_size_without_a_limit_limits_nothing(offered: list[str]) -> None:
    async with ScriptedPeer(extensions=offered) as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)


@pytest.mark.parametrize("content", [BIG, b".", b".\r\n..\r\n", b"no line end", b"\r\n.\r\n"])
async def test_content_arrives_octet_by_octet(content: bytes) -> None:
    """RFC 5321 §4.5.2; a missing last line end is added."""
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail(content))

    assert peer.contents == [content if content.endswith(b"\r\n") else content + b"\r\n"]


@pytest.mark.parametrize(
    "bad",
    [
        {"content": b"a\n.\nMAIL FROM:<x>\r\n"},
        {"content": b"a\r.\rb\r\n"},
        {"forward_path": "b@example.net>\r\nRCPT TO:<c@example.net"},
        {"reverse_path": "a\n@example.com"},
        {"forward_path": "b\x00@example.net"},
    ],
)
async def test_nothing_breaks_out_of_its_place_in_the_dialogue(bad: dict[str, Any]) -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        with pytest.raises(ValueError):
            await carrier.deliver(mail(**bad))

    assert peer.conversations == []


async def test_the_report_holds_the_whole_conversation() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port) as carrier:
        report = await carrier.deliver(mail(b"S: x\r\n\r\nbody\r\n"))

    place = f"127.0.0.1:{peer.port}"
    assert (report.site, report.host, report.address) == (f"route:{place}", "127.0.0.1", place)
    assert (report.egress_ip, report.tls) == ("127.0.0.1", None)
    assert [s.at_ms for s in report.steps] == sorted(s.at_ms for s in report.steps)
    assert [(s.who, s.text) for s in report.steps] == [
        ("note", f"connecting to 127.0.0.1 {place}"),
        ("peer", "220 mx.example.net ESMTP"),
        ("us", "EHLO client.example"),
        ("peer", "250-mx.example.net"),
        ("peer", "250-PIPELINING"),
        ("peer", "250-SIZE 10000000"),
        ("peer", "250-8BITMIME"),
        ("peer", "250 SMTPUTF8"),
        ("us", "MAIL FROM:<bounce@example.com> SIZE=14"),
        ("us", "RCPT TO:<b@example.net>"),
        ("us", "DATA"),
        ("peer", "250 2.0.0 ok"),
        ("peer", "250 2.0.0 ok"),
        ("peer", "354 go ahead"),
        ("us", "<14 octets>"),
        ("us", "."),
        ("peer", "250 2.0.0 taken"),
    ]


# ---- content in blocks, and the dot ----------------------------------------------------------------------


async def test_a_peer_that_judges_large_content_early_is_heard() -> None:
    script = "GREET\nENVELOPE\nS: 552 5.3.4 too much\nHANG"
    journal = NotedJournal()
    async with ScriptedPeer(script) as peer, carrier_to(peer.port, journal) as carrier:
        report = await carrier.deliver(mail(BIG))

    assert isinstance(report.outcome, Refused | Broken)
    assert report.outcome.phase is Phase.CONTENT
    assert journal.entries == []


async def test_a_peer_that_stops_reading_content_is_given_up_before_the_dot() -> None:
    """RFC 5321 §4.5.3.2.5."""
    journal = NotedJournal()
    # The scripted peer reads into memory without end, so this one does not read at all.
    async with _Deaf() as port, carrier_to(port, journal, timeouts=impatient_at(Phase.CONTENT)) as carrier:
        report = await carrier.deliver(mail(BIG * 4))

    assert isinstance(report.outcome, Broken)
    assert (report.outcome.phase, report.outcome.in_doubt) == (Phase.CONTENT, False)
    assert journal.entries == []


class _Deaf:
    """A peer that says all its replies at once and never reads."""

    async def __aenter__(self) -> int:
        self._writers: list[asyncio.StreamWriter] = []
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        # A small window, so that the kernel does not take all of it on the peer's behalf.
        self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(b"220 deaf\r\n")
        await reader.readline()
        writer.write(b"250 deaf\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(reply)
        writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()


async def test_without_leave_of_the_journal_no_dot_is_sent() -> None:
    """A worker whose lease is stale sends no final dot: its mail may be with another one already."""
    journal = NotedJournal(may_send=False)
    async with ScriptedPeer() as peer, carrier_to(peer.port, journal) as carrier:
        report = await carrier.deliver(mail())

    assert report.outcome == NotTried("released")
    assert peer.contents == []


# ---- sessions --------------------------------------------------------------------------------------------


async def test_a_kept_session_that_the_peer_closed_costs_no_attempt() -> None:
    script = "GREET\nENVELOPE\nCONTENT\nS: 250 ok\nC: MAIL\nCLOSE"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        first = await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert [type(r.outcome) for r in (first, second)] == [Accepted, Accepted]
    assert [len(c.contents) for c in peer.conversations] == [1, 1]


@pytest.mark.parametrize("closing", ["C: MAIL\nS: 421 enough", "C: MAIL\nC: RCPT\nS: 250 ok\nS: 421 enough"])
async def test_a_peer_that_ends_a_long_session_with_421_costs_no_attempt(closing: str) -> None:
    script = f"GREET\nENVELOPE\nCONTENT\nS: 250 ok\n{closing}\nHANG"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert isinstance(second.outcome, Accepted)
    assert len(peer.contents) == 2


async def test_a_dot_in_doubt_on_a_kept_session_is_not_sent_again() -> None:
    script = "GREET\nENVELOPE\nCONTENT\nS: 250 ok\nENVELOPE\nCONTENT\nDROP"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert isinstance(second.outcome, Broken)
    assert second.outcome.in_doubt
    assert len(peer.contents) == 2


async def test_a_session_carries_no_more_messages_than_it_may() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, messages_per_session=2) as carrier:
        outcomes = [(await carrier.deliver(mail())).outcome for _ in range(5)]

    assert [type(o) for o in outcomes] == [Accepted] * 5
    assert [len(c.contents) for c in peer.conversations] == [2, 2, 1]
    assert [c.heard[-1] for c in peer.conversations] == ["QUIT"] * 3


async def test_an_old_session_is_not_used_again() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, session_seconds=0.0) as carrier:
        await carrier.deliver(mail())
        await carrier.deliver(mail())

    assert len(peer.conversations) == 2


async def test_a_site_gets_no_more_connections_than_allowed() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, connections_per_site=3) as carrier:
        reports = await asyncio.gather(*(carrier.deliver(mail()) for _ in range(20)))
        stats = carrier.stats()[f"route:127.0.0.1:{peer.port}"]

    assert [type(r.outcome) for r in reports] == [Accepted] * 20
    assert len(peer.conversations) == 3
    assert (stats.open, stats.busy, stats.waiting) == (3, 0, 0)


async def test_who_waits_for_a_session_is_served_in_order() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, connections_per_site=1) as carrier:
        contents = [b"Subject: %d\r\n\r\n\r\n" % i for i in range(8)]
        await asyncio.gather(*(carrier.deliver(mail(c)) for c in contents))

    assert peer.contents == contents


async def test_without_a_permit_mail_goes_back_to_the_queue() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, connections_of=lambda site: 0) as carrier:
        report = await carrier.deliver(mail())

    assert report.outcome == NotTried("no_permit")
    assert peer.conversations == []


async def test_mail_that_waits_too_long_for_a_session_goes_back_to_the_queue() -> None:
    async with (
        ScriptedPeer(HANG_AFTER_DOT) as peer,
        carrier_to(peer.port, connections_per_site=1, wait_seconds=0.05) as carrier,
    ):
        first = asyncio.create_task(carrier.deliver(mail()))
        await asyncio.sleep(0)
        second = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)
        in_doubt = (await first).outcome

    assert second.outcome == NotTried("no_permit")
    assert isinstance(in_doubt, Broken)


async def test_room_that_grows_is_used_by_who_waits() -> None:
    allowed = [1]
    async with (
        ScriptedPeer(HANG_AFTER_DOT) as peer,
        carrier_to(peer.port, connections_of=lambda site: allowed[0], wait_seconds=0.2) as carrier,
    ):
        first = asyncio.create_task(carrier.deliver(mail()))
        await asyncio.sleep(0)
        second = asyncio.create_task(carrier.deliver(mail()))
        await asyncio.sleep(0)
        allowed[0] = 2
        outcome = (await second).outcome
        await carrier.close(grace_seconds=0)
        await first

    assert isinstance(outcome, Accepted)


async def test_who_waits_at_a_site_that_takes_nothing_more_goes_back_to_the_queue() -> None:
    allowed = [1]
    async with (
        ScriptedPeer() as peer,
        carrier_to(peer.port, connections_of=lambda site: allowed[0], wait_seconds=600) as carrier,
    ):
        first = asyncio.create_task(carrier.deliver(mail()))
        await asyncio.sleep(0)
        second = asyncio.create_task(carrier.deliver(mail()))
        await asyncio.sleep(0)
        allowed[0] = 0
        outcomes = [(await first).outcome, (await asyncio.wait_for(second, 60)).outcome]

    assert isinstance(outcomes[0], Accepted)
    assert outcomes[1] == NotTried("no_permit")


async def test_an_idle_session_is_ended_politely() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, idle_seconds=0.02) as carrier:
        await carrier.deliver(mail())
        async with asyncio.timeout(2):
            while carrier.stats():
                await asyncio.sleep(0.01)

    assert peer.conversations[0].heard[-1] == "QUIT"


# ---- hosts -----------------------------------------------------------------------------------------------


def _live(dns: DnsServer, port: int, **more: Any) -> SmtpCarrier:
    own = settings(mode=Mode.LIVE, port=port, **more)
    finder = MxFinder(Lookup([dns.place], seconds=1.0), allow_private=True, rules=own.rules)
    return SmtpCarrier(own, finder, NotedJournal())


TWO_HOSTS = {
    ("example.net", "MX"): ["10 first.example.net.", "20 second.example.net."],
    ("first.example.net", "A"): ["127.0.0.2"],
    ("second.example.net", "A"): ["127.0.0.1"],
}


async def test_all_domains_of_a_provider_share_its_limits() -> None:
    text = '[provider.big]\nmx = ["big.test"]\nconnections = 2\nmessages_per_session = 3\nsource = "assumed"'
    zone = {
        ("one.test", "MX"): ["10 one.big.test."],
        ("two.test", "MX"): ["10 two.big.test."],
        ("one.big.test", "A"): ["127.0.0.1"],
        ("two.big.test", "A"): ["127.0.0.1"],
    }
    most = 0
    async with ScriptedPeer() as peer, DnsServer(zone) as dns:
        carrier = _live(dns, peer.port, rules=SiteRules.parse({"sites.toml": text}))

        async def send(domain: str) -> str | None:
            nonlocal most
            report = await carrier.deliver(mail(domain=domain))
            assert isinstance(report.outcome, Accepted)
            most = max(most, carrier.stats()["provider:big"].open)
            return report.site

        sites = await asyncio.gather(*(send(f"{name}.test") for name in ("one", "two") * 10))
        await carrier.close(grace_seconds=1)

    assert set(sites) == {"provider:big"}
    assert most == 2
    assert max(len(c.contents) for c in peer.conversations) == 3
    assert sum(len(c.contents) for c in peer.conversations) == 20


@pytest.mark.parametrize(("limit", "goes_back"), [("messages_per_hour = 500\n", True), ("", False)])
async def test_mail_of_a_domain_not_yet_looked_up_does_not_pass_its_providers_ceiling(
    limit: str, goes_back: bool
) -> None:
    """It was claimed without the tokens of the site that it turns out to be for."""
    text = f'[provider.big]\nmx = ["example.net"]\n{limit}source = "assumed"'
    async with ScriptedPeer() as peer, DnsServer(TWO_HOSTS) as dns:
        carrier = _live(dns, peer.port, rules=SiteRules.parse({"sites.toml": text}))
        first = await carrier.deliver(mail(is_unsited=True))
        again = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert (first.outcome == NotTried(WaitReason.RELEASED)) is goes_back
    assert first.site == "provider:big"
    assert isinstance(again.outcome, Accepted)
    assert sum(len(c.contents) for c in peer.conversations) == (1 if goes_back else 2)


async def test_the_next_host_is_tried_when_the_first_cannot_be_reached() -> None:
    """RFC 5321 §5.1."""
    async with ScriptedPeer() as peer, DnsServer(TWO_HOSTS) as dns:
        carrier = _live(dns, peer.port)
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Accepted)
    assert (report.site, report.host) == ("mx:first.example.net+1", "second.example.net")
    assert carrier.site_of("example.net") == "mx:first.example.net+1"


@pytest.mark.parametrize(
    "first",
    [
        "S: 421 busy\nHANG",
        "S: 554 no service\nHANG",
        "DROP",
        "HANG",
        "GARBAGE\nHANG",
        "S: 220 hi\nC: EHLO\nS: 421 busy\nHANG",
        "GREET\nC: MAIL\nS: 421 busy\nHANG",
        "GREET\nC: MAIL\nDROP",
    ],
)
async def test_the_next_address_is_tried_when_the_first_takes_up_no_transaction(first: str) -> None:
    zone = {("example.net", "A"): ["127.0.0.1", "127.0.0.1"], ("example.net", "MX"): MX_TWICE} | SAME_HOST
    async with ScriptedPeer(first) as peer, DnsServer(zone) as dns:
        carrier = _live(dns, peer.port, timeouts=impatient_at(Phase.GREETING))
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Accepted)
    assert len(peer.conversations) == 2


MX_TWICE = ["10 first.example.net.", "10 second.example.net."]
SAME_HOST = {("first.example.net", "A"): ["127.0.0.1"], ("second.example.net", "A"): ["127.0.0.1"]}


@pytest.mark.parametrize(
    "first",
    [
        "GREET\nC: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 451 later\nS: 503 no\nHANG",
        "GREET\nENVELOPE\nCONTENT\nDROP",
        "GREET\nENVELOPE\nCONTENT\nS: 421 closing\nHANG",
    ],
)
async def test_no_other_host_is_tried_once_one_spoke_of_the_mail(first: str) -> None:
    zone = {("example.net", "MX"): MX_TWICE} | SAME_HOST
    async with ScriptedPeer(first) as peer, DnsServer(zone) as dns:
        carrier = _live(dns, peer.port)
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Refused | Broken)
    assert len(peer.conversations) == 1


async def test_a_host_that_cannot_be_reached_is_tried_last_for_a_while() -> None:
    async with ScriptedPeer() as peer, DnsServer(TWO_HOSTS) as dns:
        carrier = _live(dns, peer.port, messages_per_session=1)
        await carrier.deliver(mail())
        second = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert second.steps[0].text == f"connecting to second.example.net 127.0.0.1:{peer.port}"


async def test_a_temporary_failure_is_not_hidden_by_a_permanent_one() -> None:
    zone = {
        ("example.net", "MX"): ["10 mute.example.net.", "20 absent.example.net."],
        ("example.net", "TXT"): ["x"],
    }
    async with DnsServer(zone, faults={"mute.example.net": "servfail"}) as dns:
        carrier = _live(dns, 1)
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Unroutable)
    assert report.outcome.status == "4.4.3"
    assert report.site == "mx:mute.example.net+1"


async def test_live_mail_is_not_led_to_the_inside_of_our_network() -> None:
    async with ScriptedPeer() as peer, DnsServer(TWO_HOSTS) as dns:
        finder = MxFinder(Lookup([dns.place], seconds=1.0))
        carrier = SmtpCarrier(settings(mode=Mode.LIVE, port=peer.port), finder, NotedJournal())
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Unroutable)
    assert report.outcome.status == "5.4.4"
    assert peer.conversations == []


async def test_the_sandbox_looks_up_no_strangers() -> None:
    carrier = SmtpCarrier(settings("example.org=127.0.0.1:1"), NoDns(), NotedJournal())
    report = await carrier.deliver(mail(domain="example.net"))
    await carrier.close(grace_seconds=0)

    assert isinstance(report.outcome, Unroutable)
    assert report.outcome.status == "4.4.4"


async def test_all_hosts_together_get_no_more_than_the_time_of_an_attempt() -> None:
    async with (
        ScriptedPeer("HANG", "HANG") as peer,
        DnsServer({("example.net", "MX"): MX_TWICE} | SAME_HOST) as dns,
    ):
        carrier = _live(dns, peer.port, attempt_seconds=0.1)
        report = await carrier.deliver(mail())
        await carrier.close(grace_seconds=0)

    assert report.outcome == Broken(Phase.CONNECT, "the time for this attempt was over")
    assert len(peer.conversations) == 1


# ---- stopping --------------------------------------------------------------------------------------------


async def _until(peer: ScriptedPeer, line: str, contents: int = 0) -> None:
    """Returns when the peer heard a line, and so many contents to their dot."""
    async with asyncio.timeout(2):
        while not (any(line in c.heard for c in peer.conversations) and len(peer.contents) >= contents):
            await asyncio.sleep(0.001)


async def test_closing_takes_back_what_has_not_sent_its_dot() -> None:
    journal = NotedJournal()
    async with (
        ScriptedPeer(HANG_AT_RCPT) as peer,
        carrier_to(peer.port, journal, connections_per_site=1) as carrier,
    ):
        dialled = asyncio.create_task(carrier.deliver(mail()))
        waiting = asyncio.create_task(carrier.deliver(mail()))
        await _until(peer, "DATA")
        await carrier.close(grace_seconds=5)
        late = await carrier.deliver(mail())
        outcomes = [(await dialled).outcome, (await waiting).outcome, late.outcome]

    assert outcomes == [NotTried("released")] * 3
    assert journal.entries == []


async def test_closing_waits_for_the_reply_to_a_dot_that_was_sent() -> None:
    script = "GREET\nENVELOPE\nCONTENT\nWAIT 0.1\nS: 250 2.0.0 taken"
    async with ScriptedPeer(script) as peer, carrier_to(peer.port) as carrier:
        task = asyncio.create_task(carrier.deliver(mail()))
        await _until(peer, "DATA", contents=1)
        await carrier.close(grace_seconds=5)
        outcome = (await task).outcome

    assert isinstance(outcome, Accepted)


async def test_closing_leaves_in_doubt_what_was_not_answered_in_time() -> None:
    async with ScriptedPeer(HANG_AFTER_DOT) as peer, carrier_to(peer.port) as carrier:
        task = asyncio.create_task(carrier.deliver(mail()))
        await _until(peer, "DATA", contents=1)
        await carrier.close(grace_seconds=0.05)
        outcome = (await task).outcome

    assert isinstance(outcome, Broken)
    assert outcome.in_doubt


async def test_who_cancels_a_delivery_gets_its_cancellation() -> None:
    async with ScriptedPeer(HANG_AT_RCPT) as peer, carrier_to(peer.port) as carrier:
        task = asyncio.create_task(carrier.deliver(mail()))
        await _until(peer, "DATA")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert carrier.stats() == {}
