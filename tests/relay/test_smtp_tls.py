"""STARTTLS, implicit TLS, AUTH, and when mail may go in clear."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer import clock
from mailer.policy.outcome import Accepted, Broken, Refused
from mailer.policy.routing import TlsMode
from mailer.protocol.phase import Phase
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.session import Target
from mailer.relay.smtp.tls import RecentTls, TlsContexts
from tests.support.certificates import server_context, trusting_context
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import NoDns, NotedJournal, carrier_to, mail, settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOST = "127.0.0.1"
OFFER = "S: 220 hi\nC: EHLO\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def server_tls(folder: Path) -> ssl.SSLContext:
    return server_context(folder)


@pytest.fixture
def trusting(folder: Path, server_tls: ssl.SSLContext) -> TlsContexts:
    return TlsContexts(trusting_context(folder))


async def test_a_self_signed_certificate_is_better_than_clear_text(server_tls: ssl.SSLContext) -> None:
    """RFC 7435 §3."""
    memory = RecentTls()
    async with (
        ScriptedPeer(tls=server_tls) as peer,
        carrier_to(peer.port, tls="opportunistic", tls_memory=memory) as carrier,
    ):
        first = await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert [type(r.outcome) for r in (first, second)] == [Accepted, Accepted]
    assert [c.over_tls for c in peer.conversations] == [True]
    assert [c.heard.count("EHLO client.example") for c in peer.conversations] == [2]
    assert first.tls == second.tls
    assert (first.tls or "").startswith("TLSv1.3 TLS_")
    assert (first.tls or "").endswith("verified=no")
    assert first.tls in [s.text for s in first.steps]
    assert memory.seen_with_tls(HOST, clock.now())


async def test_a_route_without_tls_stays_in_clear(server_tls: ssl.SSLContext) -> None:
    async with ScriptedPeer(tls=server_tls) as peer, carrier_to(peer.port, tls="none") as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert report.tls is None


@pytest.mark.parametrize(
    "failing",
    [
        OFFER + "S: 220 go\nGARBAGE\nHANG",
        OFFER + "S: 220 go\nDROP",
        OFFER + "S: 220 go\nS: 250 injected\nHANG",
        OFFER + "S: 220 go\nHALF 250 inj\nHANG",
        OFFER + "DROP",
    ],
)
async def test_after_a_failed_handshake_mail_waits_once_then_goes_in_clear(failing: str) -> None:
    """The second script offers STARTTLS again; it is not asked for."""
    clear = "S: 220 hi\nC: EHLO\nS: 250-hi\nS: 250 STARTTLS\nC: MAIL\nS: 250 ok"
    async with (
        ScriptedPeer(failing, clear) as peer,
        carrier_to(peer.port, tls="opportunistic") as carrier,
    ):
        first = await carrier.deliver(mail())
        second = await carrier.deliver(mail())

    assert isinstance(first.outcome, Broken)
    assert first.outcome.phase is Phase.STARTTLS
    assert isinstance(second.outcome, Accepted)
    assert second.tls is None
    assert peer.faults == []


async def test_a_refused_starttls_keeps_the_peers_words() -> None:
    async with (
        ScriptedPeer(OFFER + "S: 454 4.7.0 TLS not available\nHANG") as peer,
        carrier_to(peer.port, tls="opportunistic") as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Refused)
    assert (report.outcome.phase, report.outcome.reply.code) == (Phase.STARTTLS, 454)


@pytest.mark.parametrize(
    ("script", "phase"),
    [
        (OFFER + "S: 220 go\nGARBAGE\nHANG", Phase.STARTTLS),
        ("S: 220 hi\nC: EHLO\nS: 250 hi\nHANG", Phase.STARTTLS),
    ],
)
async def test_a_host_seen_with_tls_gets_no_clear_text(script: str, phase: Phase) -> None:
    """Whether its handshake fails or its offer was stripped on the way."""
    memory = RecentTls()
    memory.note_tls(HOST, clock.now())
    async with (
        ScriptedPeer(script, script) as peer,
        carrier_to(peer.port, tls="opportunistic", tls_memory=memory) as carrier,
    ):
        outcomes = [(await carrier.deliver(mail())).outcome for _ in range(2)]

    assert [o.phase for o in outcomes if isinstance(o, Broken)] == [phase, phase]


async def test_a_required_certificate_is_verified(server_tls: ssl.SSLContext, trusting: TlsContexts) -> None:
    async with (
        ScriptedPeer(tls=server_tls) as peer,
        carrier_to(peer.port, tls="required", tls_contexts=trusting) as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert (report.tls or "").endswith("verified=yes")


async def test_a_required_certificate_that_is_wrong_gets_nothing(server_tls: ssl.SSLContext) -> None:
    async with ScriptedPeer(tls=server_tls) as peer, carrier_to(peer.port, tls="required") as carrier:
        outcomes = [(await carrier.deliver(mail())).outcome for _ in range(2)]

    assert [o.phase for o in outcomes if isinstance(o, Broken)] == [Phase.STARTTLS] * 2
    assert "CERTIFICATE_VERIFY_FAILED" in str(outcomes[0])
    assert peer.contents == []


async def test_required_tls_that_is_not_offered_gets_nothing() -> None:
    async with ScriptedPeer() as peer, carrier_to(peer.port, tls="required") as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Broken)
    assert report.outcome.phase is Phase.STARTTLS


async def test_implicit_tls_begins_with_the_handshake(
    server_tls: ssl.SSLContext, trusting: TlsContexts
) -> None:
    """RFC 8314 §3.3."""
    async with (
        ScriptedPeer(tls=server_tls, implicit_tls=True) as peer,
        carrier_to(peer.port, tls="implicit", tls_contexts=trusting) as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert (report.tls or "").endswith("verified=yes")


async def test_a_smart_host_gets_our_password_and_the_transcript_does_not() -> None:
    async with (
        ScriptedPeer(users={"ann": "s3cret"}) as peer,
        carrier_to(peer.port, tls="none;user=ann;password=s3cret") as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert [s.text for s in report.steps if "AUTH" in s.text] == ["250 AUTH PLAIN LOGIN", "AUTH ***"]
    assert not any("s3cret" in s.text or "AGFubgBzM2NyZXQ=" in s.text for s in report.steps)


async def test_a_wrong_password_is_the_hosts_refusal() -> None:
    async with (
        ScriptedPeer(
            "S: 220 hi\nC: EHLO\nS: 250-hi\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 535 5.7.8 no\nHANG"
        ) as peer,
        carrier_to(peer.port, tls="none;user=ann;password=wrong") as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Refused)
    assert (report.outcome.phase, report.outcome.reply.code) == (Phase.AUTH, 535)


async def test_a_smart_host_without_auth_is_not_used_when_a_password_is_set() -> None:
    async with (
        ScriptedPeer() as peer,
        carrier_to(peer.port, tls="none;user=ann;password=x") as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Broken)
    assert report.outcome.phase is Phase.AUTH
    assert peer.contents == []


async def test_a_session_in_clear_serves_no_route_with_tls(server_tls: ssl.SSLContext) -> None:
    async with ScriptedPeer(tls=server_tls) as peer:
        place = f"{HOST}:{peer.port}"
        routes = f"clear.example={place};tls=none,safe.example={place};tls=opportunistic"
        carrier = SmtpCarrier(settings(routes), NoDns(), NotedJournal())
        clear = await carrier.deliver(mail(domain="clear.example"))
        safe = await carrier.deliver(mail(domain="safe.example"))
        await carrier.close(grace_seconds=0)

    assert clear.tls is None
    assert safe.tls is not None
    assert clear.site == safe.site
    assert len(peer.conversations) == 2


def test_a_targets_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Target("h", 25, TlsMode.NONE, "ann", "s3cret"))


def test_hosts_are_remembered_for_thirty_days() -> None:
    memory = RecentTls()
    memory.note_tls("mx", NOW)

    assert memory.seen_with_tls("mx", NOW + timedelta(days=29, hours=23))
    assert not memory.seen_with_tls("mx", NOW + timedelta(days=30))
    assert not memory.seen_with_tls("other", NOW)


def test_a_failure_is_forgotten_after_a_day_or_a_success() -> None:
    memory = RecentTls()
    memory.note_failure("mx", NOW)
    memory.note_failure("recovered", NOW)
    memory.note_tls("recovered", NOW)

    assert memory.failed_before("mx", NOW + timedelta(hours=23))
    assert not memory.failed_before("mx", NOW + timedelta(days=1))
    assert not memory.failed_before("recovered", NOW)


def test_the_memory_is_bounded() -> None:
    memory = RecentTls(most=2)
    for host in ("a", "b", "c"):
        memory.note_tls(host, NOW)

    assert [memory.seen_with_tls(h, NOW) for h in ("a", "b", "c")] == [False, True, True]
