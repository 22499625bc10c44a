"""What this worker hears of sites, told to the database, and what all workers together learnt there.

Attempts are counted in memory as they end. About once a second the lease thread tells the
database what it must know, and reads what holds; the claimer and the event loop read that without a lock.
Of a site that only accepts nothing is told: its counts stay here until it refuses for the first time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from mailer.policy.automation import Action, Rule, Sign, sign_of
from mailer.policy.governor import Match, Observation, StreamPace
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.policy.pace import PROBE_PATIENCE, Slice, State
from mailer.policy.sites import SiteRules
from mailer.queue import pace
from mailer.queue.pace import Known, Part, Place, Standing
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_TELL_SECONDS = 10.0  # of a slowed site that accepts
_FORGET_SECONDS = 3600.0
_PRUNE_SECONDS = 60.0
_MINUTES_KEPT = 60
_WORDS = 300
_SOON = timedelta(seconds=5)
_STREAM_ACTIONS = frozenset({Action.SLOW_STREAM, Action.HOLD_STREAM})
_SITE_ACTIONS = frozenset({Action.SLOW, Action.FEWER, Action.SUSPEND})


@dataclass(slots=True)
class _Matched:
    rule: Rule
    count: int = 0
    words: str = ""


@dataclass(slots=True)
class _Heard:
    """Not yet told. accepted: by minute since 1970, filled in as it is told."""

    accepted: dict[int, int] = field(default_factory=dict)
    answered: int = 0
    broken: int = 0
    words: str = ""
    matches: dict[str, _Matched] = field(default_factory=dict)

    @property
    def is_urgent(self) -> bool:
        return bool(self.broken or self.matches)

    def add(self, other: _Heard) -> None:
        """What it accepted is not meant."""
        self.answered += other.answered
        self.broken += other.broken
        self.words = self.words or other.words
        for name, theirs in other.matches.items():
            mine = self.matches.setdefault(name, _Matched(theirs.rule, 0, theirs.words))
            mine.count += theirs.count


@dataclass(slots=True)
class _Probe:
    """A probe that is this worker's to send. until: by the monotonic clock; is_out: claimed."""

    until: float
    is_out: bool = False


class PaceBook:
    """`synchronise` by one thread, which may wait; the rest from any thread."""

    def __init__(
        self,
        store: Store,
        rules: SiteRules,
        *,
        most_of: Callable[[str], int],
        unpaced: Collection[str] = (),
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """most_of: connections to a site by its rule, over all workers. unpaced: sites that are our own."""
        self._unpaced = frozenset(unpaced)
        self._store = store
        self._rules = rules
        self._most_of = most_of
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._heard: dict[Place, _Heard] = {}  # all but what was accepted
        self._accepted: dict[Place, dict[int, int]] = {}  # by minute since 1970
        self._streams: dict[Part, dict[str, _Matched]] = {}
        self._minute = int(now().timestamp()) // 60
        self._known = Known({}, {})
        self._shut: frozenset[Place] = frozenset()  # by what was heard and is not yet told
        self._asking: set[Place] = set()
        self._probes: dict[Place, _Probe] = {}
        self._told_at: dict[Place, float] = {}
        self._forget_at = self._prune_at = 0.0

    # ---- what was heard ------------------------------------------------------------------------------

    def note(self, egress: str, site: str, tenant_id: int, stream_id: int, outcome: Outcome) -> None:
        """Counts a settled attempt. egress: the IP it left from, "" for the system's choice."""
        if site in self._unpaced:
            return
        place = (egress, site)
        if place in self._probes:
            self._probe_ended(place, outcome)
        if isinstance(outcome, Accepted):
            with self._lock:
                counts = self._accepted.get(place)
                if counts is None:
                    counts = self._accepted[place] = {}
                counts[self._minute] = counts.get(self._minute, 0) + 1
            return
        rule = self._rule_for(site, outcome)
        with self._lock:
            if rule is None or not rule.actions & _SITE_ACTIONS:
                self._count_sign(place, outcome)
            else:
                _count(self._of(place).matches, rule, outcome)
            if rule is not None and rule.actions & _STREAM_ACTIONS:
                _count(self._streams.setdefault((tenant_id, stream_id, site), {}), rule, outcome)
        if rule is not None and rule.threshold == 1 and self._stops_at_once(place, rule):
            self._shut_at_once(place)

    def _of(self, place: Place) -> _Heard:
        heard = self._heard.get(place)
        if heard is None:
            heard = self._heard[place] = _Heard()
        return heard

    def _rule_for(self, site: str, outcome: Outcome) -> Rule | None:
        if not isinstance(outcome, Refused):
            return None
        provider = self._rules.provider_name(site)
        return self._rules.automation.match(provider, outcome.reply, outcome.phase)

    def _count_sign(self, place: Place, outcome: Outcome) -> None:
        match sign_of(outcome):
            case Sign.BROKEN:
                heard = self._of(place)
                heard.broken += 1
                heard.words = _words(outcome)
            case Sign.ANSWERED if place in self._known.places or place in self._heard:
                self._of(place).answered += 1
            case _:
                pass

    def _stops_at_once(self, place: Place, rule: Rule) -> bool:
        """A site that was free until now takes nothing more of what waits, before anybody was told."""
        known = self._known.places.get(place)
        is_free = known is None or (known.rate is None and known.state in (State.FREE, State.SLOWED))
        return Action.SUSPEND in rule.actions or (is_free and Action.SLOW in rule.actions)

    def _probe_ended(self, place: Place, outcome: Outcome) -> None:
        probe = self._probes.get(place)  # the thread that tells gives up those that are too old
        if sign_of(outcome) is Sign.NOTHING:
            if probe is not None:
                probe.is_out = False  # it was not sent: another message may ask
        else:
            self._probes.pop(place, None)
            self._shut_at_once(place)  # until its answer was told

    def _shut_at_once(self, place: Place) -> None:
        with self._lock:
            self._shut |= {place}

    # ---- what holds ----------------------------------------------------------------------------------

    def connections(self, egress: str, site: str, most: int) -> int:
        """Sessions that may be open to a site now, of `most`; 0 while it is suspended, 1 for a probe."""
        place = (egress, site)
        if place in self._probes:
            return min(1, most)
        if place in self._shut:
            return 0
        known = self._known.places.get(place)
        if known is None or known.state in (State.FREE, State.SLOWED):
            return most if known is None or known.connections is None else min(most, known.connections)
        if most > 0 and _asks(known, self._now()):
            self._asking.add(place)
        return 0

    def claimable(self, egress: str, site: str, most: int, *, held: int) -> int:
        """Messages that may be claimed for a site now, of `most`: one for a probe.

        held  claimed before and not yet settled: where there are any, one of them asks
        """
        probe = self._probes.get((egress, site))
        if probe is not None:
            return 0 if probe.is_out or held else min(1, most)
        return most if self.connections(egress, site, 1) else 0

    def claimed(self, egress: str, site: str) -> None:
        """Mail was claimed for the site; if it is to ask, no other may."""
        probe = self._probes.get((egress, site))
        if probe is not None:
            probe.is_out = True

    def closed_until(self, egress: str, site: str) -> datetime | None:
        """Until when nothing leaves from there for the site; None: mail may, if only the one that asks."""
        if self.claimable(egress, site, 1, held=0):
            return None
        known = self._known.places.get((egress, site))
        soon = self._now() + _SOON
        until = None if known is None else known.suspended_until
        return soon if until is None else max(until, soon)

    def is_in_trouble(self, tenant_id: int, stream_id: int, site: str) -> bool:
        """The stream itself is held or slowed at the site: what it sends must not move to other IPs."""
        held = self.held_until(tenant_id, stream_id, site)
        return held is not None or self.stream_rate_per_hour(tenant_id, stream_id, site) is not None

    def rate_per_hour(self, egress: str, site: str) -> float | None:
        """Messages an hour over all workers; None: not limited."""
        known = self._known.places.get((egress, site))
        return None if known is None or known.state is not State.SLOWED else known.rate

    def held_until(self, tenant_id: int, stream_id: int, site: str) -> datetime | None:
        """Until when nothing of the stream goes to the site; None: it may go."""
        held = self._stream(tenant_id, stream_id, site)
        until = None if held is None else held.held_until
        return until if until is not None and until > self._now() else None

    def stream_rate_per_hour(self, tenant_id: int, stream_id: int, site: str) -> float | None:
        """Messages an hour of the stream to the site, over all workers; None: not limited."""
        known = self._stream(tenant_id, stream_id, site)
        return None if known is None else known.rate_at(self._now())

    def _stream(self, tenant_id: int, stream_id: int, site: str) -> StreamPace | None:
        streams = self._known.streams
        return streams.get((tenant_id, stream_id, site)) if streams else None

    # ---- the database --------------------------------------------------------------------------------

    def synchronise(self, now: datetime) -> None:
        """Tells what was heard and reads what holds; keeps its counts while the database is away."""
        self._minute = int(now.timestamp()) // 60
        places, streams = self._take()
        try:
            pace.report(
                self._store,
                {place: _observation(heard, self._minute) for place, heard in places.items()},
                {part: _matches(matched) for part, matched in streams.items()},
                most_of=self._most_of,
                now=now,
            )
        except StoreUnavailable as error:
            _log.warning("pace.not_told", sites=len(places), error=str(error))
            self._put_back(places, streams)
            return
        try:
            self._learn()
            self._ask(now)
            self._forget(now)
        except StoreUnavailable as error:
            _log.warning("pace.not_read", error=str(error))

    def _learn(self) -> None:
        known = pace.known(self._store)
        with self._lock:
            self._known = known
            # What was noted since the last report is not in what was read.
            self._shut = frozenset(place for place in self._shut if place in self._heard)

    def _take(self) -> tuple[dict[Place, _Heard], dict[Part, dict[str, _Matched]]]:
        """What must be told now; the rest stays."""
        at = self._monotonic()
        taken: dict[Place, _Heard] = {}
        with self._lock:
            for place in self._heard.keys() | (self._known.places.keys() & self._accepted.keys()):
                heard = self._heard.get(place) or _Heard()
                if self._is_due(place, heard, at):
                    self._heard.pop(place, None)
                    heard.accepted = self._accepted.pop(place, {})
                    taken[place] = heard
                    self._told_at[place] = at
            if at >= self._prune_at:
                self._prune_at = at + _PRUNE_SECONDS
                self._prune()
            streams, self._streams = self._streams, {}
        return taken, streams

    def _prune(self) -> None:
        """Of what was accepted, the last hour is kept: it is the first estimate of a rate."""
        oldest = self._minute - _MINUTES_KEPT
        for place, counts in list(self._accepted.items()):
            if min(counts) < oldest:
                young = {minute: n for minute, n in counts.items() if minute >= oldest}
                if young:
                    self._accepted[place] = young
                else:
                    del self._accepted[place]

    def _is_due(self, place: Place, heard: _Heard, at: float) -> bool:
        if heard.is_urgent:
            return True
        known = self._known.places.get(place)
        if known is None:
            return False
        if known.state in (State.SUSPENDED, State.PROBING):
            return True  # what was under way as it was suspended must not be taken for a probe's answer
        return at - self._told_at.get(place, -_TELL_SECONDS) >= _TELL_SECONDS

    def _put_back(self, places: Mapping[Place, _Heard], streams: Mapping[Part, dict[str, _Matched]]) -> None:
        with self._lock:
            for place, heard in places.items():
                counts = self._accepted.setdefault(place, {})
                for minute, n in heard.accepted.items():
                    counts[minute] = counts.get(minute, 0) + n
                heard.accepted = {}
                self._of(place).add(heard)
            for part, matched in streams.items():
                mine = self._streams.setdefault(part, {})
                for name, theirs in matched.items():
                    mine.setdefault(name, _Matched(theirs.rule, 0, theirs.words)).count += theirs.count

    def _ask(self, now: datetime) -> None:
        """Asks for the probes that mail waits to be, and gives up those that nobody sent."""
        at = self._monotonic()
        for place, probe in list(self._probes.items()):
            if probe.until <= at:
                self._probes.pop(place, None)
        asking, self._asking = self._asking, set()
        for place in sorted(asking - self._probes.keys()):
            if pace.take_probe(self._store, place, now=now):
                self._probes[place] = _Probe(at + PROBE_PATIENCE.total_seconds())
                _log.info("pace.probing", egress_ip=place[0], site=place[1])

    def _forget(self, now: datetime) -> None:
        at = self._monotonic()
        if at < self._forget_at:
            return
        self._forget_at = at + _FORGET_SECONDS
        known = self._known.places
        self._told_at = {place: told for place, told in self._told_at.items() if place in known}
        pace.forget(self._store, now=now)


def _asks(known: Standing, now: datetime) -> bool:
    """As policy/pace.py's `is_probe_due`, which the database decides by."""
    until = known.probe_until if known.state is State.PROBING else known.suspended_until
    return until is not None and until <= now


def _count(matches: dict[str, _Matched], rule: Rule, outcome: Outcome) -> None:
    matched = matches.setdefault(rule.name, _Matched(rule))
    matched.count += 1
    matched.words = matched.words or _words(outcome)


def _words(outcome: Outcome) -> str:
    match outcome:
        case Refused(reply, phase):
            return f"{reply.code} {reply.text} (to {phase})"[:_WORDS]
        case Broken(phase, cause):
            return f"{cause} (at {phase})"[:_WORDS]
        case _:
            return ""


def _observation(heard: _Heard, minute: int) -> Observation:
    earlier = tuple(sorted((m, n) for m, n in heard.accepted.items() if m < minute - 1))
    return Observation(
        heard=Slice(
            accepted=sum(n for m, n in heard.accepted.items() if m >= minute - 1),
            answered=heard.answered,
            broken=heard.broken,
            earlier=earlier,
        ),
        matches=_matches(heard.matches),
        words=heard.words,
    )


def _matches(matched: Mapping[str, _Matched]) -> tuple[Match, ...]:
    return tuple(Match(rule=m.rule, count=m.count, words=m.words) for m in matched.values())
