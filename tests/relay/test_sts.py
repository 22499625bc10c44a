"""MTA-STS policies are looked up, fetched, kept and renewed (RFC 8461 §3.3, §5.1)."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer.outward import Guard, GuardedTransport
from mailer.outward.guard import LOOPBACK
from mailer.policy.tls_sts import StsMode, StsPolicy
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.sts import HeldPolicy, RecentPolicies, StsFinder
from mailer.relay.smtp.sts_fetch import NotFetched, PolicyFetcher
from mailer.relay.smtp.tls_results import CountedResults
from tests.support.chains import authority, host, trusting
from tests.support.dns_server import DnsServer, Zone
from tests.support.policy_host import Page, PolicyHost, policies

CORPUS = (
    Path(os.environ.get("AUTH_CORPORA", Path(__file__).parents[2] / "../shared/corpora/auth"))
    / "mta-sts-resolver"
)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT = authority("root")
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 604800\r\n"
NEWER = POLICY.replace(b"mx.example.net", b"mx2.example.net")
HELD = StsPolicy(mode=StsMode.ENFORCE, mx=("mx.example.net",), max_age=604800, lines=())
NAME = "mta-sts.example.test"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyHost]:
    names = [NAME, *(f"mta-sts.{name}" for name in _corpus_names() if not name.startswith("bad-cert"))]
    certificate = host(*names, issuer=ROOT)
    with policies({}, certificate.served(tmp_path_factory.mktemp("web"))) as server:
        yield server


class Clock:
    """Both clocks of a finder."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOW).total_seconds()


class Policies(StsFinder):
    """A finder and what it was made of."""

    def __init__(self, lookup: Lookup, fetcher: PolicyFetcher) -> None:
        self.clock, self.book = Clock(), RecentPolicies()
        self.results = CountedResults(self.clock.now)
        super().__init__(
            lookup, fetcher, self.book, self.results, now=self.clock.now, monotonic=self.clock.monotonic
        )


def fetcher(lookup: Lookup, web: PolicyHost, seconds: float = 20.0) -> PolicyFetcher:
    def transport() -> GuardedTransport:
        guard = Guard(networks=LOOPBACK)
        return GuardedTransport(guard, connections=4, resolve=lookup.addresses, tls=trusting(ROOT))

    return PolicyFetcher(transport, user_agent="test", port=web.port, seconds=seconds)


@asynccontextmanager
async def finding(
    web: PolicyHost, zone: Zone, pages: dict[str, Page], seconds: float = 20.0
) -> AsyncIterator[tuple[Policies, DnsServer]]:
    web.pages, web.asked = pages, []
    async with DnsServer(zone) as dns:
        lookup = Lookup([dns.place], seconds=5.0)
        finder = Policies(lookup, fetcher(lookup, web, seconds))
        try:
            yield finder, dns
        finally:
            await finder.close()


def zone(record: str | None = "v=STSv1; id=1;", name: str = "example.test") -> Zone:
    found: Zone = {(f"mta-sts.{name}", "A"): ["127.0.0.1"]}
    return found if record is None else found | {(f"_mta-sts.{name}", "TXT"): [f'"{record}"']}


async def test_a_policy_is_fetched_once(web: PolicyHost) -> None:
    async with finding(web, zone(), {NAME: Page(POLICY)}) as (finder, _):
        found = await asyncio.gather(*(finder.of("example.test") for _ in range(5)))

    assert [p.mx for p in found if p] == [("mx.example.net",)] * 5
    assert web.asked == [(NAME, "/.well-known/mta-sts.txt")]


async def test_without_a_record_nothing_is_fetched(web: PolicyHost) -> None:
    async with finding(web, zone(None), {NAME: Page(POLICY)}) as (finder, _):
        found = await finder.of("example.test")

    assert found is None
    assert web.asked == []


@pytest.mark.parametrize(
    ("page", "result"),
    [
        (Page(POLICY, status=404), "sts-policy-fetch-error"),
        (Page(b"", status=302, headers={"Location": "/other"}), "sts-policy-fetch-error"),
        (Page(POLICY, content_type="text/html"), "sts-policy-invalid"),
        (Page(POLICY + b"x: " + b"y" * 65536), "sts-policy-invalid"),
        (Page(b"garbage"), "sts-policy-invalid"),
        (Page(POLICY + b"x: \xff"), "sts-policy-invalid"),
        (Page(POLICY, content_type="Text/Plain; charset=utf-8"), None),
    ],
)
async def test_what_is_no_policy_is_reported(web: PolicyHost, page: Page, result: str | None) -> None:
    """RFC 8461 §3.3: no redirects; RFC 8460 §4.3 for the words."""
    async with finding(web, zone(), {NAME: page}) as (finder, _):
        found = await finder.of("example.test")
        counted = finder.results.taken()

    assert (found is None) == (result is not None)
    assert [kind.result for kind in counted] == ([] if result is None else [result])
    assert len(web.asked) == 1


async def test_a_wrong_certificate_proves_no_policy(web: PolicyHost) -> None:
    name = "other.test"
    async with finding(web, zone(name=name), {f"mta-sts.{name}": Page(POLICY)}) as (finder, _):
        found = await finder.of(name)
        [kind] = finder.results.taken()

    assert found is None
    assert (kind.result, kind.published.domain) == ("sts-webpki-invalid", name)
    assert web.asked == []


async def test_a_host_that_hangs_is_given_up(web: PolicyHost) -> None:
    never = threading.Event()
    async with finding(web, zone(), {NAME: Page(POLICY, after=never)}, seconds=0.5) as (finder, _):
        found = await finder.of("example.test")
        [kind] = finder.results.taken()
    never.set()

    assert found is None
    assert (kind.result, kind.reason) == ("sts-policy-fetch-error", "no answer in time")


async def test_our_own_network_is_not_asked(web: PolicyHost) -> None:
    async with DnsServer(zone()) as dns:
        lookup = Lookup([dns.place], seconds=5.0)
        guarded = PolicyFetcher(
            lambda: GuardedTransport(Guard(), connections=1, resolve=lookup.addresses, tls=trusting(ROOT)),
            user_agent="test",
            port=web.port,
        )
        found = await guarded.fetch("example.test")
        await guarded.close()

    assert isinstance(found, NotFetched)
    assert found.cause.startswith("not dialled:")


async def test_after_a_failure_the_host_has_peace_for_five_minutes(web: PolicyHost) -> None:
    async with finding(web, zone(), {}) as (finder, _):
        first = await finder.of("example.test")
        finder.clock.at += timedelta(seconds=299)
        second = await finder.of("example.test")
        finder.clock.at += timedelta(seconds=2)
        web.pages = {NAME: Page(POLICY)}
        third = await finder.of("example.test")

    assert (first, second) == (None, None)
    assert third is not None
    assert len(web.asked) == 2


@pytest.mark.parametrize("record", [None, "v=STSv1; id=1;", "v=STSv1; id=2;"])
async def test_a_live_policy_holds_whatever_fails(web: PolicyHost, record: str | None) -> None:
    """RFC 8461 §5.1: its record has gone, or a newer one cannot be had; else an attack would end it."""
    async with finding(web, zone(record), {}) as (finder, _):
        finder.book.put("example.test", HeldPolicy(HELD, "1", NOW - 3 * DAY))
        first = await finder.of("example.test")
        await finder.refresh_due()
        finder.clock.at += timedelta(seconds=900)
        second = await finder.of("example.test")

    assert first is second is HELD


async def test_an_expired_policy_holds_no_more(web: PolicyHost) -> None:
    async with finding(web, zone(None), {}) as (finder, _):
        finder.book.put("example.test", HeldPolicy(HELD, "1", NOW - 8 * DAY))

        assert await finder.of("example.test") is None


async def test_mail_does_not_wait_for_a_newer_policy(web: PolicyHost) -> None:
    """With a new id the old policy is applied while the new one is fetched."""
    there = threading.Event()
    async with finding(web, zone("v=STSv1; id=2;"), {NAME: Page(NEWER, after=there)}) as (finder, _):
        finder.book.put("example.test", HeldPolicy(HELD, "1", NOW))
        first = await finder.of("example.test")
        there.set()
        await _until(lambda: (held := finder.book.get("example.test")) is not None and held.id == "2")
        second = await finder.of("example.test")

    assert first is HELD
    assert second is not None
    assert second.mx == ("mx2.example.net",)


async def test_policies_in_use_are_renewed_before_they_expire(web: PolicyHost) -> None:
    async with finding(web, zone(), {NAME: Page(POLICY)}) as (finder, _):
        await finder.of("example.test")
        fresh = finder.book.get("example.test")
        await finder.refresh_due()
        finder.clock.at += DAY + timedelta(minutes=1)
        await finder.refresh_due()
        renewed = finder.book.get("example.test")

    assert fresh is not None
    assert renewed is not None
    assert (fresh.fetched_at, renewed.fetched_at) == (NOW, NOW + DAY + timedelta(minutes=1))
    assert len(web.asked) == 2


def _corpus_names() -> list[str]:
    records = CORPUS / "dnsmasq.conf.appendix"
    return re.findall(r"address=/mta-sts\.([^/]+)/", records.read_text()) if records.exists() else []


def _corpus_pages() -> dict[str, Page]:
    """Policies of the corpus' web server by host name."""
    pages = {}
    for block in (CORPUS / "nginx.conf").read_text().split("server {")[1:]:
        name = re.search(r"server_name ([^;]+);", block)
        said = re.search(r'return (\d+) "(version[^"]*|garbage)"', block)
        if name and said:
            kind = "text/html" if "text/html" in block else "text/plain"
            body = said[2].replace("\\n", "\n").encode()
            pages[name[1]] = Page(body, status=int(said[1]), content_type=kind)
    return pages


def _corpus_cases() -> list[tuple[str, str]]:
    """Domains and answers; those with brackets, ports or a dot in front are next hops of Postfix."""
    table = CORPUS / "refdata.tsv"
    lines = table.read_text().splitlines() if table.exists() else []
    pairs = [line.removeprefix("test ").split("\t") for line in lines if line.startswith("test ")]
    return [(name, answer) for name, answer in pairs if re.fullmatch(r"[a-z][a-z0-9.-]*[a-z]", name)]


@pytest.mark.parametrize(("name", "answer"), _corpus_cases(), ids=lambda value: value[:20])
async def test_domains_have_the_policies_that_postfix_mta_sts_resolver_finds(
    web: PolicyHost, name: str, answer: str
) -> None:
    """It answers what Postfix has to do: secure with the policy's hosts, or nothing."""
    text = (CORPUS / "dnsmasq.conf.appendix").read_text()
    records: Zone = {
        (f"_mta-sts.{domain}", "TXT"): [f'"{record}"']
        for domain, record in re.findall(r'txt-record=_mta-sts\.([^,]+),"([^"]*)"', text)
    }
    records |= {(f"mta-sts.{domain}", "A"): ["127.0.0.1"] for domain in _corpus_names()}
    async with finding(web, records, _corpus_pages()) as (finder, _):
        found = await finder.of(name)

    is_enforced = found is not None and found.mode is StsMode.ENFORCE
    assert is_enforced == answer.startswith("OK secure")
    assert not is_enforced or (found is not None and f"match={found.mx[0]}" in answer)


async def _until(is_so: object) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # type: ignore[operator]
            await asyncio.sleep(0.01)
