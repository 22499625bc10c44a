"""What an attempt teaches about its recipient, settled with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailer import clock
from mailer.config.load import site_rules
from mailer.events import RecipientState
from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Broken, Outcome, Refused, Unroutable
from mailer.policy.retry import RetrySchedule
from mailer.policy.suppression import Share
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import settle, sweep, verify
from mailer.queue.claim import Claimed
from mailer.queue.settle import Heard, Move, Settlement
from mailer.relay.carrier import Report
from mailer.relay.lessons import Lessons
from mailer.relay.shares import Shares
from mailer.relay.verdict import Judge
from mailer.store.tables import suppression
from tests.support.mailroom import BOUNCED, DELIVERED, KEYS, Mailroom

SCHEDULE = RetrySchedule(delays=(timedelta(minutes=5),), give_up_after=timedelta(days=1))
RULES = site_rules(None)
SITE = "mx:mx.example"


def refusal(line: str, phase: Phase = Phase.RCPT) -> Refused:
    code, _, text = line.partition(" ")
    return Refused(Reply(int(code), (text,)), phase)


def end(room: Mailroom, outcome: Outcome, *, at: datetime | None = None) -> str:
    """Of one more attempt."""
    now = at or clock.now()
    lessons = Lessons(room.store, KEYS, RULES)
    judge = Judge(
        {"transactional": SCHEDULE}, now=lambda: now, draw=lambda: 0.0, rules=RULES, lessons=lessons
    )
    [claimed] = room.claim()
    settled = judge(claimed, Report(outcome, site=SITE))
    settle.settle(
        room.store, room.worker.id, [settled], new_id=room.new_id,
        process_number=room.worker.process_number, now=now,
    )  # fmt: skip
    return settled.move.state


def entries(room: Mailroom) -> Sequence[Any]:
    with room.store.read() as connection:
        return connection.execute(select(suppression)).all()


def wake(room: Mailroom) -> None:
    sweep.wake_due(room.store, now=clock.now() + timedelta(days=3))


def test_a_hard_bounce_suppresses_in_the_same_transaction(room: Mailroom) -> None:
    m = room.message()
    room.accept(m)

    assert end(room, refusal("550 5.1.1 No such user here")) == RecipientState.BOUNCED

    [entry] = entries(room)
    assert (entry.address, entry.reason, entry.cause) == (m.recipients[0].address, "hard-bounce", "reply")
    assert entry.recipient_id == m.recipients[0].id
    assert entry.words == "550 5.1.1 No such user here"
    assert verify.verify(room.store).holds


@pytest.mark.parametrize(
    "line",
    [
        "550 5.7.1 Message rejected due to the reputation of your IP",
        "550 5.7.26 Unauthenticated mail is not accepted",
        "554 5.7.1 Message blocked as spam",
        "552 5.3.4 Message too large",
        "451 4.7.1 Greylisted, try again later",
        "450 4.1.1 User unknown, try again",
    ],
)
def test_other_refusals_suppress_nobody(room: Mailroom, line: str) -> None:
    room.accept(room.message())

    end(room, refusal(line))

    assert entries(room) == []


@pytest.mark.parametrize(
    ("second", "closed"),
    [
        (Unroutable("5.1.10", "null MX"), ["domain"]),
        (Unroutable("4.4.3", "SERVFAIL"), []),
        (refusal("550 5.1.2 Bad destination system address"), []),
    ],
)
def test_a_domain_is_closed_by_its_own_dns_alone(room: Mailroom, second: Outcome, closed: list[str]) -> None:
    room.accept(room.message())
    end(room, Unroutable("5.1.2", "the domain does not exist"))
    room.accept(room.message())

    end(room, second, at=clock.now() + timedelta(hours=30))

    assert [entry.what for entry in entries(room)] == closed


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (["450 4.1.1 User unknown", "450 4.1.1 User unknown"], "expired"),
        (["452 4.2.2 Mailbox full", "450 4.1.1 User unknown"], "expired"),
        (["451 4.7.1 Your IP has a bad reputation", "450 4.1.1 User unknown"], None),
        ([None, "450 4.1.1 User unknown"], None),
    ],
)
def test_who_expired_is_suppressed_if_all_replies_blamed_it(
    room: Mailroom, outcomes: list[str | None], reason: str | None
) -> None:
    room.accept(room.message())
    first, last = [Broken(Phase.RCPT, "reset") if line is None else refusal(line) for line in outcomes]

    end(room, first)
    wake(room)
    state = end(room, last, at=clock.now() + timedelta(days=2))

    assert state == RecipientState.EXPIRED
    assert [entry.reason for entry in entries(room)] == ([reason] if reason else [])


def of(c: Claimed, bounce_class: BounceClass | None) -> Settlement:
    judged = None
    move: Move = DELIVERED
    if bounce_class is not None:
        judged = Judgement(bounce_class, Action.FAIL, Blame.RECIPIENT, None, "", "", "")
        move = BOUNCED
    heard = Heard(outcome="accepted", site=SITE) if judged is None else Heard(outcome="refused", site=SITE)
    return Settlement(c.attempt_id, c.recipient_id, c.lane_id, heard, move, judged=judged)


def test_shares_are_written_at_once_when_somebody_is_unknown_else_now_and_then(room: Mailroom) -> None:
    room.accept(*(room.message() for _ in range(4)))
    one, two, three, four = room.claim()
    ticks = [0.0]
    shares = Shares(lambda: ticks[0])

    nothing = shares.with_these([of(one, None), of(two, BounceClass.POLICY_BLOCK)])
    at_once = shares.with_these([of(three, BounceClass.INVALID_MAILBOX)])
    later = shares.with_these([of(four, None)])
    ticks[0] = 6.0

    assert nothing == {}
    assert at_once == {SITE: Share(3, 1)}
    assert later == {}
    assert shares.with_these([]) == {SITE: Share(1, 0)}
