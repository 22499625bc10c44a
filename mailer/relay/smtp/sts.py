"""MTA-STS policies of recipient domains: TXT record, fetch, cache (RFC 8461 §3, §5.1).

Mail waits for a fetch only where there is no live policy. One that is held is applied while a newer one is
fetched, also where its record has gone or the fetch fails: else whoever can break a look-up could strip TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import dns.rdatatype
import structlog
from dns.rdtypes.ANY.TXT import TXT

from mailer import clock
from mailer.policy.tls import PolicyType, Published
from mailer.policy.tls_sts import StsPolicy, record_id
from mailer.relay.hosts import Cache
from mailer.relay.smtp.lookup import Answer, Found, Lookup, NoAnswer, Nothing
from mailer.relay.smtp.sts_fetch import NotFetched
from mailer.relay.smtp.tls_results import TlsResults

_log = structlog.get_logger(__name__)

_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = 3600.0
_AGAIN_SECONDS = 300.0  # after a failed fetch (RFC 8461 §3.3: no sooner than five minutes)
_LONGEST_NEGATIVE_SECONDS = 300.0
_REFRESH_AFTER = timedelta(days=1)  # RFC 8461 §3.3: at least daily
_WATCH_SECONDS = 60.0
_REFRESHED_AT_ONCE = 10
_MOST = 50_000


@dataclass(frozen=True, slots=True)
class HeldPolicy:
    """A policy and when it was fetched. id: of the TXT record then."""

    policy: StsPolicy
    id: str
    fetched_at: datetime

    def is_live(self, now: datetime) -> bool:
        return now < self.fetched_at + timedelta(seconds=self.policy.max_age)

    def is_due(self, now: datetime) -> bool:
        """To be fetched again, long before it expires."""
        return now >= self.fetched_at + min(_REFRESH_AFTER, timedelta(seconds=self.policy.max_age / 2))


class PolicyBook(Protocol):
    """Policies by domain. Called on the event loop: neither may wait for anything."""

    def get(self, domain: str) -> HeldPolicy | None: ...

    def put(self, domain: str, held: HeldPolicy) -> None: ...


class RecentPolicies:
    """A book that lasts as long as the process."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._held: dict[str, HeldPolicy] = {}

    def get(self, domain: str) -> HeldPolicy | None:
        return self._held.get(domain)

    def put(self, domain: str, held: HeldPolicy) -> None:
        self._held.pop(domain, None)  # so that it moves to the young end
        while len(self._held) >= self._most:
            self._held.pop(next(iter(self._held)), None)
        self._held[domain] = held


class Fetcher(Protocol):
    async def fetch(self, domain: str) -> StsPolicy | NotFetched: ...

    async def close(self) -> None: ...


class StsFinder:
    """Lives on one event loop. `close` ends what is being fetched."""

    def __init__(
        self,
        lookup: Lookup,
        fetcher: Fetcher,
        book: PolicyBook,
        results: TlsResults,
        *,
        now: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._lookup = lookup
        self._fetcher = fetcher
        self._book = book
        self._results = results
        self._now = now
        self._monotonic = monotonic
        self._known: Cache[StsPolicy | None] = Cache(monotonic)
        self._ids: dict[str, str] = {}  # of the domains in use that have a policy
        self._again_at: dict[str, float] = {}  # when a domain may be asked again after a failed fetch
        self._fetching: dict[str, asyncio.Task[StsPolicy | NotFetched]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def of(self, domain: str) -> StsPolicy | None:
        """The live policy of a recipient's domain. Nothing the network or a server does raises."""
        return await self._known.get(domain, self._find)

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._fetching.values()]
        if self._watch is not None:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()

    async def _find(self, domain: str) -> tuple[StsPolicy | None, float]:
        held = self._book.get(domain)
        if held is not None and not held.is_live(self._now()):
            held = None
        answer = await self._lookup.ask(f"_mta-sts.{domain}", dns.rdatatype.TXT)
        found = record_id(list(_texts(answer)))
        if found is None:
            return (None if held is None else held.policy), _seconds_of(answer)
        self._ids[domain] = found
        self._keep_fresh()
        if held is not None:
            if held.id != found or held.is_due(self._now()):
                self._start(domain)
            return held.policy, self._until(held, _seconds_of(answer))
        if self._monotonic() < self._again_at.get(domain, 0.0):
            return None, _AGAIN_SECONDS
        fetched = await asyncio.shield(self._start(domain))
        if isinstance(fetched, NotFetched):
            return None, _AGAIN_SECONDS
        return fetched, min(_seconds_of(answer), max(fetched.max_age, _SHORTEST_SECONDS))

    def _until(self, held: HeldPolicy, seconds: float) -> float:
        left = held.fetched_at + timedelta(seconds=held.policy.max_age) - self._now()
        return min(seconds, max(left.total_seconds(), _SHORTEST_SECONDS))

    def _start(self, domain: str) -> asyncio.Task[StsPolicy | NotFetched]:
        """One fetch at a time for a domain."""
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.create_task(self._fetch(domain, self._ids[domain]))
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return task

    async def _fetch(self, domain: str, found: str) -> StsPolicy | NotFetched:
        if self._monotonic() < self._again_at.get(domain, 0.0):
            return NotFetched("sts-policy-fetch-error", "failed lately")
        fetched = await self._fetcher.fetch(domain)
        if isinstance(fetched, NotFetched):
            self._note_failure(domain, fetched)
            return fetched
        self._again_at.pop(domain, None)
        self._book.put(domain, HeldPolicy(fetched, found, self._now()))
        self._known.forget(domain)
        return fetched

    def _note_failure(self, domain: str, failed: NotFetched) -> None:
        _log.info("sts.not_fetched", domain=domain, result=failed.result, cause=failed.cause)
        while len(self._again_at) >= _MOST:
            del self._again_at[next(iter(self._again_at))]
        self._again_at[domain] = self._monotonic() + _AGAIN_SECONDS
        self._results.note(Published(PolicyType.STS, domain, domain), failed.result, reason=failed.cause)

    # ---- before they expire --------------------------------------------------------------------------

    def _keep_fresh(self) -> None:
        while len(self._ids) > _MOST:
            del self._ids[next(iter(self._ids))]
        if self._watch is None:
            self._watch = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        """Fetches the policies of domains in use again, whether or not there is mail for them just now."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self.refresh_due()

    async def refresh_due(self) -> None:
        """Fetches some of those that are due."""
        now, at = self._now(), self._monotonic()
        held = ((domain, self._book.get(domain)) for domain in self._ids)
        due = [d for d, h in held if h is not None and h.is_due(now) and self._again_at.get(d, 0.0) <= at]
        await asyncio.gather(*(asyncio.shield(self._start(domain)) for domain in due[:_REFRESHED_AT_ONCE]))


def _texts(answer: Answer) -> Iterable[str]:
    """Each record's strings joined (RFC 8461 §3.1)."""
    if isinstance(answer, Found):
        for record in answer.records:
            if isinstance(record, TXT):
                yield b"".join(record.strings).decode("ascii", "replace")


def _seconds_of(answer: Answer) -> float:
    match answer:
        case Found(_, ttl):
            return min(max(ttl, _SHORTEST_SECONDS), _LONGEST_SECONDS)
        case Nothing(_, ttl):
            return min(max(ttl, _SHORTEST_SECONDS), _LONGEST_NEGATIVE_SECONDS)
        case NoAnswer():
            return _SHORTEST_SECONDS * 15
