"""A DSN is owed in the transaction of the change that it tells of: once of a kind, and never by HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from mailer import clock
from mailer.events import NoticeKind
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused, Unroutable
from mailer.policy.retry import RetrySchedule
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import again, cancel, expire, explain, settle, verify
from mailer.queue.claim import Claimed
from mailer.queue.obstacles import Knowledge
from mailer.queue.settle import LateReply
from mailer.relay.carrier import Report
from mailer.relay.signing import Unready
from mailer.relay.verdict import Judge, unready
from mailer.store.tables import notice, recipient
from tests.support.mailroom import RELEASED, Mailroom

SCHEDULE = RetrySchedule(delays=(timedelta(minutes=5), timedelta(hours=6)), give_up_after=timedelta(days=4))
REFUSED = Refused(Reply(550, ("5.1.1 no",)), Phase.RCPT)
DEFERRED = Refused(Reply(451, ("4.7.1 later",)), Phase.RCPT)
TAKEN = Accepted(Reply(250, ("2.0.0 ok",)))
EVERYTHING = "SUCCESS,FAILURE,DELAY"


def judge() -> Judge:
    return Judge({"transactional": SCHEDULE}, now=clock.now, draw=lambda: 0.0)


def submit(room: Mailroom, notify: str | None) -> int:
    """A message as the SMTP door accepts it; its recipient's id."""
    m = room.message()
    [r] = m.recipients
    room.accept(
        replace(m, door="smtp", mail_from="app@acme.example", recipients=(replace(r, notify=notify),))
    )
    return r.id


def attempt(room: Mailroom, outcome: Outcome, *, passed_on: bool = False) -> list[Claimed]:
    """Claims all and settles it so, by the policy."""
    claimed = room.claim()
    report = Report(outcome, passed_on=passed_on)
    settle.settle(
        room.store, room.worker.id, [judge()(c, report) for c in claimed], new_id=room.new_id,
        process_number=room.worker.process_number, now=clock.now(),
    )  # fmt: skip
    return claimed


def owed(room: Mailroom) -> list[tuple[int, str, str]]:
    with room.store.read() as c:
        rows = c.execute(select(notice).order_by(notice.c.recipient_id, notice.c.kind))
        return [(n.recipient_id, n.kind, n.state) for n in rows]


@pytest.mark.parametrize(
    ("notify", "outcome", "passed_on", "kind"),
    [
        ("", REFUSED, False, "failed"),
        ("", Unroutable("5.1.2", "no such domain"), False, "failed"),
        ("", TAKEN, False, None),
        ("NEVER", REFUSED, False, None),
        (None, REFUSED, False, None),
        (None, TAKEN, False, None),
        ("SUCCESS", TAKEN, False, "relayed"),
        ("SUCCESS", TAKEN, True, None),
        (EVERYTHING, REFUSED, True, "failed"),
        (EVERYTHING, DEFERRED, False, None),  # for five minutes
    ],
)
def test_an_outcome_owes_what_was_asked(
    room: Mailroom, notify: str | None, outcome: Outcome, passed_on: bool, kind: str | None
) -> None:
    wanted = submit(room, notify)

    attempt(room, outcome, passed_on=passed_on)

    assert owed(room) == ([(wanted, kind, "due")] if kind else [])
    assert verify.verify(room.store).holds


def test_a_long_delay_is_told_once(room: Mailroom) -> None:
    wanted = submit(room, "DELAY")
    attempt(room, DEFERRED)
    early = owed(room)

    for _ in range(2):
        with room.store.write() as c:
            c.execute(recipient.update().values(state="queued", wait_reason="refused"))
        attempt(room, DEFERRED)

    assert early == []
    assert owed(room) == [(wanted, "delayed", "due")]


def test_a_rollback_owes_nothing(room: Mailroom) -> None:
    submit(room, "")
    [claimed] = room.claim()
    settlement = judge()(claimed, Report(REFUSED))

    with pytest.raises(ZeroDivisionError), room.store.write() as c:
        settle.apply(
            c, room.worker.id, [settlement], new_id=room.new_id, process_number=1, now=clock.now()
        )  # fmt: skip
        raise ZeroDivisionError

    assert owed(room) == []


def test_settling_twice_owes_once(room: Mailroom) -> None:
    wanted = submit(room, "")
    claimed = attempt(room, REFUSED)

    settle.settle(
        room.store, room.worker.id, [judge()(c, Report(REFUSED)) for c in claimed], new_id=room.new_id,
        process_number=1, now=clock.now(),
    )  # fmt: skip

    assert owed(room) == [(wanted, "failed", "due")]


def test_a_domain_without_a_key_owes_the_failure(room: Mailroom) -> None:
    wanted = submit(room, "")
    [claimed] = room.claim()

    settle.settle(
        room.store, room.worker.id, [unready(Unready(claimed, "no key", content_missing=False))],
        new_id=room.new_id, process_number=1, now=clock.now(),
    )  # fmt: skip

    assert owed(room) == [(wanted, "failed", "due")]


def test_a_deadline_that_passed_owes_the_failure(room: Mailroom) -> None:
    wanted = submit(room, "")
    with room.store.write() as c:
        c.execute(recipient.update().values(expires_at=clock.now()))

    expire.expire_overdue(
        room.store, new_id=room.new_id, process_number=1, now=clock.now() + timedelta(seconds=1)
    )

    assert owed(room) == [(wanted, "failed", "due")]
    assert verify.verify(room.store).holds


def test_what_its_tenant_cancelled_owes_nothing(room: Mailroom) -> None:
    """Its sender knows."""
    m = room.message("a.example", "b.example")
    room.accept(replace(m, recipients=tuple(replace(r, notify=EVERYTHING) for r in m.recipients)))

    cancel.cancel(room.store, room.tenant_id, m.id, new_id=room.new_id, process_number=1, now=clock.now())

    assert owed(room) == []


def test_a_wish_to_cancel_that_a_settle_obeys_owes_nothing(room: Mailroom) -> None:
    submit(room, EVERYTHING)
    claimed = room.claim()
    with room.store.write() as c:
        c.execute(recipient.update().values(cancel_wanted=True))

    settle.settle(
        room.store, room.worker.id, [judge()(c, Report(DEFERRED)) for c in claimed], new_id=room.new_id,
        process_number=1, now=clock.now(),
    )  # fmt: skip

    assert owed(room) == []


@pytest.mark.parametrize(("passed_on", "kinds"), [(False, ["relayed"]), (True, [])])
def test_a_late_yes_owes_the_relaying(room: Mailroom, passed_on: bool, kinds: list[str]) -> None:
    submit(room, "SUCCESS")
    [claimed] = room.claim()
    room.settle([claimed], RELEASED)

    settle.note_late_reply(
        room.store, claimed.attempt_id, LateReply(250, "250 ok", passed_on), new_id=room.new_id,
        process_number=1, now=clock.now(),
    )  # fmt: skip

    assert [kind for _, kind, _ in owed(room)] == kinds


def test_another_try_inherits_what_was_asked(room: Mailroom) -> None:
    first = submit(room, "")
    [claimed] = attempt(room, REFUSED)
    made = again.send_again(
        room.store, room.tenant_id, claimed.message_id, new_id=room.new_id, process_number=1, now=clock.now()
    )
    assert made is not None

    attempt(room, REFUSED)

    assert owed(room) == [(first, "failed", "due"), (made.anew[first], "failed", "due")]


def test_silence_after_the_dot_owes_nothing_while_it_is_tried_again(room: Mailroom) -> None:
    submit(room, "")

    attempt(room, Broken(Phase.END_OF_DATA, "lost"))

    assert owed(room) == []


def test_explain_tells_what_is_owed(room: Mailroom) -> None:
    submit(room, "")
    [claimed] = attempt(room, REFUSED)

    explained = explain.explain(room.store, room.tenant_id, claimed.message_id, Knowledge(), now=clock.now())

    assert explained is not None
    assert [line.what for line in explained[0].past if "DSN" in line.what] == ["DSN failed: due"]


def test_a_kind_is_a_word_of_the_column() -> None:
    assert max(len(kind) for kind in NoticeKind) <= notice.c.kind.type.length
