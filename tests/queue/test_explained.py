"""What a refusal was taken for is explained as it was judged when it was heard."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.events import EventType
from mailer.policy.bounceclass import Action, Blame, BounceClass
from mailer.policy.classifier import Judgement, shipped
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import explain, sweep
from mailer.queue.explain import Judged
from mailer.queue.obstacles import Knowledge
from mailer.queue.settle import Heard, Move
from tests.support.hearing import Word, record
from tests.support.mailroom import (
    BOUNCED,
    DELIVERED,
    HOUR,
    KEYS,
    NO_SUCH_USER,
    RELEASED,
    Mailroom,
    deferral,
)

DEFERRED = deferral(clock.now() - HOUR)  # and due again
FULL = shipped().of_reply(Reply(452, ("4.2.2 mailbox full",)), Phase.RCPT)
REFUSED = Heard(outcome="refused", phase="rcpt", code=550, reply="550 5.1.1 No such user")
BACK = {"class": "mailbox-full", "action": "fail", "blame": "recipient", "phase": "returned", "rule": "r"}


@pytest.fixture
def message_id(room: Mailroom) -> int:
    m = room.message()
    room.accept(m)
    return m.id


def attempt(room: Mailroom, move: Move, judged: Judgement | None = None) -> None:
    sweep.wake_due(room.store, now=clock.now())
    claimed = room.claim()
    assert len(claimed) == 1
    room.settle(claimed, move, REFUSED, judged=judged)


def hear(room: Mailroom, message_id: int, **facts: str) -> None:
    found = explain.explain(room.store, room.tenant_id, message_id, Knowledge(), now=clock.now())
    assert found is not None
    word = Word(EventType.BOUNCED, "bounce.acme.example", {**BACK, **facts})
    record(room.store, found[0].recipient_id, word, keys=KEYS, new_id=room.new_id, now=clock.now())


def judged(room: Mailroom, message_id: int) -> Judged | None:
    found = explain.explain(room.store, room.tenant_id, message_id, Knowledge(), now=clock.now())
    assert found is not None
    return found[0].judged


def as_shown(judgement: Judgement) -> Judged:
    assert judgement.rule
    return Judged(judgement.bounce_class, judgement.action, judgement.blame, judgement.rule)


@pytest.mark.parametrize(("move", "judgement"), [(DEFERRED, FULL), (BOUNCED, NO_SUCH_USER)])
def test_what_was_deferred_or_failed_shows_what_it_was_taken_for(
    room: Mailroom, message_id: int, move: Move, judgement: Judgement
) -> None:
    attempt(room, move, judgement)

    assert judged(room, message_id) == as_shown(judgement)


def test_it_is_the_judgement_of_then_whatever_the_rules_say_now(room: Mailroom, message_id: int) -> None:
    of_then = Judgement(BounceClass.SPAM_CONTENT, Action.FAIL, Blame.OUR_IP, None, "gone-since", "", "")
    attempt(room, BOUNCED, of_then)

    assert judged(room, message_id) == as_shown(of_then)


def test_where_no_rule_knew_it_none_is_named(room: Mailroom, message_id: int) -> None:
    attempt(room, DEFERRED, Judgement(BounceClass.UNDETERMINED, Action.RETRY, Blame.REMOTE, None, "", "", ""))

    assert judged(room, message_id) == Judged(BounceClass.UNDETERMINED, Action.RETRY, Blame.REMOTE, None)


def test_the_last_word_counts_and_a_try_that_was_none_says_nothing(room: Mailroom, message_id: int) -> None:
    attempt(room, DEFERRED, NO_SUCH_USER)
    attempt(room, DEFERRED, FULL)
    attempt(room, RELEASED)

    assert judged(room, message_id) == as_shown(FULL)


def test_what_is_new_or_was_taken_was_judged_by_nobody(room: Mailroom, message_id: int) -> None:
    before = judged(room, message_id)
    attempt(room, DEFERRED, FULL)
    attempt(room, DELIVERED)

    assert (before, judged(room, message_id)) == (None, None)


def test_what_came_back_of_it_is_the_last_word(room: Mailroom, message_id: int) -> None:
    attempt(room, DELIVERED)
    hear(room, message_id)

    assert judged(room, message_id) == Judged(BounceClass.MAILBOX_FULL, Action.FAIL, Blame.RECIPIENT, "r")


def test_what_came_back_of_where_it_was_forwarded_to_is_none_of_it(room: Mailroom, message_id: int) -> None:
    attempt(room, DELIVERED)
    hear(room, message_id, forwarded_to="eve@elsewhere.example")

    assert judged(room, message_id) is None
