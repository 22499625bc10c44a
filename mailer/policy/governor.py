"""Rules and learner together: what a report of outcomes changes at a site, and for a tenant's stream there.

The same functions serve the queue, which keeps the records in the database, and the simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailer.policy import pace as learner
from mailer.policy.automation import Action, Rule
from mailer.policy.pace import Circumstances, Pace, Slice, Why

# Ring of a window's counts: a reply is forgotten between one and one and an eighth windows after it came.
_PARTS = 8
_FIRST_STREAM_RATE = 60.0  # messages an hour, where the rule slows a stream for the first time
_LEAST_STREAM_RATE = 6.0
_STREAM_GROWS_TWOFOLD = timedelta(hours=1)
_FREE_STREAM_RATE = 100_000.0
_STREAM_MEMORY = timedelta(days=1)
_MOST_DOUBLINGS = 5

Tally = tuple[tuple[int, int], ...]  # (part of the window since 1970, replies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Replies that a rule fitted: how many since the last report, and the words of one of them."""

    rule: Rule
    count: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one worker heard at a site from one egress IP since its last report.

    heard    what no rule fitted, and what was accepted
    words    what the last break said
    """

    heard: Slice = field(default_factory=Slice)
    matches: tuple[Match, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A site's pace from one egress IP, and how near its rules are to acting, by the rule's name."""

    pace: Pace = field(default_factory=Pace)
    tallies: Mapping[str, Tally] = field(default_factory=dict)


def govern(record: Record, seen: Observation, now: datetime, *, most: int) -> Record:
    """The record after an observation. most: connections that the site's rule allows."""
    tallies = dict(record.tallies)
    acting = [match for match in seen.matches if _acts(tallies, match, now)]
    heard = _with_matches(seen.heard, seen.matches, acting)
    why = _why(acting, seen.words)
    pace = learner.learn(record.pace, heard, Circumstances(now=now, most=most, why=why))
    for match in acting:
        if Action.SUSPEND in match.rule.actions:
            at = Circumstances(now=now, most=most, why=_because(match))
            pace = learner.suspend(pace, match.rule.lasts, at)
    return Record(pace=pace, tallies=tallies)


def _acts(tallies: dict[str, Tally], match: Match, now: datetime) -> bool:
    """Counts a rule's replies; True once they are as many as it asks for."""
    rule = match.rule
    if rule.threshold == 1:
        return True
    part = max(rule.window / _PARTS, timedelta(seconds=1))
    number = int(now.timestamp() // part.total_seconds())
    young = {n: count for n, count in tallies.get(rule.name, ()) if n >= number - _PARTS}
    young[number] = young.get(number, 0) + match.count
    tallies[rule.name] = tuple(sorted(young.items()))
    return sum(young.values()) >= rule.threshold


def _with_matches(heard: Slice, matches: Iterable[Match], acting: Iterable[Match]) -> Slice:
    acting = list(acting)
    limited = sum(m.count for m in acting if Action.SLOW in m.rule.actions)
    crowded = sum(m.count for m in acting if Action.FEWER in m.rule.actions)
    all_ = sum(m.count for m in matches)
    return replace(
        heard,
        limited=heard.limited + limited,
        crowded=heard.crowded + crowded,
        answered=heard.answered + max(0, all_ - limited - crowded),
    )


def _why(acting: list[Match], words: str) -> Why:
    limiting = [m for m in acting if m.rule.actions & {Action.SLOW, Action.FEWER}]
    return _because(limiting[-1]) if limiting else Why(reason=words or "it does not answer")


def _because(match: Match) -> Why:
    return Why(reason=match.words, rule=match.rule.name, place=match.rule.place)


# ---- a tenant's stream at a site -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPace:
    """A tenant's stream at a site.

    held_until  None: not held
    rate        messages an hour when it was set, at `rated_at`; None: not limited
    holds       in a row, each less than a day after the one before
    """

    held_until: datetime | None = None
    rate: float | None = None
    rated_at: datetime | None = None
    holds: int = 0
    why: Why | None = None
    since: datetime | None = None
    troubled_at: datetime | None = None
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    def rate_at(self, now: datetime) -> float | None:
        """Messages an hour: twice as many each hour that passes without another refusal; None: unlimited."""
        if self.rate is None or self.rated_at is None:
            return None
        hours = max((now - self.rated_at) / _STREAM_GROWS_TWOFOLD, 0.0)
        rate = self.rate * 2 ** min(hours, 20.0)
        return rate if rate < _FREE_STREAM_RATE else None


def govern_stream(stream: StreamPace, matches: Iterable[Match], now: datetime) -> StreamPace:
    """What follows for a tenant's stream at a site from the replies to its mail there."""
    tallies = dict(stream.tallies)
    for match in matches:
        acts = _acts(tallies, match, now)
        stream = replace(stream, troubled_at=now)
        if not acts:
            continue
        if Action.SLOW_STREAM in match.rule.actions:
            stream = _slow(stream, match, now)
        if Action.HOLD_STREAM in match.rule.actions:
            stream = _hold(stream, match, now)
    return replace(stream, tallies=tallies)


def _slow(stream: StreamPace, match: Match, now: datetime) -> StreamPace:
    had = stream.rate_at(now)
    rate = _FIRST_STREAM_RATE if had is None else max(had / 2, _LEAST_STREAM_RATE)
    since = now if had is None else stream.since
    return replace(stream, rate=rate, rated_at=now, why=_because(match), since=since)


def _hold(stream: StreamPace, match: Match, now: datetime) -> StreamPace:
    if stream.held_until is not None and now < stream.held_until:
        return stream  # what was under way as it was held
    again = stream.held_until is not None and now - stream.held_until < _STREAM_MEMORY
    holds = stream.holds if again else 0
    until = now + match.rule.lasts * 2 ** min(holds, _MOST_DOUBLINGS)
    return replace(
        stream,
        held_until=until,
        holds=holds + 1,
        # What waited does not go out at once when the hold ends.
        rate=_FIRST_STREAM_RATE,
        rated_at=until,
        why=_because(match),
        since=now,
    )


def is_stream_forgotten(stream: StreamPace, now: datetime) -> bool:
    """Nothing limits it, and no reply of the last day would count against it."""
    is_held = stream.held_until is not None and now < stream.held_until + _STREAM_MEMORY
    is_young = stream.troubled_at is not None and now - stream.troubled_at < _STREAM_MEMORY
    return not is_held and not is_young and stream.rate_at(now) is None
