"""When a greylisted recipient comes again: just after the time that its site's greylisting took before.

A greylist lets pass who comes again some time after the first try (RFC 6647 §2.4). Nobody says how long that
is, but it is the same for all: what one recipient met tells when the next one is due.

Pure: times are counted from a recipient's first refusal, and instants and the draw are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# What refuses for longer is no greylist: RFC 6647 §5 advises servers to ask for a minute to 24 hours.
LONGEST = timedelta(hours=24)

# Tried where nothing is remembered: a minute is the least that RFC 6647 §5 advises; postgrey asks for 300 s
# by default (postgrey(8), --delay), cPanel's manual has 10 minutes, OpenBSD's spamd 25 (spamd(8), passtime);
# some ask for half an hour or an hour. The retry schedule goes on from there.
GUESSES = tuple(timedelta(minutes=m) for m in (1, 5, 10, 25, 30, 60))

_MARGIN = timedelta(seconds=1)  # their clock began a little before ours, at their refusal
_NEARLY = 0.75  # of the remembered time; a guess that lies closer is not worth a try of its own
_SOONER_SHARE = 0.1  # of the recipients try sooner, to find out that a site asks for less than before
_SOONER_AGAIN = timedelta(days=1)  # after which it is asked again whether so soon is still refused
_OF_NO_NEWS = 0.5  # of the time at which recipients are known to be refused: that one sooner is, too
_GROWTH = 1.5  # where the remembered time was too short
_MOST_GROWTH = 2.0  # by one recipient, whose next try may have been late for other reasons


@dataclass(frozen=True, slots=True)
class Greylisted:
    """A recipient that a site put off: at its first try there, and last (columns of `greylisted`)."""

    site: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What a site's greylisting takes.

    passes_after   a recipient that came so long after its first refusal passed
    refuses_until  one that came so long after it was still refused; 0: nobody came sooner
    refused_at     when that was seen last; None: never
    """

    passes_after: timedelta
    refuses_until: timedelta = timedelta(0)
    refused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A recipient that came again. after: how long after its first refusal it was refused again or passed.

    refuses_until  its last try before, which was refused
    """

    after: timedelta
    passed: bool
    refuses_until: timedelta = timedelta(0)


def is_too_old(first_at: datetime, now: datetime) -> bool:
    """Whether a recipient was refused for longer than a greylist does: it is deferred like any other."""
    return now - first_at >= LONGEST


def learn(habit: Habit | None, seen: Sighting, now: datetime) -> Habit | None:
    """What is known of a site after one more recipient came again; None: still nothing."""
    if seen.after >= LONGEST or seen.after <= timedelta(0):
        return habit
    if habit is None:
        return _first(seen, now) if seen.passed else None
    if seen.passed:
        return _after_pass(habit, seen, now)
    if seen.after < habit.refuses_until * _OF_NO_NEWS:
        return habit
    if seen.after < habit.passes_after:
        until = max(habit.refuses_until, seen.after)
        return replace(habit, refuses_until=until, refused_at=now)
    grown = min(max(habit.passes_after, seen.after) * _GROWTH, habit.passes_after * _MOST_GROWTH, LONGEST)
    return Habit(passes_after=grown, refuses_until=habit.passes_after, refused_at=now)


def _first(seen: Sighting, now: datetime) -> Habit:
    refused_at = now if seen.refuses_until else None
    return Habit(passes_after=seen.after, refuses_until=seen.refuses_until, refused_at=refused_at)


def _after_pass(habit: Habit, seen: Sighting, now: datetime) -> Habit:
    if seen.after <= habit.passes_after:
        sooner = seen.after <= habit.refuses_until  # what was refused there before passes now
        until = seen.refuses_until if sooner else max(habit.refuses_until, seen.refuses_until)
        return replace(habit, passes_after=seen.after, refuses_until=until)
    if seen.refuses_until < habit.passes_after:
        return habit  # it came later than it need have: nothing new
    grown = min(seen.after, habit.passes_after * _MOST_GROWTH)
    return Habit(passes_after=grown, refuses_until=habit.passes_after, refused_at=now)


def next_try(
    first_at: datetime,
    habit: Habit | None,
    delays: Sequence[timedelta],
    *,
    now: datetime,
    draw: float,
) -> datetime:
    """When a recipient that was refused now comes again; what its reply says of it is for the caller.

    delays  of the retry schedule from here on, the last one repeats. Its next try is the latest where nothing
            is remembered; else its first one that does not come before the remembered time
    draw    uniform in [0, 1)
    """
    so_far = now - first_at
    if habit is None or so_far >= habit.passes_after:
        return min(now + delays[0], _after_guess(first_at, so_far, timedelta.max) or now + delays[0])
    passes_at = first_at + habit.passes_after
    latest = min(passes_at + _MARGIN, _scheduled(passes_at, delays, now))
    sooner = habit.passes_after * _NEARLY
    guessed = _after_guess(first_at, max(habit.refuses_until, so_far), sooner)
    if guessed is not None:  # in what nobody tried yet
        return min(guessed, latest)
    if draw < _SOONER_SHARE and sooner > so_far and _is_unsettled(habit, sooner, now):
        return first_at + sooner
    return latest


def _after_guess(first_at: datetime, so_far: timedelta, before: timedelta) -> datetime | None:
    """Just after the next guess, if there is one."""
    for guess in GUESSES:
        if so_far < guess < before:
            return first_at + guess + _MARGIN
    return None


def _scheduled(earliest: datetime, delays: Sequence[timedelta], now: datetime) -> datetime:
    """The first try of the schedule that does not come too early."""
    at = now
    for delay in delays:
        at += delay
        if at >= earliest:
            return at
    return at + delays[-1] * -((at - earliest) // delays[-1])


def _is_unsettled(habit: Habit, sooner: timedelta, now: datetime) -> bool:
    """Whether a try so soon might pass, for all that was seen lately."""
    if habit.refused_at is None or habit.refuses_until < sooner:
        return True
    return now - habit.refused_at >= _SOONER_AGAIN
