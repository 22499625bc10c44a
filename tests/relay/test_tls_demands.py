"""No mail without the TLS that its recipient's domain, its sender or our rules ask for."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import clock
from mailer.policy.outcome import Accepted, Broken, Outcome, Unsuitable
from mailer.policy.sites import SiteRules
from mailer.policy.tls import Wanted, Wish
from mailer.policy.tls_dane import Tlsa
from mailer.policy.tls_sts import StsMode
from mailer.protocol.phase import Phase
from mailer.relay.carrier import Report
from tests.support.chains import authority, host
from tests.support.mx_tls import MX, World, carrier_in, policy
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import mail

ROOT, OTHERS = authority("root"), authority("somebody else")
GOOD = host(MX, "mx2.example.net", issuer=ROOT)
WRONG_NAME = host("else.example.net", issuer=ROOT)
OUTDATED = host(MX, issuer=ROOT, until=clock.now() - timedelta(days=1))
SELF_MADE = host(MX)
BY_OTHERS = host(MX, issuer=OTHERS)
OFFERS_REQUIRETLS = ("mx.example.net", "PIPELINING", "REQUIRETLS")
CLEAR = "S: 220 hi\nC: EHLO\nS: 250 hi"
FAILING = "S: 220 hi\nC: EHLO\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nGARBAGE\nHANG"
ENFORCED = {"example.net": policy()}
STREAM = Wanted(Wish.REQUIRED, "stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chains")


@pytest.fixture
def good(folder: Path) -> ssl.SSLContext:
    return GOOD.served(folder)


@pytest.fixture
def self_made(folder: Path) -> ssl.SSLContext:
    return SELF_MADE.served(folder)


def is_refused_for_tls(outcome: Outcome) -> bool:
    return isinstance(outcome, Broken) and outcome.phase is Phase.STARTTLS


def proven(report: Report) -> str:
    """What the attempt's column says behind version and cipher."""
    return (report.tls or "").partition(" verified=")[2]


# ---- DANE ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([GOOD.tlsa(3, 1, 1)], "dane-ee policy=dane"),
        ([SELF_MADE.tlsa(3, 1, 1), GOOD.tlsa(3, 0, 2)], "dane-ee policy=dane"),
        ([ROOT.tlsa(2, 0, 1)], "dane-ta policy=dane"),
        ([Tlsa(1, 1, 1, b"x" * 32)], "no policy=dane-unusable"),
        ([Tlsa(1, 1, 1, b"x" * 32), GOOD.tlsa(3, 1, 1)], "dane-ee policy=dane"),
    ],
)
async def test_a_certificate_that_the_records_name(folder: Path, records: list[Tlsa], says: str) -> None:
    """RFC 7672 §2.2, §3: nobody else has to trust it."""
    world = World(tlsa={MX: records})
    async with (
        ScriptedPeer(tls=GOOD.served(folder, whole=True)) as peer,
        carrier_in(world, peer.port) as carrier,
    ):
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert proven(report) == says
    assert world.counted == {("tlsa", "example.net", "success"): 1}


async def test_a_mismatch_gets_nothing_and_mta_sts_does_not_mend_it(good: ssl.SSLContext) -> None:
    """RFC 8461 §2. The certificate is right for the web."""
    world = World(tlsa={MX: [SELF_MADE.tlsa(3, 1, 1)]}, sts=ENFORCED)
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail())

    assert is_refused_for_tls(report.outcome)
    assert "no TLSA record matches the certificate (3 1 1)" in str(report.outcome)
    assert peer.contents == []
    assert world.counted == {("tlsa", "example.net", "validation-failure"): 1}


async def test_dane_without_starttls_gets_nothing() -> None:
    world = World(tlsa={MX: [GOOD.tlsa(3, 1, 1)]})
    async with ScriptedPeer() as peer, carrier_in(world, peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert is_refused_for_tls(report.outcome)
    assert peer.contents == []
    assert world.counted == {("tlsa", "example.net", "starttls-not-supported"): 1}


async def test_unusable_records_want_tls_all_the_same() -> None:
    """RFC 7672 §2.2."""
    world = World(tlsa={MX: [Tlsa(1, 1, 1, b"x" * 32)]})
    async with ScriptedPeer() as peer, carrier_in(world, peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert is_refused_for_tls(report.outcome)
    assert peer.contents == []


async def test_a_failed_look_up_bars_the_host_and_the_next_one_is_asked(good: ssl.SSLContext) -> None:
    """RFC 7672 §2.2: as if the host could not be reached."""
    world = World(hosts=(MX, "mx2.example.net"), unanswered={MX: "SERVFAIL"})
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert report.host == "mx2.example.net"
    assert world.counted == {
        ("tlsa", "example.net", "dnssec-invalid"): 1,
        ("no-policy-found", "example.net", "success"): 1,
    }


async def test_with_all_hosts_barred_the_mail_waits(good: ssl.SSLContext) -> None:
    world = World(unanswered={MX: "SERVFAIL"})
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert is_refused_for_tls(report.outcome)
    assert "SERVFAIL" in str(report.outcome)
    assert peer.conversations == []


async def test_an_mx_set_that_is_not_secure_has_no_dane(self_made: ssl.SSLContext) -> None:
    """RFC 7672 §2.2.1."""
    world = World(is_secure=False, tlsa={MX: [GOOD.tlsa(3, 1, 1)]})
    async with ScriptedPeer(tls=self_made) as peer, carrier_in(world, peer.port) as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert proven(report) == "no"


# ---- MTA-STS ---------------------------------------------------------------------------------------------


async def test_an_enforced_policy_asks_for_a_right_certificate(good: ssl.SSLContext) -> None:
    world = World(sts=ENFORCED)
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert proven(report) == "yes policy=mta-sts"
    assert world.counted == {("sts", "example.net", "success"): 1}


@pytest.mark.parametrize(
    ("certificate", "result"),
    [
        (WRONG_NAME, "certificate-host-mismatch"),
        (OUTDATED, "certificate-expired"),
        (SELF_MADE, "certificate-not-trusted"),
        (BY_OTHERS, "certificate-not-trusted"),
    ],
)
@pytest.mark.parametrize("mode", [StsMode.ENFORCE, StsMode.TESTING])
async def test_a_wrong_certificate_gets_nothing_but_in_testing(
    folder: Path, certificate: object, result: str, mode: StsMode
) -> None:
    """RFC 8461 §5. Both are reported, once a session."""
    world = World(sts={"example.net": policy(mode)})
    served = certificate.served(folder)  # type: ignore[attr-defined]
    async with ScriptedPeer(tls=served) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        reports = [await carrier.deliver(mail()) for _ in range(2)]

    is_testing = mode is StsMode.TESTING
    assert [isinstance(r.outcome, Accepted) for r in reports] == [is_testing] * 2
    assert [is_refused_for_tls(r.outcome) for r in reports] == [not is_testing] * 2
    assert len(peer.contents) == (2 if is_testing else 0)
    assert world.counted == {("sts", "example.net", result): 1 if is_testing else 2}
    assert {proven(r) for r in reports} == {"no policy=mta-sts-testing" if is_testing else ""}


async def test_a_stripped_starttls_is_reported_in_testing_and_the_mail_goes() -> None:
    world = World(sts={"example.net": policy(StsMode.TESTING)})
    async with ScriptedPeer() as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail())

    assert isinstance(report.outcome, Accepted)
    assert report.tls is None
    assert world.counted == {("sts", "example.net", "starttls-not-supported"): 1}


@pytest.mark.parametrize("mode", [StsMode.ENFORCE, StsMode.TESTING])
async def test_a_host_that_the_policy_does_not_name(good: ssl.SSLContext, mode: StsMode) -> None:
    """RFC 8461 §4.1: whoever forged the MX set is not spoken to."""
    world = World(sts={"example.net": policy(mode, mx="mx9.example.net")})
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail())

    is_testing = mode is StsMode.TESTING
    assert isinstance(report.outcome, Accepted) == is_testing
    assert len(peer.conversations) == is_testing
    assert world.counted == {("sts", "example.net", "validation-failure"): 1}


# ---- what the sender wants -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "wish", "taken"),
    [
        (GOOD, Wish.REQUIRED, True),
        (SELF_MADE, Wish.REQUIRED, False),
        (SELF_MADE, Wish.ENCRYPTED, True),
        (None, Wish.ENCRYPTED, False),
        (None, Wish.NONE, True),
    ],
)
async def test_a_stream_can_ask_for_tls(folder: Path, certificate: object, wish: Wish, taken: bool) -> None:
    served = certificate.served(folder) if certificate else None  # type: ignore[attr-defined]
    world = World(is_secure=False)
    async with ScriptedPeer(tls=served) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail(tls=Wanted(wish, "stream")))

    assert isinstance(report.outcome, Accepted) is taken
    assert is_refused_for_tls(report.outcome) is not taken
    assert len(peer.contents) == taken


@pytest.mark.parametrize(
    ("rule", "by"),
    [
        ('[provider.net]\nmx = ["example.net"]\ntls = "required"\nsource = "assumed"', "provider-rule"),
        ('[domain."example.net"]\ntls = "required"\nsource = "assumed"', "domain-rule"),
        ('[domain.".net"]\ntls = "required"\nsource = "assumed"', "domain-rule"),
    ],
)
async def test_rules_can_ask_for_tls(
    good: ssl.SSLContext, self_made: ssl.SSLContext, rule: str, by: str
) -> None:
    world = World(is_secure=False, rules=SiteRules.parse({"sites.toml": rule}))
    async with ScriptedPeer(tls=good) as right, carrier_in(world, right.port, ROOT) as carrier:
        first = await carrier.deliver(mail())
    async with ScriptedPeer(tls=self_made) as wrong, carrier_in(world, wrong.port, ROOT) as carrier:
        second = await carrier.deliver(mail(tls=Wanted(Wish.OPTIONAL, "message")))

    assert proven(first) == f"yes policy={by}"
    assert is_refused_for_tls(second.outcome)
    assert wrong.contents == []


async def test_tls_required_no_has_its_mail_in_clear_rather_than_not_at_all() -> None:
    """RFC 8689 §5, though the host was seen with TLS and its domain enforces it."""
    world = World(sts=ENFORCED, tlsa={MX: [GOOD.tlsa(3, 1, 1)]})
    world.memory.note_tls(MX, clock.now())
    letter = mail(tls=Wanted(Wish.OPTIONAL, "message"))
    async with ScriptedPeer(FAILING, CLEAR) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        first = await carrier.deliver(letter)
        second = await carrier.deliver(mail(tls=letter.tls))

    assert is_refused_for_tls(first.outcome)  # the next try is in clear
    assert isinstance(second.outcome, Accepted)
    assert second.tls is None
    assert world.counted == {}


async def test_no_policy_is_asked_for_where_none_would_matter() -> None:
    """A fetch that fails is counted for a report: of mail that bears the last one, too (RFC 8460 §5.3)."""
    world = World(sts=ENFORCED)
    async with ScriptedPeer(CLEAR) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        report = await carrier.deliver(mail(tls=Wanted(Wish.OPTIONAL, "message")))

    assert isinstance(report.outcome, Accepted)
    assert (world.asked, world.counted) == ([], {})


async def test_requiretls_goes_on_to_a_host_that_offers_it(good: ssl.SSLContext) -> None:
    """RFC 8689 §4.2.1."""
    world = World(sts=ENFORCED)
    letter = mail(tls=Wanted(Wish.REQUIRETLS, "message"))
    async with (
        ScriptedPeer(tls=good, extensions=OFFERS_REQUIRETLS) as peer,
        carrier_in(world, peer.port, ROOT) as carrier,
    ):
        report = await carrier.deliver(letter)
        await carrier.deliver(mail())

    said = [line for line in peer.conversations[0].heard if line.startswith("MAIL")]
    assert isinstance(report.outcome, Accepted)
    assert said == ["MAIL FROM:<bounce@example.com> REQUIRETLS", "MAIL FROM:<bounce@example.com>"]


@pytest.mark.parametrize(
    ("certificate", "extensions", "sts"),
    [
        (GOOD, ("mx.example.net", "PIPELINING"), ENFORCED),
        (SELF_MADE, OFFERS_REQUIRETLS, ENFORCED),
        (GOOD, OFFERS_REQUIRETLS, {}),  # nobody vouches for the MX set
        (None, OFFERS_REQUIRETLS, ENFORCED),
    ],
)
async def test_requiretls_that_cannot_be_kept_fails_the_recipient(
    folder: Path, certificate: object, extensions: tuple[str, ...], sts: dict[str, object]
) -> None:
    served = certificate.served(folder) if certificate else None  # type: ignore[attr-defined]
    world = World(is_secure=False, sts=sts)  # type: ignore[arg-type]
    async with (
        ScriptedPeer(tls=served, extensions=extensions) as peer,
        carrier_in(world, peer.port, ROOT) as carrier,
    ):
        report = await carrier.deliver(mail(tls=Wanted(Wish.REQUIRETLS, "message")))

    assert isinstance(report.outcome, Unsuitable)
    assert report.outcome.status == "5.7.30"
    assert peer.contents == []


async def test_requiretls_waits_for_a_name_server_to_answer(good: ssl.SSLContext) -> None:
    world = World(unanswered={MX: "SERVFAIL"})
    async with (
        ScriptedPeer(tls=good, extensions=OFFERS_REQUIRETLS) as peer,
        carrier_in(world, peer.port) as c,
    ):
        report = await c.deliver(mail(tls=Wanted(Wish.REQUIRETLS, "message")))

    assert is_refused_for_tls(report.outcome)


async def test_requiretls_waits_for_a_host_that_was_not_heard_out(good: ssl.SSLContext) -> None:
    """A handshake that breaks off says nothing of what the host would have proved."""
    world = World(sts=ENFORCED)
    letter = Wanted(Wish.REQUIRETLS, "message")
    async with (
        ScriptedPeer(FAILING, tls=good, extensions=OFFERS_REQUIRETLS) as peer,
        carrier_in(world, peer.port, ROOT) as carrier,
    ):
        first = await carrier.deliver(mail(tls=letter))
        second = await carrier.deliver(mail(tls=letter))

    assert is_refused_for_tls(first.outcome)
    assert isinstance(second.outcome, Accepted)


async def test_a_failure_is_counted_with_its_host_and_ours(self_made: ssl.SSLContext) -> None:
    """RFC 8460 §4.4: sending-mta-ip, receiving-mx-hostname, receiving-ip."""
    world = World(sts=ENFORCED)
    async with ScriptedPeer(tls=self_made) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        await carrier.deliver(mail())
        [kind] = world.results.taken()

    assert (kind.host, kind.address, kind.sending_ip) == (MX, "127.0.0.1", "127.0.0.1")
    assert "CERTIFICATE_VERIFY_FAILED" in kind.reason
    assert kind.published.lines == ("version: STSv1", "mode: enforce")


# ---- sessions --------------------------------------------------------------------------------------------


async def test_a_kept_session_without_proof_is_not_used_for_a_domain_that_asks_for_it(
    self_made: ssl.SSLContext,
) -> None:
    """The host is the same, and so is its session; DANE came in between."""
    world = World()
    async with ScriptedPeer(tls=self_made) as peer, carrier_in(world, peer.port) as carrier:
        plain = await carrier.deliver(mail(domain="plain.example"))
        world.tlsa = {MX: [GOOD.tlsa(3, 1, 1)]}
        strict = await carrier.deliver(mail(domain="strict.example"))

    assert isinstance(plain.outcome, Accepted)
    assert is_refused_for_tls(strict.outcome)
    assert [len(c.contents) for c in peer.conversations] == [1, 0]


async def test_a_session_that_proved_more_carries_mail_that_asks_for_less(good: ssl.SSLContext) -> None:
    world = World(sts={"strict.example": policy()})
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port, ROOT) as carrier:
        strict = await carrier.deliver(mail(domain="strict.example"))
        plain = [await carrier.deliver(mail(domain="plain.example")) for _ in range(2)]

    assert [len(c.contents) for c in peer.conversations] == [3]
    assert [proven(r) for r in (strict, *plain)] == ["yes policy=mta-sts", "yes", "yes"]
    assert world.counted == {
        ("sts", "strict.example", "success"): 1,
        ("no-policy-found", "plain.example", "success"): 1,
    }


async def test_one_session_serves_the_dane_domains_of_one_host(good: ssl.SSLContext) -> None:
    world = World(tlsa={MX: [GOOD.tlsa(3, 1, 1)]})
    async with ScriptedPeer(tls=good) as peer, carrier_in(world, peer.port) as carrier:
        reports = [await carrier.deliver(mail(domain=f"{n}.example")) for n in "ab"]

    assert [proven(r) for r in reports] == ["dane-ee policy=dane"] * 2
    assert [len(c.contents) for c in peer.conversations] == [2]
    assert world.counted == {("tlsa", f"{n}.example", "success"): 1 for n in "ab"}


async def test_what_is_in_clear_is_counted_as_such() -> None:
    world = World(is_secure=False)
    async with ScriptedPeer() as peer, carrier_in(world, peer.port) as carrier:
        await carrier.deliver(mail())
        await carrier.deliver(mail())

    assert world.counted == {("no-policy-found", "example.net", "starttls-not-supported"): 1}
