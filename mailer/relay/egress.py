"""The book of egress IPs: pools and members in memory, read without a lock, refreshed by a thread.

`candidates` answers for the claimer which IPs a stream's mail to a site may leave from; `rooms` what their
warm-up still allows as this process last saw it. Whoever chooses reserves afterwards (queue/warmup.py): the
memory only spares questions that would be answered with no.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from mailer.policy.egress import TRANSACTIONAL, Candidate, Egress, Room
from mailer.policy.site_file import DEFAULT
from mailer.policy.sites import SiteRules
from mailer.policy.warmplan import OTHER
from mailer.queue import egress
from mailer.queue.egress import EgressTables, HostFacts, PoolRow
from mailer.queue.warmup import day_of, start_of
from mailer.relay.presence import Presence
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_REFRESH_SECONDS = 2.0
_REPORT_SECONDS = 60.0
_ROUTE = "route:"


def provider_of(rules: SiteRules, site: str) -> str | None:
    """Whose warm-up mail to a site counts for; None: a smart host of ours, which needs none."""
    if site.startswith(_ROUTE):
        return None
    rule = rules.rule_of(site)
    return OTHER if rule is None or rule.name == DEFAULT else rule.name


@dataclass(frozen=True, slots=True)
class Meant:
    """The pool that mail is to leave from."""

    pool: str
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class _Known:
    """One reading of the tables, and what was made of it. members: by pool id, its overflow's behind."""

    tables: EgressTables
    members: Mapping[int, tuple[Candidate, ...]]


_NOTHING = _Known(EgressTables(), {})


class EgressBook:
    """`synchronise` is called about once a second by a thread that may wait; the rest by any thread."""

    def __init__(
        self,
        store: Store,
        host: str,
        presence: Presence,
        *,
        rules: SiteRules,
        monotonic: Callable[[], float],
    ) -> None:
        """host: what this host is called in lists, the same for all its workers."""
        self._store = store
        self._host = host
        self._presence = presence
        self._rules = rules
        self._monotonic = monotonic
        self._known = _NOTHING
        self._full: dict[tuple[int, str], int] = {}  # by egress id and provider, on which day
        self._refresh_at = 0.0
        self._report_at = 0.0
        self._reported: list[HostFacts] = []
        self._lock = threading.Lock()

    # ---- reading -------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """There are no pools: mail leaves by the system's choice."""
        return not self._known.members

    def candidates(
        self, tenant_id: int, stream_id: int, site: str, *, kind: str = TRANSACTIONAL, chosen: int = 0
    ) -> Meant | None:
        """The stream's pool: its members, then those of its overflow pool. None: no pool is meant for it.

        Which pool that is, `egress.pool_for` tells; `chosen` is as there. Members that are off or elsewhere
        are among them: a pool without an IP that can send, or without any as yet, is no reason to leave by
        another.
        """
        known = self._known
        pool = egress.pool_for(
            known.tables, self._rules, tenant_id, stream_id, site, kind=kind, chosen=chosen
        )
        return None if pool is None else Meant(pool.name, known.members[pool.id])

    @property
    def asks_for_site(self) -> bool:
        """Some provider's rule names a pool: which one a domain's mail leaves from its site must tell."""
        return any(provider.pool is not None for provider in self._rules.providers)

    def is_warming(self, egress_id: int) -> bool:
        return egress_id in self._known.tables.warming

    def room(self, egress_id: int, provider: str, now: datetime) -> Room:
        """What the warm-up of an IP still allows today at a provider, as it was last seen."""
        tables = self._known.tables
        if egress_id not in tables.warming:
            return Room()
        key, today = (egress_id, provider), day_of(now)
        if self._full.get(key) == today:
            return Room(free=0, until=start_of(today + 1))
        level = tables.levels.get(key)
        if level is None or (level.day < today and level.cap is not None):
            return Room(is_new=True)  # not begun, or not rolled over: the reserve will tell
        if level.cap is None:
            return Room()
        return Room(free=max(level.cap - level.used, 0), until=start_of(level.day + 1))

    def found_full(self, egress_id: int, provider: str, day: int) -> None:
        """A reserve was refused: until the tables are read anew there is no room."""
        self._full[egress_id, provider] = day

    def provider_of(self, site: str) -> str | None:
        return provider_of(self._rules, site)

    # ---- refreshing ----------------------------------------------------------------------------------

    def synchronise(self, now: datetime) -> None:
        """Reads the tables anew every other second, and tells the operator what this host found."""
        if self._monotonic() < self._refresh_at:
            return
        try:
            self.refresh(now)
        except StoreUnavailable as error:
            _log.warning("egress.not_read", error=str(error))  # what was known stays in use

    def refresh(self, now: datetime) -> None:
        """Raises StoreUnavailable."""
        with self._lock:
            self._refresh_at = self._monotonic() + _REFRESH_SECONDS
            tables = egress.tables(self._store)
            everywhere = [e for e, _ in tables.ips.values()]
            self._presence.look(everywhere)
            members = {pool.id: self._members(tables, pool) for pool in tables.pools.values()}
            behind = {
                pool.id: tuple(replace(c, is_overflow=True) for c in members.get(pool.overflow_id or 0, ()))
                for pool in tables.pools.values()
            }
            self._known = _Known(tables, {i: (*own, *behind[i]) for i, own in members.items()})
            self._full = {}
            self._report(everywhere, now)

    def _members(self, tables: EgressTables, pool: PoolRow) -> tuple[Candidate, ...]:
        found = []
        for egress_id, weight in pool.members.items():
            whole, state = tables.ips[egress_id]
            ipv4, ipv6 = self._presence.usable(whole)
            here = ipv4 is not None or ipv6 is not None
            found.append(
                Candidate(
                    egress=replace(whole, ipv4=ipv4, ipv6=ipv6) if here else whole,
                    pool=pool.name,
                    kind=pool.kind,
                    owner=pool.owner,
                    weight=weight,
                    state=state,
                    is_here=here,
                )
            )
        return tuple(found)

    def _report(self, everywhere: Sequence[Egress], now: datetime) -> None:
        facts = self._presence.facts(everywhere)
        if not facts or (facts == self._reported and self._monotonic() < self._report_at):
            return
        egress.report(self._store, self._host, facts, now=now)
        self._report_at = self._monotonic() + _REPORT_SECONDS
        for fact in facts:
            if fact not in self._reported and not (fact.ipv4_here or fact.ipv6_here):
                _log.warning("egress.not_on_this_host", egress_id=fact.egress_id)
        self._reported = facts

    def keep_names(self, stopping: threading.Event) -> None:
        """The body of the thread that may wait for the DNS."""
        is_over = False
        while not is_over:
            if self._presence.look_up():
                self._refresh_at = 0.0
            is_over = stopping.wait(_REFRESH_SECONDS)

    def addresses(self) -> frozenset[str]:
        """All our egress addresses: an MX that has one is ourselves (RFC 5321 §5.1)."""
        both = (a for e, _ in self._known.tables.ips.values() for a in (e.ipv4, e.ipv6))
        return frozenset(a for a in both if a is not None)
