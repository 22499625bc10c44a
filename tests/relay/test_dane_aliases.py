"""Where the TLSA records of a host that is an alias stand (RFC 7672 §2.2.2, §2.2.3): Unbound validates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from dns.rdatatype import TLSA

from mailer.policy.tls import TlsaFound
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.lookup import Lookup, Trust
from tests.support.dns_server import DnsServer, Zone
from tests.support.unbound import Unbound

SIGNED, OTHER, PLAIN = "signed.example", "other.example", "plain.example"
RECORD = f"3 1 1 {bytes(range(32)).hex()}"


def alias(name: str, of: str, *, own: bool) -> list[str]:
    """A host that is another name of `of`; own: with TLSA records under its own name."""
    return [f"{name} CNAME {of}.", *([f"_25._tcp.{name} TLSA {RECORD}"] if own else [])]


ZONES = {
    SIGNED: [
        "with A 127.0.0.1",
        f"_25._tcp.with TLSA {RECORD}",
        "without A 127.0.0.1",
        *alias("to-with", f"with.{SIGNED}", own=True),
        *alias("to-without", f"without.{SIGNED}", own=True),
        *alias("to-nothing", f"without.{SIGNED}", own=False),
        *alias("to-other", f"with.{OTHER}", own=True),
        *alias("out", f"with.{PLAIN}", own=True),
        *alias("out-bare", f"with.{PLAIN}", own=False),
        *alias("out-bogus", f"with.{PLAIN}", own=True),
        *alias("out-by-two", f"out.{SIGNED}", own=True),
        *alias("out-by-bare", f"out.{SIGNED}", own=False),
        *alias("away", f"nowhere.{PLAIN}", own=True),
    ],
    OTHER: ["with A 127.0.0.1", f"_25._tcp.with TLSA {RECORD}"],
    PLAIN: [
        "with A 127.0.0.1",
        f"_25._tcp.with TLSA {RECORD}",
        *alias("in", f"with.{SIGNED}", own=True),
    ],
}


@pytest.fixture(scope="module")
def resolver() -> Iterator[Unbound]:
    spoilt = {f"_25._tcp.out-bogus.{SIGNED}."}
    with closing(Unbound(ZONES, signed={SIGNED, OTHER}, spoilt=spoilt)) as unbound:
        unbound.start()
        yield unbound


async def found(resolver: Unbound, host: str, trust: Trust = Trust.LOOPBACK) -> TlsaFound:
    return await DaneFinder(Lookup([resolver.url], trust=trust), 25).of(host)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        (f"to-with.{SIGNED}", f"with.{SIGNED}"),  # both have records: the last name comes first
        (f"to-without.{SIGNED}", f"to-without.{SIGNED}"),
        (f"to-other.{SIGNED}", f"with.{OTHER}"),  # from one signed zone into another
        (f"out.{SIGNED}", f"out.{SIGNED}"),  # never at the end of what is not secure
        (f"out-by-two.{SIGNED}", f"out-by-two.{SIGNED}"),  # nor in its midst
    ],
)
async def test_the_names_of_a_host_are_tried_as_far_as_they_are_proven(
    resolver: Unbound, host: str, base: str
) -> None:
    answer = await found(resolver, host)

    assert (answer.base, len(answer.records), answer.is_secure) == (base, 1, True)


@pytest.mark.parametrize(
    "host",
    [
        f"to-nothing.{SIGNED}",
        f"out-bare.{SIGNED}",
        f"out-by-bare.{SIGNED}",
        f"in.{PLAIN}",  # who forges the alias chooses the end
        f"with.{PLAIN}",
        f"away.{SIGNED}",  # and no address
    ],
)
async def test_a_host_without_proven_records_has_no_dane(resolver: Unbound, host: str) -> None:
    answer = await found(resolver, host)

    assert (answer.records, answer.is_secure, answer.failure) == ((), False, None)


async def test_forged_records_under_the_aliass_own_name_bar_the_host(resolver: Unbound) -> None:
    answer = await found(resolver, f"out-bogus.{SIGNED}")

    assert answer.failure is not None


async def test_of_a_resolver_that_is_not_trusted_no_alias_is_secure(resolver: Unbound) -> None:
    answer = await found(resolver, f"out.{SIGNED}", Trust.NONE)

    assert (answer.records, answer.failure) == ((), None)


ALIASED: Zone = {
    ("mx.example.test", "CNAME"): ["host.test."],
    ("host.test", "A"): ["192.0.2.1"],
    ("_25._tcp.mx.example.test", "TLSA"): [RECORD],
}


async def test_who_silences_the_alias_does_not_take_dane_away() -> None:
    """RFC 7672 §2.1.2."""
    faults: dict[str | tuple[str, str], str] = {("mx.example.test", "CNAME"): "servfail"}
    async with DnsServer(ALIASED, faults=faults) as dns:
        answer = await DaneFinder(Lookup([dns.place], seconds=2.0), 25).of("mx.example.test")

    assert answer.failure is not None


async def test_an_alias_that_is_not_secure_is_not_asked_for_tlsa() -> None:
    async with DnsServer(ALIASED) as dns:
        await DaneFinder(Lookup([dns.place]), 25).of("mx.example.test")

    assert not any(kind == TLSA.name for _, kind in dns.asked)
    assert dns.asked["mx.example.test", "CNAME"] == 1
