"""Whether a stream's mail is so ill received that it is warned of, or held.

Judged in windows of whole hours, the running one among them. A window with too little mail tells nothing,
so a stream is never held for its first dozen of bounces. Held, it sends nothing, and its counts change only
as hours leave the windows: that is when a pause ends by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailer.policy.bounceclass import Blame
from mailer.policy.brakeplan import BrakeRules, Newcomer, Threshold, Window
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Outcome, Refused, Unroutable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_MOST_CAP = 1_000_000_000  # of any limit
_BAD_ADDRESS = "5.1."  # RFC 3463 §3.2: the address, its domain included, is at fault


class Mark(enum.StrEnum):
    """What is thought of a stream, the better first."""

    CLEAR = "clear"
    WARN = "warn"
    PAUSE = "pause"


_RANK = {mark: number for number, mark in enumerate(Mark)}


@dataclass(frozen=True, slots=True)
class Counts:
    """Recipients. bounced: hard ones only. complained: counted when it was heard."""

    delivered: int = 0
    bounced: int = 0
    complained: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.delivered + other.delivered,
            self.bounced + other.bounced,
            self.complained + other.complained,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """reason: the rate that decided it, with figures; empty if clear."""

    mark: Mark
    reason: str = ""


CLEAR = Verdict(Mark.CLEAR)


def hour_of(at: datetime) -> int:
    """Whole hours since 1970."""
    return (at - _EPOCH) // _HOUR


def start_of(hour: int) -> datetime:
    return _EPOCH + hour * _HOUR


def is_hard(outcome: Outcome, judged: Judgement | None) -> bool:
    """A final no that blames the recipient: an address that should not have been sent to."""
    match outcome:
        case Refused(reply, _):
            return reply.code >= 500 and judged is not None and judged.blame is Blame.RECIPIENT
        case Unroutable(status, _):
            return status.startswith(_BAD_ADDRESS)
        case _:
            return False


def judge(rules: BrakeRules, kind: str, sums: Sequence[Counts]) -> Verdict:
    """The worst of all windows and rates; the first of equals, so that the reason stays.

    kind  of the stream: where that is not paused, the worst is a warning
    sums  one a window, in the order of `rules.windows`
    """
    found = [
        verdict
        for window, counts in zip(rules.windows, sums, strict=True)
        for verdict in (_complaints(rules, window, counts), _hard_bounces(rules, window, counts))
    ]
    worst = max(found, key=lambda verdict: _RANK[verdict.mark], default=CLEAR)
    if worst.mark is Mark.PAUSE and kind not in rules.pauses:
        return Verdict(Mark.WARN, worst.reason)
    return worst


def _complaints(rules: BrakeRules, window: Window, counts: Counts) -> Verdict:
    if counts.delivered < window.delivered:
        return CLEAR
    return _rate(rules.complaints, "complaints", window, counts.complained, counts.delivered)


def _hard_bounces(rules: BrakeRules, window: Window, counts: Counts) -> Verdict:
    answers = counts.delivered + counts.bounced
    if answers < window.answers:
        return CLEAR
    return _rate(rules.hard_bounces, "hard bounces", window, counts.bounced, answers)


def _rate(threshold: Threshold, what: str, window: Window, bad: int, of: int) -> Verdict:
    if bad < threshold.least or bad < threshold.warn * of:
        return CLEAR
    mark, limit = (
        (Mark.PAUSE, threshold.pause) if bad >= threshold.pause * of else (Mark.WARN, threshold.warn)
    )
    rate = f"{bad / of:.2%} {what}, {bad} of {of}"
    return Verdict(mark, f"{rate} in {window.hours} h: from {limit:.2%} on it is {_DONE[mark]}")


_DONE = {Mark.WARN: "warned of", Mark.PAUSE: "paused"}


def sums_at(rules: BrakeRules, hours: Mapping[int, Counts], hour: int) -> list[Counts]:
    """What each window holds in an hour. hours: counts by hour since 1970."""
    return [
        sum((c for at, c in hours.items() if hour - window.hours < at <= hour), Counts())
        for window in rules.windows
    ]


def ends_at(rules: BrakeRules, kind: str, hours: Mapping[int, Counts], hour: int) -> int:
    """The first hour after this one in which a pause would be over, if nothing more were heard."""
    ahead = range(hour + 1, hour + rules.hours)
    over = (h for h in ahead if judge(rules, kind, sums_at(rules, hours, h)).mark is not Mark.PAUSE)
    return next(over, hour + rules.hours)


def is_clean(rules: BrakeRules, day: Counts) -> bool:
    """Below the rates that are warned of, however little it was: what a new tenant is trusted more for."""
    answers = day.delivered + day.bounced
    complained = day.complained > 0 and day.complained >= rules.complaints.warn * day.delivered
    bounced = day.bounced > 0 and day.bounced >= rules.hard_bounces.warn * answers
    return not complained and not bounced


def grown(rules: Newcomer, first: int, cap: int, delivered: int, *, is_clean: bool) -> int | None:
    """The cap of a new tenant's next day; None: it is new no more, and has none.

    first      the cap that it began with
    delivered  in the day that is over
    is_clean   `is_clean`, and none of its streams is warned of or held
    """
    if not is_clean or delivered < rules.used * cap:
        return cap
    after = min(max(cap + 1, int(cap * rules.growth)), _MOST_CAP)
    return None if after >= first * rules.free_at else after
