"""Mail to domains with DANE and MTA-STS: Debian's Unbound validates, Debian's Postfix receives.

The zones and certificates are made for the run; the relay, the look-ups, the fetch and the database are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import pytest
import uvloop
from msgspec.structs import replace

from mailer import clock
from mailer.events import RecipientState, WaitReason
from mailer.outward import Guard, GuardedTransport
from mailer.outward.guard import LOOPBACK
from mailer.policy.retry import RetrySchedule
from mailer.policy.tls import wanted_by
from mailer.policy.tls_dane import Tlsa
from mailer.queue import explain, settle, tlsresults
from mailer.queue.claim import Claimed
from mailer.queue.obstacles import Knowledge
from mailer.relay.carrier import Report
from mailer.relay.hosts import MxFinder
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.lookup import Lookup, Trust
from mailer.relay.smtp.settings import Mode
from mailer.relay.smtp.sts import StsFinder
from mailer.relay.smtp.sts_fetch import PolicyFetcher
from mailer.relay.smtp.tls import TlsContexts
from mailer.relay.smtp.tls_policies import TlsParts, TlsPolicies
from mailer.relay.tlsbooks import StoredPolicies, StoredResults
from mailer.relay.tlsmemory import StoredTls
from mailer.relay.verdict import Judge
from mailer.store import Store
from tests.support.chains import authority, host, trusting
from tests.support.mailroom import Mailroom
from tests.support.policy_host import Page, PolicyHost, policies
from tests.support.postfix import Mx
from tests.support.smtp_client import NotedJournal, mail, settings
from tests.support.unbound import Unbound

SIGNED, PLAIN = "signed.example", "plain.example"
DANE_HOSTS = ("valid", "issuer", "mismatch", "missing", "unusable", "bogus")
ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
# The host's certificate is right for the web where the policy says so, and for no host called elsewhere.
LEAF = host(f"mx-good.{PLAIN}", *(f"mx-{name}.{SIGNED}" for name in DANE_HOSTS), issuer=MIDDLE)
OTHER = host(f"mx-mismatch.{SIGNED}", issuer=MIDDLE)
RECORDS: dict[str, Tlsa] = {
    "valid": LEAF.tlsa(3, 1, 1),
    "issuer": MIDDLE.tlsa(2, 0, 1),
    "mismatch": OTHER.tlsa(3, 1, 1),
    "unusable": LEAF.tlsa(1, 1, 1),
    "bogus": LEAF.tlsa(3, 1, 1),
}
# Hosts that are aliases of one in a zone that is not signed.
ALIASES = {"away": LEAF.tlsa(3, 1, 1), "away-mismatch": OTHER.tlsa(3, 1, 1), "away-missing": None}
WEB = {f"mta-sts.{name}.{PLAIN}": f"mx-{where}.{PLAIN}" for name, where in (
    ("right", "good"), ("wrong", "elsewhere"), ("forged", "good"),
)}  # fmt: skip


def policy(mx: str) -> Page:
    return Page(f"version: STSv1\r\nmode: enforce\r\nmx: {mx}\r\nmax_age: 86400\r\n".encode())


@dataclass(frozen=True)
class Net:
    """What runs around the relay."""

    resolver: Unbound
    mx: Mx
    web: PolicyHost


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    folder = tmp_path_factory.mktemp("tls")
    web_certificate = host(*WEB, issuer=ROOT)
    with (
        closing(Mx(certificate=LEAF.pem(folder))) as mx,
        policies({name: policy(where) for name, where in WEB.items()}, web_certificate.served(folder)) as web,
        closing(_resolver(mx.port)) as resolver,
    ):
        mx.start()
        resolver.start()
        yield Net(resolver, mx, web)


def _resolver(port: int) -> Unbound:
    signed = []
    for name in DANE_HOSTS:
        signed += [f"{name} MX 10 mx-{name}", f"mx-{name} A 127.0.0.1"]
    signed += [f"_{port}._tcp.mx-{name} TLSA {record}" for name, record in RECORDS.items()]
    signed += ["second MX 10 mx-bogus", "second MX 20 mx-valid"]
    for name in ALIASES:
        signed += [f"{name} MX 10 mx-{name}", f"mx-{name} CNAME mx-elsewhere.{PLAIN}."]
    signed += [f"_{port}._tcp.mx-{name} TLSA {record}" for name, record in ALIASES.items() if record]
    plain = ["mx-good A 127.0.0.1", "mx-elsewhere A 127.0.0.1", "ordinary MX 10 mx-elsewhere"]
    plain += [f"{name} MX 10 mx-valid.{SIGNED}." for name in ("guest", "other-guest")]
    plain += [f"_{port}._tcp.mx-elsewhere TLSA {OTHER.tlsa(3, 1, 1)}"]
    for name, where in (("right", "good"), ("wrong", "elsewhere"), ("forged", "elsewhere")):
        plain += [f"{name} MX 10 mx-{where}", f"mta-sts.{name} A 127.0.0.1"]
        plain += [f'_mta-sts.{name} TXT "v=STSv1; id=1;"']
    bogus = f"_{port}._tcp.mx-bogus.{SIGNED}."
    return Unbound({SIGNED: signed, PLAIN: plain}, signed={SIGNED}, spoilt={bogus})


class Office:
    """A worker's relay on a database, from claim to settlement."""

    def __init__(self, store: Store, net: Net, trust: Trust = Trust.LOOPBACK) -> None:
        self.room = Mailroom.furnish(store, now=clock.now())
        self._store = store
        self._net = net
        self._trust = trust
        self._policies = StoredPolicies(store, clock.monotonic)
        self._memory = StoredTls(store, clock.monotonic)
        self.results = StoredResults(store, clock.now, clock.monotonic)
        schedule = RetrySchedule(delays=(timedelta(minutes=1),), give_up_after=timedelta(days=1))
        self._judge = Judge({"transactional": schedule}, now=clock.now, draw=lambda: 0.0)

    def deliver(self, *domains: str, tls: str | None = None) -> dict[str, str]:
        """Accepts a message to each domain and tries it once, in order; what the attempts are said to be."""
        messages = [replace(self.room.message(domain), tls=tls) for domain in domains]
        self.room.accept(*messages)
        claimed = {c.domain: c for c in self.room.claim()}
        reports = uvloop.run(self._carry([claimed[domain] for domain in domains]))
        settled = [self._judge(claimed[d], report) for d, report in zip(domains, reports, strict=True)]
        settle.settle(
            self._store, self.room.worker.id, settled, new_id=self.room.new_id,
            process_number=self.room.worker.process_number, now=clock.now(),
        )  # fmt: skip
        self._policies.synchronise(clock.now())
        self.results.flush()
        self.moves = {d: s.move for d, s in zip(domains, settled, strict=True)}
        self.life = {
            d: "\n".join(f"{line.what}: {line.reason}" for line in self._explained(m.id))
            for d, m in zip(domains, messages, strict=True)
        }
        return {
            d: (s.heard.tls or "").partition(" verified=")[2] for d, s in zip(domains, settled, strict=True)
        }

    def _explained(self, message_id: int) -> Sequence[explain.Line]:
        found = explain.explain(self._store, self.room.tenant_id, message_id, Knowledge(), now=clock.now())
        assert found is not None
        return [*found[0].past, found[0].now]

    async def _carry(self, claimed: Sequence[Claimed]) -> list[Report]:
        lookup = Lookup([self._net.resolver.url], trust=self._trust)
        smtp = settings(mode=Mode.LIVE, port=self._net.mx.port)

        def transport() -> GuardedTransport:
            guard = Guard(networks=LOOPBACK)
            return GuardedTransport(guard, connections=4, resolve=lookup.addresses, tls=trusting(ROOT))

        fetcher = PolicyFetcher(transport, user_agent="test", port=self._net.web.port)
        tls_policies = TlsPolicies(
            StsFinder(lookup, fetcher, self._policies, self.results),
            DaneFinder(lookup, smtp.port),
            smtp.rules,
        )
        carrier = SmtpCarrier(
            smtp,
            MxFinder(lookup, allow_private=True),
            NotedJournal(),
            tls=TlsParts(
                memory=self._memory,
                contexts=TlsContexts(trusting(ROOT)),
                policies=tls_policies,
                results=self.results,
            ),
        )
        try:
            return [
                await carrier.deliver(
                    mail(domain=c.domain, attempt_id=c.attempt_id, tls=wanted_by(c.tls, c.stream_tls))
                )
                for c in claimed
            ]
        finally:
            await carrier.close(grace_seconds=0)

    def counted(self, domain: str) -> dict[tuple[str, str], int]:
        """Sessions by policy type and result, as they stand in the database for reports."""
        found = tlsresults.of_day(self._store, clock.now().date().isoformat(), domain)
        return {(kind.policy_type, kind.result): sessions for kind, sessions in found.items()}


@pytest.fixture
def office(store: Store, net: Net) -> Office:
    return Office(store, net)


def of(*names: str, zone: str = SIGNED) -> list[str]:
    return [f"{name}.{zone}" for name in names]


def test_dane_decides_whom_mail_is_given_to(office: Office, net: Net) -> None:
    """RFC 7672 §2.2: valid, by the issuer, mismatching, missing, unusable and bogus TLSA records."""
    before = len(net.mx.kept())
    domains = of("valid", "issuer", "mismatch", "missing", "unusable", "bogus", "second")

    proven = office.deliver(*domains)

    assert list(proven.values()) == [
        "dane-ee policy=dane", "dane-ta policy=dane", "", "no", "no policy=dane-unusable", "",
        "dane-ee policy=dane",
    ]  # fmt: skip
    delivered = [d for d, move in office.moves.items() if move.state is RecipientState.DELIVERED]
    assert delivered == of("valid", "issuer", "missing", "unusable", "second")
    assert {m.wait_reason for d, m in office.moves.items() if d not in delivered} == {WaitReason.TLS_FAILED}
    assert len(net.mx.kept()) - before == len(delivered)


def test_what_became_of_it_stands_in_the_life_of_the_message_and_in_the_counts(office: Office) -> None:
    mismatch, bogus, missing = domains = of("mismatch", "bogus", "missing")

    office.deliver(*domains)

    assert "no TLSA record matches the certificate (3 1 1)" in office.life[mismatch]
    assert f"no answer for the TLSA records of mx-bogus.{SIGNED}" in office.life[bogus]
    assert [office.counted(d) for d in domains] == [
        {("tlsa", "validation-failure"): 1},
        {("tlsa", "dnssec-invalid"): 1},
        {("no-policy-found", "success"): 1},
    ]
    assert " verified=no" in office.life[missing]


def test_a_host_that_is_an_alias_out_of_a_signed_zone_keeps_its_dane(office: Office, net: Net) -> None:
    """RFC 7672 §2.2.2: the alias is secure, what it leads to is not; its own name's records count alone."""
    before = len(net.mx.kept())
    right, wrong, missing = domains = of(*ALIASES)

    proven = office.deliver(*domains)

    assert proven == {right: "dane-ee policy=dane", wrong: "", missing: "no"}
    assert office.moves[wrong].wait_reason is WaitReason.TLS_FAILED
    assert len(net.mx.kept()) - before == 2
    assert [office.counted(d) for d in domains] == [
        {("tlsa", "success"): 1},
        {("tlsa", "validation-failure"): 1},
        {("no-policy-found", "success"): 1},
    ]


def test_a_kept_session_that_proved_nothing_is_not_used_for_dane(office: Office, net: Net) -> None:
    """One host serves a domain without DNSSEC and one with it; what proved more does for both."""
    before = len(net.mx.kept())
    guest, other, valid = *of("guest", "other-guest", zone=PLAIN), *of("valid")

    proven = office.deliver(guest, valid, other)

    assert proven == {guest: "no", valid: "dane-ee policy=dane", other: "dane-ee"}
    assert len(net.mx.kept()) - before == 3


def test_nobody_elses_word_for_dnssec_counts(store: Store, net: Net) -> None:
    """Of a resolver that is not trusted, and of a zone that is not signed."""
    office = Office(store, net, Trust.NONE)

    proven = office.deliver(*of("mismatch"), *of("ordinary", zone=PLAIN))

    assert list(proven.values()) == ["no", "no"]


def test_an_enforced_policy_with_a_wrong_certificate_is_deferred_and_reported(
    office: Office, net: Net
) -> None:
    """RFC 8461 §5: not delivered in clear, and not with that certificate. An MX set that is not the policy's
    is as good as forged."""
    right, wrong, forged = domains = of("right", "wrong", "forged", zone=PLAIN)
    before, asked = len(net.mx.kept()), len(net.web.asked)

    proven = [office.deliver(*domains), office.deliver(wrong)]

    assert proven == [{right: "yes policy=mta-sts", wrong: "", forged: ""}, {wrong: ""}]
    assert office.moves[wrong].wait_reason is WaitReason.TLS_FAILED
    assert "certificate is not valid for" in office.life[wrong].lower()
    assert len(net.mx.kept()) - before == 1
    assert [office.counted(d) for d in domains] == [
        {("sts", "success"): 1},
        {("sts", "certificate-host-mismatch"): 2},
        {("sts", "validation-failure"): 1},
    ]
    assert [name for name, _ in net.web.asked[asked:]].count(f"mta-sts.{wrong}") == 1


def test_another_worker_knows_the_policy_that_one_fetched(store: Store, net: Net) -> None:
    office = Office(store, net)
    [wrong] = of("wrong", zone=PLAIN)
    office.deliver(wrong)
    asked = len(net.web.asked)

    other = StoredPolicies(store, clock.monotonic)
    other.synchronise(clock.now())

    held = other.get(wrong)
    assert held is not None
    assert held.policy.mx == (f"mx-elsewhere.{PLAIN}",)
    assert held.policy.lines[0] == "version: STSv1"
    assert len(net.web.asked) == asked


def test_requiretls_fails_where_the_host_does_not_promise_it(office: Office, net: Net) -> None:
    """RFC 8689 §4.2.1: Debian's Postfix does not know it."""
    before = len(net.mx.kept())
    [valid] = of("valid")

    office.deliver(valid, tls="requiretls")

    assert office.moves[valid].state is RecipientState.BOUNCED
    assert "REQUIRETLS was asked for" in office.life[valid]
    assert "its message says of TLS: requiretls" in office.life[valid]
    assert len(net.mx.kept()) == before
