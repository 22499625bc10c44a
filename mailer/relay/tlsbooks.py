"""MTA-STS policies and TLS results, backed by the database so that all workers and restarts share them.

The event loop reads and notes in memory only; a worker thread stores the notes and reads those of others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from mailer.policy.tls_sts import LONGEST_AGE, StsMode, StsPolicy
from mailer.queue import stspolicies, tlsresults
from mailer.queue.stspolicies import StoredPolicy
from mailer.queue.tlsresults import ResultKind
from mailer.relay.smtp.sts import HeldPolicy, RecentPolicies
from mailer.relay.smtp.tls_results import CountedResults, TlsResult
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_LEARN_SECONDS = 10.0
_COUNT_SECONDS = 10.0
# Others' commits and clocks may be that late.
_OVERLAP = timedelta(minutes=5)


class StoredPolicies:
    """Implements relay.smtp.sts.PolicyBook. `synchronise` is called by one thread that may wait."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._recent = RecentPolicies()
        self._lock = threading.Lock()
        self._notes: dict[str, HeldPolicy] = {}
        self._learned_to: datetime | None = None
        self._learn_at = 0.0

    def get(self, domain: str) -> HeldPolicy | None:
        return self._recent.get(domain)

    def put(self, domain: str, held: HeldPolicy) -> None:
        with self._lock:
            self._recent.put(domain, held)
            self._notes[domain] = held

    def synchronise(self, now: datetime) -> None:
        """Stores what was fetched and learns what others did; keeps it while the database is away."""
        with self._lock:
            notes, self._notes = self._notes, {}
        try:
            stspolicies.keep(self._store, {domain: _stored(held) for domain, held in notes.items()})
        except StoreUnavailable as error:
            _log.warning("sts.not_stored", policies=len(notes), error=str(error))
            with self._lock:
                self._notes = notes | self._notes
            return
        if self._monotonic() >= self._learn_at:
            self._learn_at = self._monotonic() + _LEARN_SECONDS
            self._learn(now)

    def _learn(self, now: datetime) -> None:
        since = self._learned_to or now - timedelta(seconds=LONGEST_AGE)
        try:
            found = stspolicies.since(self._store, since)
        except StoreUnavailable as error:
            _log.warning("sts.not_read", error=str(error))
            return
        self._learned_to = now - _OVERLAP
        with self._lock:
            for domain, stored in found.items():
                known = self._recent.get(domain)
                if known is None or known.fetched_at < stored.fetched_at:
                    self._recent.put(domain, _held(stored))


def _stored(held: HeldPolicy) -> StoredPolicy:
    p = held.policy
    return StoredPolicy(
        policy_id=held.id, mode=p.mode, mx=p.mx, max_age=p.max_age, lines=p.lines, fetched_at=held.fetched_at
    )


def _held(stored: StoredPolicy) -> HeldPolicy:
    policy = StsPolicy(mode=StsMode(stored.mode), mx=stored.mx, max_age=stored.max_age, lines=stored.lines)
    return HeldPolicy(policy, stored.policy_id, stored.fetched_at)


class StoredResults(CountedResults):
    """`synchronise` is called by one thread that may wait, and `flush` when no more sessions are opened."""

    def __init__(self, store: Store, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        super().__init__(now)
        self._store = store
        self._monotonic = monotonic
        self._at = 0.0

    def synchronise(self) -> None:
        """Stores what was counted, from time to time."""
        if self._monotonic() >= self._at:
            self._at = self._monotonic() + _COUNT_SECONDS
            self.flush()

    def flush(self) -> None:
        """Stores what was counted; keeps it while the database is away."""
        counts = self.taken()
        try:
            tlsresults.add(self._store, _by_kind(counts))
        except StoreUnavailable as error:
            _log.warning("tls_results.not_stored", kinds=len(counts), error=str(error))
            self.give_back(counts)


def _by_kind(counts: Mapping[TlsResult, int]) -> Mapping[ResultKind, int]:
    return {
        ResultKind(
            day=kind.day,
            domain=kind.published.recipient,
            policy_type=kind.published.type,
            policy_domain=kind.published.domain,
            policy_lines=kind.published.lines,
            result=kind.result,
            mx_host=kind.host,
            mx_ip=kind.address,
            sending_ip=kind.sending_ip,
            reason=kind.reason,
        ): sessions
        for kind, sessions in counts.items()
    }
