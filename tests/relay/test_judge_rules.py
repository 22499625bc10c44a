"""A rule may say that a 5yz speaks of us: then it is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from mailer import clock
from mailer.config.load import site_rules
from mailer.events import RecipientState
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused, Unroutable
from mailer.policy.retry import RetrySchedule
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import read, settle
from mailer.queue.read import EventView
from mailer.relay.carrier import Report
from mailer.relay.verdict import Judge
from tests.support.mailroom import Mailroom

MEANING = ("class", "action", "blame", "phase")
SCHEDULE = RetrySchedule(delays=(timedelta(minutes=5),), give_up_after=timedelta(days=1))


@pytest.mark.parametrize(
    ("site", "reply", "state"),
    [
        ("mx:mx.example", "554 5.7.1 Listed at zen.spamhaus.org", RecipientState.DEFERRED),
        ("mx:mx.example", "550 5.1.1 No such user", RecipientState.BOUNCED),
        ("provider:microsoft-365", "550 5.7.606 Access denied, banned sending IP", RecipientState.DEFERRED),
        ("mx:mx.example", "550 5.7.606 Access denied", RecipientState.BOUNCED),
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


def last_event(room: Mailroom, report: Report, *, age: timedelta = timedelta(0)) -> EventView:
    """What is told of a message of that age once it was tried."""
    message = room.message()
    room.accept(message)
    [claimed] = room.claim()
    old = replace(claimed, first_due_at=claimed.first_due_at - age)
    judge = Judge({"transactional": SCHEDULE}, now=clock.now, draw=lambda: 0.0)
    settle.settle(
        room.store, room.worker.id, [judge(old, report)], new_id=room.new_id,
        process_number=room.worker.process_number, now=clock.now(),
    )  # fmt: skip
    view = read.message_of(room.store, room.tenant_id, message.id)
    assert view is not None
    return view.events[-1]


@pytest.mark.parametrize(
    ("outcome", "event", "meaning"),
    [
        (
            Refused(Reply(550, ("5.1.1 No such user",)), Phase.RCPT),
            "bounced",
            {"class": "invalid-mailbox", "action": "fail", "blame": "recipient", "phase": "rcpt"},
        ),
        (
            Refused(Reply(421, ("4.7.0 your IP is on a blocklist",)), Phase.MAIL),
            "delayed",
            {"class": "reputation-block", "action": "retry-other-ip", "blame": "our-ip", "phase": "mail"},
        ),
        (
            Broken(Phase.CONNECT, "timed out"),
            "delayed",
            {"class": "network-error", "action": "retry", "blame": "remote", "phase": "connect"},
        ),
        (
            Unroutable("5.1.10", "null MX"),
            "bounced",
            {"class": "invalid-domain", "action": "fail", "blame": "recipient"},
        ),
        (Accepted(Reply(250, ("ok",))), "delivered", {}),
    ],
)
def test_the_event_of_what_went_wrong_bears_what_it_means(
    room: Mailroom, outcome: Outcome, event: str, meaning: dict[str, str]
) -> None:
    told = last_event(room, Report(outcome))

    assert told.type == event
    assert {name: told.data[name] for name in MEANING if name in told.data} == meaning
    assert bool(told.data.get("rule")) is bool(meaning)


def test_mail_that_expires_bears_what_the_last_reply_meant(room: Mailroom) -> None:
    full = Refused(Reply(452, ("4.2.2 mailbox full",)), Phase.RCPT)

    told = last_event(room, Report(full), age=timedelta(days=2))

    assert (told.type, told.data["class"], told.data["blame"]) == ("expired", "mailbox-full", "recipient")
