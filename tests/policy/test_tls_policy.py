"""What a host must prove, by whose word, and whether a session did (RFC 7672 §2.2, RFC 8461 §2, RFC 8689)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from mailer.policy.tls import (
    ANYTHING,
    Barred,
    Demand,
    Facts,
    Need,
    PolicyType,
    Proof,
    TlsaFound,
    Wanted,
    Wish,
    demand_of,
    meets,
    strictest,
    wanted_by,
)
from mailer.policy.tls_dane import Tlsa
from mailer.policy.tls_sts import StsMode, StsPolicy

MX = "mx.example.net"
EE, TA = Tlsa(3, 1, 1, b"e" * 32), Tlsa(2, 0, 1, b"t" * 32)
PKIX = Tlsa(1, 1, 1, b"p" * 32)
SECURE = TlsaFound(MX, (EE,), is_secure=True)
UNUSABLE = TlsaFound(MX, (PKIX,), is_secure=True)
INSECURE = TlsaFound(MX, (EE,))
NONE_THERE = TlsaFound(MX)
FAILED = TlsaFound(MX, failure="SERVFAIL")
NOTHING = Wanted()
REQUIRED, ENCRYPTED = Wanted(Wish.REQUIRED, "stream"), Wanted(Wish.ENCRYPTED, "stream")
OPTIONAL, REQUIRETLS = Wanted(Wish.OPTIONAL, "message"), Wanted(Wish.REQUIRETLS, "message")


def sts(mode: StsMode, mx: str = MX) -> StsPolicy:
    return StsPolicy(mode=mode, mx=(mx,), max_age=86400, lines=(f"mode: {mode}",))


def facts(policy: StsPolicy | None = None, *, secure: bool = False) -> Facts:
    return Facts(domain="example.org", sts=policy, is_mx_secure=secure)


ENFORCED = facts(sts(StsMode.ENFORCE))
ELSEWHERE = facts(sts(StsMode.ENFORCE, "else.example.net"))
TESTED = facts(sts(StsMode.TESTING))


@pytest.mark.parametrize(
    ("found", "known", "wanted", "need", "by"),
    [
        (None, facts(), NOTHING, Need.OPPORTUNISTIC, ""),
        (NONE_THERE, facts(), NOTHING, Need.OPPORTUNISTIC, ""),
        (INSECURE, facts(), NOTHING, Need.OPPORTUNISTIC, ""),
        (SECURE, facts(), NOTHING, Need.DANE, "dane"),
        (SECURE, ENFORCED, NOTHING, Need.DANE, "dane"),
        (SECURE, ELSEWHERE, NOTHING, Need.DANE, "dane"),
        (SECURE, facts(), REQUIRED, Need.DANE, "dane"),
        (UNUSABLE, facts(), NOTHING, Need.ENCRYPTED, "dane-unusable"),
        (UNUSABLE, TESTED, NOTHING, Need.ENCRYPTED, "dane-unusable"),
        (UNUSABLE, ENFORCED, NOTHING, Need.VERIFIED, "mta-sts"),
        (UNUSABLE, facts(), REQUIRED, Need.VERIFIED, "stream"),
        (None, ENFORCED, NOTHING, Need.VERIFIED, "mta-sts"),
        (NONE_THERE, ENFORCED, ENCRYPTED, Need.VERIFIED, "mta-sts"),
        (None, ENFORCED, REQUIRED, Need.VERIFIED, "stream"),
        (None, facts(sts(StsMode.NONE)), NOTHING, Need.OPPORTUNISTIC, ""),
        (None, facts(), REQUIRED, Need.VERIFIED, "stream"),
        (None, facts(), ENCRYPTED, Need.ENCRYPTED, "stream"),
        (None, ENFORCED, REQUIRETLS, Need.VERIFIED, "message"),
        (SECURE, facts(secure=True), REQUIRETLS, Need.DANE, "dane"),
        (NONE_THERE, facts(secure=True), REQUIRETLS, Need.VERIFIED, "message"),
        (SECURE, ENFORCED, OPTIONAL, Need.OPTIONAL, "tls-required-no"),
        (FAILED, facts(), OPTIONAL, Need.OPTIONAL, "tls-required-no"),
        (None, ELSEWHERE, OPTIONAL, Need.OPTIONAL, "tls-required-no"),
    ],
)
def test_who_decides(found: TlsaFound | None, known: Facts, wanted: Wanted, need: Need, by: str) -> None:
    demand = demand_of(MX, found, known, wanted)

    assert isinstance(demand, Demand)
    assert (demand.need, demand.by, demand.is_lenient) == (need, by, False)


@pytest.mark.parametrize(
    ("found", "known", "wanted", "result"),
    [
        (FAILED, facts(), NOTHING, "dnssec-invalid"),
        (FAILED, ENFORCED, REQUIRED, "dnssec-invalid"),
        (None, ELSEWHERE, NOTHING, "validation-failure"),
        (UNUSABLE, ELSEWHERE, NOTHING, "validation-failure"),
        (None, facts(), REQUIRETLS, "validation-failure"),
        (None, TESTED, REQUIRETLS, "validation-failure"),
    ],
)
def test_which_hosts_get_nothing(found: TlsaFound | None, known: Facts, wanted: Wanted, result: str) -> None:
    barred = demand_of(MX, found, known, wanted)

    assert isinstance(barred, Barred)
    assert barred.result == result
    assert MX in barred.cause


def test_a_policy_in_testing_asks_and_forgives() -> None:
    """RFC 8461 §5: failures are reported, the mail goes."""
    named = demand_of(MX, None, TESTED, NOTHING)
    unnamed = demand_of("else.example.net", None, TESTED, NOTHING)

    assert isinstance(named, Demand)
    assert isinstance(unnamed, Demand)
    assert (named.need, named.is_lenient, named.by) == (Need.VERIFIED, True, "mta-sts-testing")
    assert (unnamed.need, unnamed.fault) == (Need.OPPORTUNISTIC, "validation-failure")


def test_what_a_policy_in_testing_forgives_a_stream_may_not() -> None:
    strict = demand_of(MX, None, TESTED, REQUIRED)

    assert isinstance(strict, Demand)
    assert (strict.need, strict.is_lenient, strict.by) == (Need.VERIFIED, False, "stream")


@pytest.mark.parametrize(
    ("found", "known", "type_", "domain"),
    [
        (SECURE, ENFORCED, PolicyType.TLSA, MX),
        (None, ENFORCED, PolicyType.STS, "example.org"),
        (None, facts(), PolicyType.NONE, "example.org"),
    ],
)
def test_what_a_session_is_reported_under(
    found: TlsaFound | None, known: Facts, type_: PolicyType, domain: str
) -> None:
    """RFC 8460 §4.4; §1.1 for whose policy it is."""
    demand = demand_of(MX, found, known, NOTHING)

    assert isinstance(demand, Demand)
    assert demand.published is not None
    assert (demand.published.type, demand.published.domain) == (type_, domain)
    assert demand.published.recipient == "example.org"


def test_names_are_asked_for_where_an_issuer_is_trusted() -> None:
    """RFC 7672 §3.2.2: the TLSA base domain, the host it stands for, and the recipient's domain."""
    aliased = TlsaFound("real.example.net", (TA, EE), is_secure=True)
    by_issuer = demand_of(MX, aliased, facts(), NOTHING)
    by_key = demand_of(MX, SECURE, facts(), NOTHING)

    assert isinstance(by_issuer, Demand)
    assert isinstance(by_key, Demand)
    assert by_issuer.names == ("real.example.net", MX, "example.org")
    assert by_key.names == (MX,)


CLEAR, SOME, VERIFIED = Proof(), Proof(is_encrypted=True), Proof(is_encrypted=True, is_verified=True)
BY_KEY = Proof(is_encrypted=True, usage=3, tlsa=(EE,), names=(MX,))
BY_ISSUER = Proof(is_encrypted=True, usage=2, tlsa=(TA,), names=(MX, "example.org"))
LENIENT = Demand(need=Need.VERIFIED, is_lenient=True)


@pytest.mark.parametrize(
    ("demand", "who"),
    [
        (ANYTHING, {"clear", "some", "verified", "key", "issuer", "failed"}),
        (Demand(need=Need.OPTIONAL), {"clear", "some", "verified", "key", "issuer", "failed"}),
        (Demand(need=Need.ENCRYPTED), {"some", "verified", "key", "issuer", "failed"}),
        (Demand(need=Need.VERIFIED), {"verified"}),
        (LENIENT, {"verified", "failed"}),
        (Demand(need=Need.DANE, tlsa=(EE,), names=(MX,)), {"key"}),
        (Demand(need=Need.DANE, tlsa=(EE,), names=(MX, "other.example")), {"key"}),
        (Demand(need=Need.DANE, tlsa=(EE, TA), names=(MX,)), set()),
        (Demand(need=Need.DANE, tlsa=(TA,), names=(MX, "example.org")), {"issuer"}),
        (Demand(need=Need.DANE, tlsa=(TA,), names=(MX, "other.example")), set()),
    ],
)
def test_which_sessions_carry_a_message(demand: Demand, who: set[str]) -> None:
    proofs = {
        "clear": CLEAR, "some": SOME, "verified": VERIFIED, "key": BY_KEY, "issuer": BY_ISSUER,
        "failed": replace(SOME, failure="certificate-expired"),
    }  # fmt: skip

    assert {name for name, proof in proofs.items() if meets(proof, demand)} == who


def test_the_strictest_wish_holds_and_less_than_nothing_only_alone() -> None:
    order = [Wish.OPTIONAL, Wish.ENCRYPTED, Wish.REQUIRED, Wish.REQUIRETLS]
    pairs = list(itertools.combinations(order, 2))

    assert [strictest([Wanted(a, "a"), Wanted(b, "b")]).by for a, b in pairs] == ["b"] * len(pairs)
    assert [strictest([Wanted(b, "b"), Wanted(a, "a")]).by for a, b in pairs] == ["b"] * len(pairs)
    assert strictest([NOTHING, OPTIONAL]) == OPTIONAL
    assert strictest([REQUIRED, Wanted(Wish.REQUIRED, "provider-rule")]) == REQUIRED


def test_wishes_by_the_columns_of_message_and_stream() -> None:
    assert wanted_by(None, None) == NOTHING
    assert wanted_by("optional", "required") == Wanted(Wish.REQUIRED, "stream")
    assert wanted_by("requiretls", "required") == Wanted(Wish.REQUIRETLS, "message")
