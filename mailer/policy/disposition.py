"""What follows an outcome. The only place where a failure becomes temporary or permanent.

Unknown means temporary: a wrong bounce cannot be taken back, a wrong deferral costs a retry.
Only an answer about this recipient or this message is final. A refusal before MAIL (greeting, EHLO,
STARTTLS, AUTH) speaks of the host or of us, and another host or another hour may answer otherwise:
the relay asks the other hosts first (RFC 5321 §3.1 allows a 554 greeting, §5.1 the next host), then
the recipient waits. So does everything after a wrong password for the smart host.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from mailer.events import WaitReason
from mailer.policy import greylisting
from mailer.policy.bounceclass import Action, BounceClass
from mailer.policy.classifier import Judgement, shipped
from mailer.policy.classify import status_of, wished_delay
from mailer.policy.greylisting import Habit
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused, Unroutable, Unsuitable
from mailer.policy.retry import GiveUp, RetryAt, RetrySchedule, next_attempt
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply

# "Try again in N seconds" is honoured within these bounds, and never below a quarter of the schedule's
# own delay, so that a peer cannot make us call every second for days. Where the schedule itself comes back
# sooner than SHORTEST_WISH, its delay is the least.
SHORTEST_WISH = timedelta(seconds=30)
LONGEST_WISH = timedelta(hours=4)
_WISH_FLOOR = 0.25
_FIRST_TRIES = 2  # by which a greylist shows itself

# The last try falls so long before a sender's deadline that it can end in time; where the message has little
# time in all, a part of that.
LAST_TRY = timedelta(seconds=30)
_LAST_TRY_PART = 0.1

# A 5yz that speaks of us or of the host, not of the recipient, is tried again against RFC 5321 §4.2.1, which
# would have the sender give up: so often in all, since it may mean what it says.
MOST_TRIES_OF_5YZ = 3
_TRIED_AGAIN = frozenset({Action.RETRY, Action.RETRY_ELSEWHERE, Action.SLOW_DOWN, Action.SUSPEND})

LOOK_AGAIN = timedelta(minutes=1)  # for an IP, where nobody knows when there will be one

_EXPIRED = EnhancedStatus(4, 4, 7)  # RFC 3463 §3.5: delivery time expired
_UNHEARD = EnhancedStatus(4, 4, 2)  # RFC 3463 §3.5: bad connection
_ABOUT_THE_MAIL = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.END_OF_DATA})


class InDoubtPolicy(enum.StrEnum):
    """What a stream wants when the reply to the final dot was not heard."""

    RETRY = "retry"  # rather twice than never
    GIVE_UP = "give-up"  # rather never than twice


@dataclass(frozen=True, slots=True)
class Delivered:
    """Final: the next hop took it."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Bounce:
    """Final: it will not be taken. status: 5.y.z; reason: the peer's words, or ours where it had none."""

    status: EnhancedStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Tried again at `at`, which lies after now. status: 4.y.z, None where nothing was heard."""

    at: datetime
    wait: WaitReason
    status: EnhancedStatus | None
    reason: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Final: its time is over. reason: why the last attempt failed."""

    expired_at: datetime
    status: EnhancedStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Goes back as it was; no attempt is counted."""

    wait: WaitReason


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The attempt is marked in doubt: the peer may hold the message. `then` is what follows for the
    recipient: a retry that may repeat the delivery, or the end without a known delivery."""

    then: Defer | Expire


Disposition = Delivered | Bounce | Defer | Expire | Requeue | InDoubt


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision rests on beside the outcome.

    attempts      tries counted for this recipient, this one included (1 = the first)
    first_due_at  what the schedule counts from
    expires_at    the sender's own deadline; None: the schedule's. The earlier one holds
    draw          uniform in [0, 1), for the jitter
    is_our_fault  a rule says that a refusal speaks of us and not of the recipient: a 5yz is tried again,
                  against RFC 5321 §4.2.1, which would have the sender give up
    greylisted_at when its site first put it off by greylisting; None: it did not before
    habit         what that site's greylisting took others; None: nobody knows
    judged        what a refusal means; None: as the shipped rules have it
    """

    schedule: RetrySchedule
    attempts: int
    first_due_at: datetime
    now: datetime
    draw: float
    expires_at: datetime | None = None
    in_doubt_policy: InDoubtPolicy = InDoubtPolicy.RETRY
    is_our_fault: bool = False
    greylisted_at: datetime | None = None
    habit: Habit | None = None
    judged: Judgement | None = None


def decide(outcome: Outcome, facts: Facts) -> Disposition:
    """What follows `outcome` for its recipient."""
    match outcome:
        case Accepted(reply):
            return Delivered(reply)
        case Refused(reply, phase):
            return _after_refusal(reply, phase, facts)
        case Broken(phase, cause):
            return _after_break(outcome.in_doubt, phase, cause, facts)
        case Unroutable(status, cause):
            parsed = EnhancedStatus.parse(status)
            if parsed.class_ == 5:
                return Bounce(parsed, cause)
            return _defer(facts, WaitReason.UNROUTABLE, parsed, cause)
        case Unsuitable(status, cause):
            return Bounce(EnhancedStatus.parse(status), cause)
        case NotTried(reason):
            return Requeue(WaitReason(reason))
        case _:
            assert_never(outcome)


def is_permanent(reply: Reply, phase: Phase) -> bool:
    """Whether this answer ends the recipient (RFC 5321 §4.2.1): 5yz about the mail itself."""
    if reply.code // 100 != 5 or phase not in _ABOUT_THE_MAIL:
        return False
    # RFC 5321 §4.5.3.1.10: 552 to RCPT stands for 452, "too many recipients"; or a full mailbox,
    # which may have room tomorrow.
    return not (reply.code == 552 and phase is Phase.RCPT)


def _after_refusal(reply: Reply, phase: Phase, facts: Facts) -> Disposition:
    words = f"{reply.code} {reply.text}".rstrip()
    status = status_of(reply, phase)
    judged = facts.judged or shipped().of_reply(reply, phase)
    again = judged.action in _TRIED_AGAIN and facts.attempts < MOST_TRIES_OF_5YZ
    if is_permanent(reply, phase) and not (facts.is_our_fault or again):
        # The reply code decides; a 4.y.z beside it is the peer's slip (RFC 3463 §2: same class).
        return Bounce(EnhancedStatus(5, status.subject, status.detail), words)
    status = EnhancedStatus(4, status.subject, status.detail)
    wish = wished_delay(reply) if reply.code // 100 == 4 else None
    if is_greylisting(judged, facts.greylisted_at, facts.now):
        return _defer(facts, WaitReason.REFUSED, status, words, at=_past_greylist(facts, wish))
    at = None if wish is None else facts.now + _bounded(wish, facts)
    return _defer(facts, WaitReason.REFUSED, status, words, at=at)


def is_greylisting(judged: Judgement | None, since: datetime | None, now: datetime) -> bool:
    """Whether a refusal puts off by greylisting. since: the recipient's first one; None: it is this one."""
    too_old = since is not None and greylisting.is_too_old(since, now)
    return not too_old and judged is not None and judged.bounce_class is BounceClass.GREYLISTED


def _past_greylist(facts: Facts, wish: timedelta | None) -> datetime | None:
    """Just after the time that the site asks, never sooner than its words say; None: by the schedule.

    A recipient without a first refusal after several tries met other sites: its domain may change them with
    every try, which must not make a try a minute.
    """
    if facts.greylisted_at is None and facts.attempts > _FIRST_TRIES:
        return None if wish is None else facts.now + _bounded(wish, facts)
    at = greylisting.next_try(
        facts.greylisted_at or facts.now,
        facts.habit,
        facts.schedule.delays_after(facts.attempts, facts.draw),
        now=facts.now,
        draw=facts.draw,
    )
    return at if wish is None else max(at, facts.now + min(wish, greylisting.LONGEST))


def _after_break(in_doubt: bool, phase: Phase, cause: str, facts: Facts) -> Disposition:
    if not in_doubt:
        wait = WaitReason.TLS_FAILED if phase is Phase.STARTTLS else WaitReason.BROKEN
        return _defer(facts, wait, _UNHEARD, cause)
    if facts.in_doubt_policy is InDoubtPolicy.GIVE_UP:
        return InDoubt(Expire(facts.now, _UNHEARD, cause))
    return InDoubt(_defer(facts, WaitReason.IN_DOUBT, _UNHEARD, cause))


def _defer(
    facts: Facts, wait: WaitReason, status: EnhancedStatus, reason: str, *, at: datetime | None = None
) -> Defer | Expire:
    """A retry by the schedule, or `at` where the peer wishes or needs that; the end where the deadline has
    passed, or no try fits in before the sender's: it is told at once that its mail is late, not when that is
    of no use."""
    deadline = facts.first_due_at + facts.schedule.give_up_after
    if facts.expires_at is not None:
        deadline = min(deadline, facts.expires_at)
    if facts.now >= deadline:
        return Expire(deadline, _EXPIRED, reason)
    verdict = next_attempt(
        facts.schedule,
        attempts=facts.attempts,
        first_due_at=facts.first_due_at,
        now=facts.now,
        draw=facts.draw,
    )
    match verdict:
        case GiveUp(expired_at):
            return Expire(expired_at, _EXPIRED, reason)
        case RetryAt(scheduled):
            due = scheduled if at is None else at
            last = deadline if facts.expires_at is None else _last_try(facts, facts.expires_at)
            if due > last and last <= facts.now:
                return Expire(facts.now, _EXPIRED, reason)
            return Defer(min(due, deadline, last), wait, status, reason)
        case _:
            assert_never(verdict)


def wait_for_room(reason: WaitReason, until: datetime | None, words: str, facts: Facts) -> Defer | Expire:
    """Mail that none of our IPs may carry now waits for room, or ends if its sender's deadline comes first.

    until          when there is room at the earliest; None: nobody knows
    facts.attempts is not read: nothing was tried
    """
    deadline = facts.first_due_at + facts.schedule.give_up_after
    if facts.expires_at is not None:
        deadline = min(deadline, facts.expires_at)
    if facts.now >= deadline:
        return Expire(deadline, _EXPIRED, words)
    if until is None:
        return Defer(min(facts.now + LOOK_AGAIN, deadline), reason, None, words)
    if facts.expires_at is not None and until > _last_try(facts, facts.expires_at):
        return Expire(facts.now, _EXPIRED, f"{words}, and its sender's deadline comes before there is room")
    return Defer(min(until, deadline), reason, None, words)


def _last_try(facts: Facts, expires_at: datetime) -> datetime:
    """When the last try before a sender's deadline is due; now where that is over or as good as now."""
    lead = max(min(LAST_TRY, (expires_at - facts.first_due_at) * _LAST_TRY_PART), timedelta(0))
    last = expires_at - lead
    return last if last - facts.now >= lead else facts.now


def _bounded(wish: timedelta, facts: Facts) -> timedelta:
    """The peer's wish within bounds; jitter only lengthens it, since too early is refused again."""
    delay = facts.schedule.delay_after(facts.attempts)
    floor = max(min(SHORTEST_WISH, delay), delay * _WISH_FLOOR)
    bounded = min(max(wish, floor), max(LONGEST_WISH, floor))
    return bounded * (1 + facts.schedule.jitter * facts.draw)
