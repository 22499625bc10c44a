"""When mail with REQUIRETLS ends, and when it waits (RFC 8689 §4.2.1), where a domain has several hosts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mailer.policy.outcome import Accepted, Broken, Unroutable, Unsuitable
from mailer.policy.tls import Wanted, Wish
from mailer.policy.tls_sts import StsMode, StsPolicy
from mailer.protocol.phase import Phase
from mailer.relay.carrier import Report
from tests.support.chains import authority, host
from tests.support.mx_tls import MX, World, carrier_in
from tests.support.scripted_smtp import ScriptedPeer
from tests.support.smtp_client import mail

SECOND = "mx2.example.net"
HOSTS = (MX, SECOND)
ROOT = authority("root")
GOOD, OF_FIRST = host(*HOSTS, issuer=ROOT), host(MX, issuer=ROOT)
WITHOUT = ("mx.example.net", "PIPELINING")
WITH = (*WITHOUT, "REQUIRETLS")
ENFORCED = {
    "example.net": StsPolicy(mode=StsMode.ENFORCE, mx=HOSTS, max_age=86400, lines=("version: STSv1",))
}
NOBODY_THERE = ("127.0.0.2",)
BUSY = "S: 421 4.3.2 busy\nCLOSE"
BREAKS_OFF = "S: 220 hi\nC: EHLO\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nGARBAGE\nHANG"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chains")


async def delivered(peer: ScriptedPeer, world: World, **more: object) -> Report:
    letter = mail(tls=Wanted(Wish.REQUIRETLS, "message"))
    async with carrier_in(world, peer.port, ROOT, **more) as carrier:
        return await carrier.deliver(letter)


def waits_for(report: Report, *hosts: str) -> bool:
    """Deferred as what fails for TLS is, and told why."""
    outcome = report.outcome
    assert isinstance(outcome, Broken), outcome
    assert outcome.phase is Phase.STARTTLS
    assert "does not offer REQUIRETLS" in outcome.cause
    return outcome.cause.endswith(f"not heard out: {', '.join(hosts)}")


@pytest.mark.parametrize("absent", HOSTS)
async def test_it_waits_while_a_host_cannot_be_reached(folder: Path, absent: str) -> None:
    world = World(hosts=HOSTS, elsewhere={absent: NOBODY_THERE}, sts=ENFORCED)
    async with ScriptedPeer(tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert waits_for(report, absent)
    assert len(peer.conversations) == 1
    assert peer.contents == []


@pytest.mark.parametrize("first", [BUSY, BREAKS_OFF, "CLOSE", "DROP"])
async def test_it_waits_for_a_host_that_did_not_come_to_say_it(folder: Path, first: str) -> None:
    world = World(hosts=HOSTS, sts=ENFORCED)
    async with ScriptedPeer(first, tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert waits_for(report, MX)
    assert len(peer.conversations) == 2


async def test_it_waits_for_a_host_whose_addresses_are_not_known(folder: Path) -> None:
    world = World(hosts=HOSTS, elsewhere={SECOND: Unroutable("4.4.3", "no answer")}, sts=ENFORCED)
    async with ScriptedPeer(tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert waits_for(report, SECOND)


async def test_it_waits_for_hosts_that_an_attempt_has_no_dials_left_for(folder: Path) -> None:
    world = World(hosts=HOSTS, sts=ENFORCED)
    async with ScriptedPeer(tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world, dials=1)

    assert waits_for(report, SECOND)


async def test_it_goes_when_the_host_is_back(folder: Path) -> None:
    world = World(hosts=HOSTS, sts=ENFORCED)
    letters = [mail(tls=Wanted(Wish.REQUIRETLS, "message")) for _ in range(2)]
    async with (
        ScriptedPeer(BUSY, BUSY, tls=GOOD.served(folder), extensions=WITH) as peer,
        carrier_in(world, peer.port, ROOT) as carrier,
    ):
        first, second = [await carrier.deliver(letter) for letter in letters]

    assert not isinstance(first.outcome, Accepted | Unsuitable)
    assert isinstance(second.outcome, Accepted)


@pytest.mark.parametrize(
    "certificate", [GOOD, OF_FIRST], ids=["neither offers it", "and the second does not prove its name"]
)
async def test_it_ends_when_all_hosts_were_asked(folder: Path, certificate: object) -> None:
    world = World(hosts=HOSTS, sts=ENFORCED)
    served = certificate.served(folder)  # type: ignore[attr-defined]
    async with ScriptedPeer(tls=served, extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert isinstance(report.outcome, Unsuitable)
    assert report.outcome.status == "5.7.30"
    assert len(peer.conversations) == 2


@pytest.mark.parametrize("turn", list(itertools.permutations(("127.0.0.1", "127.0.0.2"))))
async def test_one_address_speaks_for_its_host(folder: Path, turn: tuple[str, ...]) -> None:
    """Else a sender without IPv6 would wait for days to say what it knows at once."""
    world = World(hosts=(MX,), elsewhere={MX: turn}, sts=ENFORCED)
    async with ScriptedPeer(tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert isinstance(report.outcome, Unsuitable)


@pytest.mark.parametrize("status", ["5.4.4", "5.4.6"])
async def test_a_host_that_is_surely_not_there_is_not_waited_for(folder: Path, status: str) -> None:
    """No address at all, or ourselves: then what comes behind it is not asked either."""
    world = World(hosts=HOSTS, elsewhere={SECOND: Unroutable(status, "no way")}, sts=ENFORCED)
    async with ScriptedPeer(tls=GOOD.served(folder), extensions=WITHOUT) as peer:
        report = await delivered(peer, world)

    assert isinstance(report.outcome, Unsuitable)
