"""A rule may say that a 5yz speaks of us: then it is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailer import clock
from mailer.config.load import site_rules
from mailer.events import RecipientState
from mailer.policy.outcome import Refused
from mailer.policy.retry import RetrySchedule
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.relay.carrier import Report
from mailer.relay.verdict import Judge
from tests.support.mailroom import Mailroom

SCHEDULE = RetrySchedule(delays=(timedelta(minutes=5),), give_up_after=timedelta(days=1))


@pytest.mark.parametrize(
    ("site", "reply", "state"),
    [
        ("mx:mx.example", "554 5.7.1 Listed at zen.spamhaus.org", RecipientState.DEFERRED),
        ("mx:mx.example", "550 5.1.1 No such user", RecipientState.BOUNCED),
        ("provider:microsoft-365", "550 5.7.606 Access denied, banned sending IP", RecipientState.DEFERRED),
        ("mx:mx.example", "550 5.7.606 Access denied, banned sending IP", RecipientState.BOUNCED),
        (None, "554 5.7.1 Listed at zen.spamhaus.org", RecipientState.DEFERRED),
    ],
)
def test_what_the_shipped_rules_lay_to_our_address_is_tried_again(
    room: Mailroom, site: str | None, reply: str, state: RecipientState
) -> None:
    room.accept(room.message())
    [claimed] = room.claim()
    judge = Judge({"transactional": SCHEDULE}, now=clock.now, draw=lambda: 0.0, rules=site_rules(None))
    code, _, text = reply.partition(" ")

    settled = judge(claimed, Report(Refused(Reply(int(code), (text,)), Phase.RCPT), site=site))

    assert settled.move.state is state
