"""From what an attempt heard to what is settled: the policy's disposition as a move of the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from mailer.events import AttemptState, EventType, RecipientState, WaitReason
from mailer.policy import bounceclass, brake, disposition, notices
from mailer.policy.automation import Action
from mailer.policy.bounceclass import Blame, BounceClass
from mailer.policy.classifier import Judgement, shipped
from mailer.policy.disposition import (
    Bounce,
    Defer,
    Delivered,
    Disposition,
    Expire,
    Facts,
    InDoubt,
    InDoubtPolicy,
    Requeue,
)
from mailer.policy.egress import NoRoom, stay_after
from mailer.policy.greylisting import Greylisted, Habit
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused, Unroutable, Unsuitable
from mailer.policy.retry import RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.reply import Reply
from mailer.queue.claim import Claimed
from mailer.queue.settle import Heard, Move, Settlement
from mailer.relay.carrier import Report
from mailer.relay.lessons import Lessons
from mailer.relay.signing import Unready

_FALLBACK_KIND = "transactional"
# Mail whose time was over before there was an IP for it.
_NEVER_TRIED = Judgement(BounceClass.EXPIRED, bounceclass.Action.FAIL, Blame.REMOTE, None, "", "", "")


class Judge:
    """Settles a claimed recipient's report by the retry schedule of its stream's kind."""

    def __init__(
        self,
        schedules: Mapping[str, RetrySchedule],
        *,
        now: Callable[[], datetime],
        draw: Callable[[], float],
        delay_patience: timedelta = timedelta(hours=4),
        rules: SiteRules | None = None,
        habit_of: Callable[[str], Habit | None] = lambda _site: None,
        lessons: Lessons | None = None,
    ) -> None:
        """schedules: by stream kind; transactional must be there.

        delay_patience  how long mail may be delayed before its submitter, who asked for it, is told
        rules           may say that a refusal is to be tried again; None: none does
        habit_of        what a site's greylisting takes; None: nobody knows
        lessons         adds what may suppress the recipient; None: nothing does
        """
        self._schedules = schedules
        self._now = now
        self._draw = draw
        self._delay_patience = delay_patience
        self._rules = rules or SiteRules()
        self._habit_of = habit_of
        _ = self._rules.classifier  # compiled now, not while a session waits for its first refusal
        self._lessons = lessons

    def __call__(self, claimed: Claimed, report: Report) -> Settlement:
        facts = self._facts(claimed, claimed.attempts + 1, is_our_fault=self._is_our_fault(report))
        since = claimed.greylisted_since(report.site)
        judged = self._rules.judge(report.outcome, report.site)
        greylisted = _greylisted(report, judged, since, facts.now)
        habit = self._habit_of(greylisted.site) if greylisted else None
        facts = replace(facts, greylisted_at=since, habit=habit, judged=judged)
        decided = disposition.decide(report.outcome, facts)
        heard = _heard(report)
        move = self._with_notice(move_of(decided), claimed, report)
        waits = move.state is RecipientState.DEFERRED
        stay = stay_after(report.outcome, judged, claimed.egress, claimed.stay) if waits else None
        settlement = Settlement(
            claimed.attempt_id, claimed.recipient_id, claimed.lane_id, heard, move, stay,
            stream_id=claimed.stream_id, is_hard=brake.is_hard(report.outcome, judged),
            greylisted=greylisted if waits else None, judged=judged,
        )  # fmt: skip
        return settlement if self._lessons is None else self._lessons(claimed, report.outcome, settlement)

    def without_egress(self, claimed: Claimed, none: NoRoom) -> Settlement:
        """A recipient that no IP of ours may carry now: it waits for a named reason, no attempt is counted.

        It expires like all others: a cap that is too small for the volume must not keep mail for ever. With a
        deadline of its sender's that comes before there is room it ends at once.
        """
        facts = self._facts(claimed, claimed.attempts)
        decided = disposition.wait_for_room(none.reason, none.until, none.words, facts)
        move = replace(move_of(decided), attempt_state=AttemptState.RELEASED)
        if isinstance(decided, Expire):
            move = self._with_notice(move, claimed, Report(NotTried(none.reason)))
        else:
            move = replace(move, event=None, reason="")  # it was not tried: that is no delay to tell of
        heard = Heard(outcome="not_tried", reply=none.words)
        return Settlement(
            claimed.attempt_id, claimed.recipient_id, claimed.lane_id, heard, move, judged=_NEVER_TRIED
        )

    def _facts(self, claimed: Claimed, attempts: int, *, is_our_fault: bool = False) -> Facts:
        return Facts(
            schedule=self._schedule(claimed),
            attempts=attempts,
            first_due_at=claimed.first_due_at,
            now=self._now(),
            draw=self._draw(),
            expires_at=claimed.expires_at,
            in_doubt_policy=InDoubtPolicy(claimed.on_doubt),
            is_our_fault=is_our_fault,
        )

    def _schedule(self, claimed: Claimed) -> RetrySchedule:
        return self._schedules.get(claimed.stream_kind, self._schedules[_FALLBACK_KIND])

    def _is_our_fault(self, report: Report) -> bool:
        if not isinstance(report.outcome, Refused) or report.outcome.reply.code < 500:
            return False
        provider = None if report.site is None else self._rules.provider_name(report.site)
        rule = self._rules.automation.match(provider, report.outcome.reply, report.outcome.phase)
        return rule is not None and Action.RETRY in rule.actions

    def _with_notice(self, move: Move, claimed: Claimed, report: Report) -> Move:
        if claimed.notify is None:
            return move
        late = notices.is_late(claimed.first_due_at, move.due_at, self._delay_patience)
        kind = notices.owed(claimed.notify, move.event, passed_on=report.passed_on, is_late=late)
        return move if kind is None else replace(move, notice=kind)


def _greylisted(
    report: Report, judged: Judgement | None, since: datetime | None, now: datetime
) -> Greylisted | None:
    """The recipient as greylisting puts it off now; None: that is not what does. since: its first time."""
    if report.site is None or not disposition.is_greylisting(judged, since, now):
        return None
    return Greylisted(report.site, since or now, now)


def move_of(decided: Disposition) -> Move:
    """What a disposition does to the recipient's row and which event tells of it."""
    match decided:
        case Delivered():
            return _final(RecipientState.DELIVERED, EventType.DELIVERED, "accepted by the next hop")
        case Bounce(_, reason):
            return _final(RecipientState.BOUNCED, EventType.BOUNCED, reason)
        case Expire(_, _, reason):
            return _final(RecipientState.EXPIRED, EventType.EXPIRED, reason)
        case Defer(at, wait, _, _):
            return _wait(at, wait, AttemptState.SETTLED)
        case InDoubt(Defer(at, wait, _, _)):
            return _wait(at, wait, AttemptState.IN_DOUBT)
        case InDoubt(Expire(_, _, reason)):
            return _final(RecipientState.EXPIRED, EventType.EXPIRED, reason, AttemptState.IN_DOUBT)
        case InDoubt():
            raise TypeError(f"nothing follows {decided}")
        case Requeue(wait):
            is_held = wait is WaitReason.HELD
            state = RecipientState.HELD if is_held else RecipientState.QUEUED
            return Move(attempt_state=AttemptState.RELEASED, state=state, wait_reason=wait)
        case _:
            assert_never(decided)


def _final(
    state: RecipientState, event: EventType, reason: str, attempt: AttemptState = AttemptState.SETTLED
) -> Move:
    return Move(attempt_state=attempt, state=state, event=event, reason=reason)


def _wait(at: datetime, wait: WaitReason, attempt: AttemptState) -> Move:
    return Move(
        attempt_state=attempt,
        state=RecipientState.DEFERRED,
        wait_reason=wait,
        due_at=at,
        event=EventType.DELAYED,
        reason=wait,
    )


def unready(made: Unready) -> Settlement:
    """A recipient whose copy could not be made: held for the operator, or bounced for want of a key."""
    c = made.claimed
    if made.content_missing:
        move = move_of(Requeue(WaitReason.HELD))
        return Settlement(
            c.attempt_id, c.recipient_id, c.lane_id, Heard(outcome="not_tried", reply=made.reason), move
        )
    # RFC 7372 §3.3 has 5.7.20 for "no passing DKIM signature": it is what peers would say to it.
    move = move_of(Bounce(EnhancedStatus(5, 7, 20), made.reason))
    move = replace(move, notice=notices.owed(c.notify, move.event))
    heard = Heard(outcome="unsuitable", status="5.7.20", reply=made.reason)
    judged = shipped().of_trouble(Unsuitable("5.7.20", made.reason))
    return Settlement(c.attempt_id, c.recipient_id, c.lane_id, heard, move, judged=judged)


def _heard(report: Report) -> Heard:
    word, phase, reply, words, status = _words(report.outcome)
    return Heard(
        outcome=word,
        phase=phase,
        code=reply.code if reply else None,
        status=status,
        reply=words,
        site=report.site,
        host=report.host,
        address=report.address,
        egress_ip=report.egress_ip,
        tls=report.tls,
        steps=[(round(s.at_ms, 1), s.who, s.text) for s in report.steps] or None,
    )


def _words(outcome: Outcome) -> tuple[str, str | None, Reply | None, str, str | None]:
    """Outcome word, phase, reply, the words kept, enhanced status."""
    match outcome:
        case Accepted(reply):
            return "accepted", None, reply, _line(reply), _status(reply)
        case Refused(reply, phase):
            return "refused", phase, reply, _line(reply), _status(reply)
        case Broken(phase, cause):
            return "broken", phase, None, cause, None
        case Unroutable(status, cause):
            return "unroutable", None, None, cause, status
        case Unsuitable(status, cause):
            return "unsuitable", None, None, cause, status
        case NotTried(reason):
            return "not_tried", None, None, f"not dialled: {reason}", None
        case _:
            assert_never(outcome)


def _line(reply: Reply) -> str:
    return f"{reply.code} {reply.text}".rstrip()


def _status(reply: Reply) -> str | None:
    found = EnhancedStatus.find(reply.text, reply.code)
    return None if found is None else str(found)
