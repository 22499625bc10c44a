"""How fast a site takes mail from one egress IP: learnt from what it answers, and given back gradually.

A site is free until it refuses for rate. Then nothing is sent for some seconds, and one message at a time
asks whether it takes mail again. What was accepted before the refusal, over the time until it takes mail
again, is the first estimate of its rate. From there the rate grows slowly at first and ever faster (the
cubic of RFC 9438 §4.2), as long as it is used, and is cut by a refusal to what the last hour proved: no
fixed time ends a limit, and a limit that was lifted is found.

A site that does not answer is asked by one message at growing intervals, too. When it answers it gets one
connection, then twice as many each half minute.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

LEAST_RATE = 30.0  # messages an hour
_FREE_RATE = 1_000_000.0  # above this a rate limits nothing
_HOUR = timedelta(hours=1)

# The growth of an unrefused rate after h hours of use: 1 + _GROWTH * (h / lag) ** 3; twofold at 3.3 lags.
_GROWTH = 0.03
_SAFETY = 0.95  # of an estimate
_PROVEN = 0.97  # of what the last hour accepted
_DEEPEST_CUT, _LEAST_CUT = 0.6, 0.95
_CUT_ONCE_IN = timedelta(seconds=5)  # what was under way at a refusal is refused as well
_USED = 0.5  # of the rate: below that it did not show that it is safe
_WORTH_OF = 5  # messages after which the use of a rate can be told
_CHECKED_EACH = timedelta(minutes=1)

# A limit over a window is met again after that long; nor should a refusal cost one message in 120.
_LEAST_LAG, _MOST_LAG = timedelta(minutes=1), timedelta(days=1)
_MESSAGES_A_LAG = 120

_REFUSALS_THAT_SHUT = 5  # in a row
_BREAKS_THAT_SHUT = 10  # in a row
_FIRST_PROBE = timedelta(seconds=10)
_PROBES_EACH = timedelta(minutes=5)  # at least so long apart in the end; a sixth of the time shut, if longer
_PART_OF_SHUT = 6
_LONGEST_PAUSE = timedelta(hours=3)
_LONGEST_PAUSE_DEAD = timedelta(minutes=30)
PROBE_PATIENCE = timedelta(minutes=10)  # for the reply to the dot (RFC 5321 §4.5.3.2.6); then another asks

_CROWDED_ONCE_IN = timedelta(seconds=10)
_ONE_MORE_AFTER = timedelta(minutes=10)  # connections, after a refusal for their number
_TWICE_AFTER = timedelta(seconds=30)  # connections, after an outage
_LONGEST_SUSPENSION = timedelta(days=1)
FORGOTTEN_AFTER = timedelta(days=7)  # without a refusal


class State(enum.StrEnum):
    """free: not limited. slowed: by a rate or in connections. suspended: nothing is sent. probing: one
    message is on its way to ask."""

    FREE = "free"
    SLOWED = "slowed"
    SUSPENDED = "suspended"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """reason: for people, with the peer's words. rule, place: its name, file and line; None: none of them,
    the learner's own finding."""

    reason: str
    rule: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What was heard since the last report, in attempts.

    limited   refused for rate
    crowded   refused for the number of connections
    answered  any other answer: the site is alive
    broken    no answer, or one of the host that serves nobody now
    earlier   (minute since 1970, accepted) before this slice, not yet reported
    """

    accepted: int = 0
    limited: int = 0
    crowded: int = 0
    answered: int = 0
    broken: int = 0
    earlier: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """A time in which nothing is taken. accepted, begin: what was, in the hour before, since when."""

    at: datetime
    begin: datetime
    accepted: int
    is_for_rate: bool
    probed_at: datetime
    pause: timedelta = _FIRST_PROBE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One (egress IP, site).

    rate             messages an hour; None: unlimited
    connections      at a time, over all workers; None: as many as the site's rule allows
    suspended_until  when a probe may go, while suspended or probing
    probe_until      when the one under way is given up
    since            when this state began
    troubled_at      the last refusal or break that counted
    base, used       the rate of the last cut, and hours of use since then
    lag              how long after it was exceeded a limit is felt
    checked_at, checked  since when the use is counted, and what was accepted since
    history          (minute since 1970, accepted) of the last hour
    suspensions      by rules, in a row
    """

    state: State = State.FREE
    rate: float | None = None
    connections: int | None = None
    suspended_until: datetime | None = None
    probe_until: datetime | None = None
    why: Why | None = None
    since: datetime | None = None
    troubled_at: datetime | None = None
    base: float = 0.0
    used: float = 0.0
    lag: timedelta = _HOUR
    checked_at: datetime | None = None
    checked: int = 0
    cut_at: datetime | None = None
    history: tuple[tuple[int, int], ...] = ()
    limited_run: int = 0
    broken_run: int = 0
    shut: Shut | None = None
    suspensions: int = 0
    opened_at: datetime | None = None
    opens_twofold: bool = False

    @property
    def is_shut(self) -> bool:
        return self.shut is not None

    def is_probe_due(self, now: datetime) -> bool:
        """Whether one message may be sent to ask."""
        if self.state is State.PROBING:
            return self.probe_until is not None and now >= self.probe_until
        return self.suspended_until is not None and now >= self.suspended_until

    def accepted_in_the_hour(self, now: datetime) -> int:
        since = _minute(now) - 60
        return sum(n for minute, n in self.history if minute > since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """most: connections the site's rule allows. why: what to say of a change that this slice brings."""

    now: datetime
    most: int
    why: Why = field(default_factory=lambda: Why(reason="it refuses"))


def learn(pace: Pace, heard: Slice, at: Circumstances) -> Pace:
    """What follows for the pace of a site from what was heard there."""
    pace = _remember(pace, heard, at.now)
    if pace.is_shut:
        return _while_shut(pace, heard, at)
    if heard.limited:
        pace = _limited(pace, at)
    elif heard.accepted:
        pace = _used(pace, heard.accepted, at.now)
    if heard.crowded and not pace.is_shut:
        pace = _crowded(pace, at)
    if not pace.is_shut and pace.broken_run >= _BREAKS_THAT_SHUT:
        pace = _close(pace, at, is_for_rate=False)
    return _open_connections(pace, at)


def probe(pace: Pace, now: datetime) -> Pace:
    """One message goes to ask; `is_probe_due` said that it may."""
    return replace(pace, state=State.PROBING, probe_until=now + PROBE_PATIENCE)


def suspend(pace: Pace, lasts: timedelta, at: Circumstances) -> Pace:
    """A rule's suspension: `lasts` the first time, twice as long each time it follows within a day."""
    again = pace.troubled_at is not None and at.now - pace.troubled_at < _LONGEST_SUSPENSION
    number = pace.suspensions if again else 0
    pause = min(lasts * 2 ** min(number, 6), _LONGEST_SUSPENSION)
    closed = pace if pace.is_shut else _close(pace, at, is_for_rate=True)
    if closed.shut is None:
        raise AssertionError("a closed pace is shut")
    return replace(
        closed,
        state=State.SUSPENDED,
        suspended_until=max(at.now + pause, closed.suspended_until or at.now),
        probe_until=None,
        suspensions=number + 1,
        why=at.why,
        since=closed.since if closed.why == at.why else at.now,
        troubled_at=at.now,
    )


def is_forgotten(pace: Pace, now: datetime) -> bool:
    """Nothing is limited any more, or the last refusal is so old that it says nothing."""
    if pace.state is State.FREE:
        return True
    return not pace.is_shut and pace.troubled_at is not None and now - pace.troubled_at > FORGOTTEN_AFTER


# ---- what was heard ------------------------------------------------------------------------------------


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _remember(pace: Pace, heard: Slice, now: datetime) -> Pace:
    history = pace.history
    if heard.earlier:
        merged = dict(history)
        for minute, n in heard.earlier:
            merged[minute] = merged.get(minute, 0) + n
        history = tuple(sorted(merged.items()))
    if heard.accepted:
        minute = _minute(now)
        if history and history[-1][0] == minute:
            history = (*history[:-1], (minute, history[-1][1] + heard.accepted))
        else:
            history = (*(h for h in history if h[0] > minute - 60), (minute, heard.accepted))
    is_alive = heard.accepted or heard.answered or heard.limited or heard.crowded
    return replace(
        pace,
        history=history,
        limited_run=0 if heard.accepted else pace.limited_run + heard.limited,
        broken_run=0 if is_alive else pace.broken_run + heard.broken,
    )


# ---- shut ----------------------------------------------------------------------------------------------


def _close(pace: Pace, at: Circumstances, *, is_for_rate: bool) -> Pace:
    """Nothing more until a probe was answered."""
    now = at.now
    first = next((minute for minute, _ in pace.history if minute > _minute(now) - 60), None)
    begin = now if first is None else max(now - _HOUR, datetime.fromtimestamp(first * 60, UTC))
    shut = Shut(
        at=now,
        begin=begin,
        accepted=pace.accepted_in_the_hour(now),
        is_for_rate=is_for_rate,
        probed_at=now,
    )
    return replace(
        pace,
        state=State.SUSPENDED,
        shut=shut,
        suspended_until=now + shut.pause,
        probe_until=None,
        why=at.why,
        since=now,
        troubled_at=now,
        limited_run=0,
        broken_run=0,
    )


def _while_shut(pace: Pace, heard: Slice, at: Circumstances) -> Pace:
    """The probe's answer. Before a probe was sent, what comes in was under way when it closed."""
    if pace.state is not State.PROBING or pace.shut is None:
        return pace
    if heard.accepted or (heard.answered and not heard.limited):
        return _recover(pace, pace.shut, at.now)
    if heard.limited or heard.crowded or heard.broken:
        return _next_probe(pace, pace.shut, at)
    return pace


def _next_probe(pace: Pace, shut: Shut, at: Circumstances) -> Pace:
    longest = _LONGEST_PAUSE if shut.is_for_rate else _LONGEST_PAUSE_DEAD
    most = min(max(_PROBES_EACH, (at.now - shut.at) / _PART_OF_SHUT), longest)
    pause = min(shut.pause * 2, most)
    return replace(
        pace,
        state=State.SUSPENDED,
        shut=replace(shut, pause=pause, probed_at=at.now),
        suspended_until=at.now + pause,
        probe_until=None,
        troubled_at=at.now,
        why=at.why,
    )


def _recover(pace: Pace, shut: Shut, now: datetime) -> Pace:
    """It takes mail again: at the rate that it was seen to take, or through few connections at first."""
    opened = replace(
        pace,
        shut=None,
        suspended_until=None,
        probe_until=None,
        state=State.SLOWED,
        since=now,
        limited_run=0,
        broken_run=0,
    )
    if not shut.is_for_rate:
        return replace(opened, connections=1, opened_at=now, opens_twofold=True)
    # It began to take mail somewhere between the last refusal and now.
    end = shut.probed_at + (now - shut.probed_at) / 2
    hours = max(end - shut.begin, _FIRST_PROBE) / _HOUR
    base = _SAFETY * shut.accepted / hours if shut.accepted else (pace.rate or LEAST_RATE) / 2
    if pace.rate is not None:
        base = min(base, pace.rate * _LEAST_CUT)
    base = max(base, LEAST_RATE)
    lag = max(end - shut.at, min(end - shut.begin, _HOUR), min(_HOUR, _HOUR * _MESSAGES_A_LAG / base))
    return _from_base(replace(opened, lag=min(max(lag, _LEAST_LAG), _MOST_LAG)), base, now)


# ---- rate ----------------------------------------------------------------------------------------------


def _from_base(pace: Pace, base: float, now: datetime) -> Pace:
    return replace(pace, base=base, rate=base, used=0.0, checked_at=now, checked=0, cut_at=now)


def _limited(pace: Pace, at: Circumstances) -> Pace:
    now = at.now
    if pace.rate is None or pace.limited_run >= _REFUSALS_THAT_SHUT:
        return _close(pace, at, is_for_rate=True)
    if pace.cut_at is not None and now - pace.cut_at < _CUT_ONCE_IN:
        return replace(pace, troubled_at=now)
    proven = _PROVEN * pace.accepted_in_the_hour(now)
    base = min(max(proven, pace.rate * _DEEPEST_CUT), pace.rate * _LEAST_CUT)
    return _from_base(replace(pace, why=at.why, troubled_at=now), max(base, LEAST_RATE), now)


def _used(pace: Pace, accepted: int, now: datetime) -> Pace:
    """Lets the rate grow by the time in which it was used."""
    if pace.rate is None or pace.checked_at is None:
        return pace
    accepted += pace.checked
    spent = now - pace.checked_at
    if spent < max(_CHECKED_EACH, _HOUR * _WORTH_OF / pace.rate):
        return replace(pace, checked=accepted)
    hours = spent / _HOUR
    used = pace.used + (hours if accepted >= _USED * pace.rate * hours else 0.0)
    rate = pace.base * (1 + _GROWTH * (used * _HOUR / pace.lag) ** 3)
    grown = replace(pace, used=used, rate=rate, checked_at=now, checked=0)
    if rate >= _FREE_RATE:
        grown = replace(grown, rate=None, checked_at=None)
        return _freed(grown, now)
    return grown


def _freed(pace: Pace, now: datetime) -> Pace:
    if pace.rate is None and pace.connections is None and not pace.is_shut:
        return replace(pace, state=State.FREE, why=None, since=now)
    return pace


# ---- connections ---------------------------------------------------------------------------------------


def _crowded(pace: Pace, at: Circumstances) -> Pace:
    if pace.opened_at is not None and at.now - pace.opened_at < _CROWDED_ONCE_IN:
        return replace(pace, troubled_at=at.now)
    had = at.most if pace.connections is None else min(pace.connections, at.most)
    is_new = pace.state is State.FREE
    return replace(
        pace,
        state=State.SLOWED,
        connections=max(1, had // 2),
        opened_at=at.now,
        opens_twofold=False,
        why=at.why,
        since=at.now if is_new else pace.since,
        troubled_at=at.now,
    )


def _open_connections(pace: Pace, at: Circumstances) -> Pace:
    """One more, or twice as many, each time that long enough went well."""
    if pace.connections is None or pace.opened_at is None or pace.is_shut:
        return pace
    if at.now - pace.opened_at < (_TWICE_AFTER if pace.opens_twofold else _ONE_MORE_AFTER):
        return pace
    more = pace.connections * 2 if pace.opens_twofold else pace.connections + 1
    opened = replace(pace, connections=more if more < at.most else None, opened_at=at.now)
    return _freed(opened, at.now)
