"""What greylisting takes at a site, and who met it: on both engines, shared, bounded, forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs
from sqlalchemy import func, select

from mailer import clock
from mailer.events import AttemptState, RecipientState
from mailer.policy.greylisting import Greylisted, Habit, Sighting
from mailer.policy.outcome import Accepted, Refused
from mailer.policy.retry import RetrySchedule
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import explain, greylists, retention, settle
from mailer.queue.claim import Claimed
from mailer.queue.explain import Knowledge
from mailer.queue.obstacles import Obstacle
from mailer.relay import greylistbook
from mailer.relay.carrier import Report
from mailer.relay.greylistbook import GreylistBook
from mailer.relay.verdict import Judge
from mailer.store import Store, StoreUnavailable
from mailer.store.tables import greylisted, recipient
from tests.support.mailroom import Mailroom, deferral

SITE, OTHER = "mx:mx.example", "mx:mx.example.net"
NOW = clock.now()
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
GREY = Refused(Reply(451, ("4.7.1 Greylisted, come back later",)), Phase.RCPT)
OK = Accepted(Reply(250, ("2.0.0 ok",)))
PASSED = Sighting(5 * MINUTE, True, MINUTE)
HABIT = Habit(passes_after=5 * MINUTE, refuses_until=MINUTE, refused_at=NOW)
SCHEDULE = RetrySchedule(delays=(MINUTE, 5 * MINUTE), give_up_after=5 * DAY)


class Clock:
    """Starts anew for each book."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self):  # type: ignore[no-untyped-def]
        return NOW + timedelta(seconds=self.seconds)


def book(store: Store, at: Clock | None = None) -> GreylistBook:
    at = at or Clock()
    return GreylistBook(store, monotonic=at.monotonic, now=at.now)


def claimed(room: Mailroom) -> Claimed:
    room.accept(room.message())
    [one] = room.claim()
    return one


def refuse(room: Mailroom, one: Claimed, known: GreylistBook, *, at: timedelta = timedelta(0)) -> None:
    """Settles it as greylisted, as a worker would."""
    judge = Judge({"transactional": SCHEDULE}, now=lambda: NOW + at, draw=lambda: 0.5, habit_of=known.habit)
    settlement = judge(one, Report(GREY, site=SITE))
    settle.settle(
        room.store, room.worker.id, [settlement], new_id=room.new_id,
        process_number=room.worker.process_number, now=NOW + at,
    )  # fmt: skip


def test_what_one_worker_saw_all_know(store: Store) -> None:
    one, other = book(store), book(store)
    met = Greylisted(SITE, NOW - 5 * MINUTE, NOW - 4 * MINUTE)
    one.note(_again(met), SITE, OK)
    at_once = one.habit(SITE)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert at_once == other.habit(SITE) == HABIT
    assert other.habit(OTHER) is None


def _again(met: Greylisted | None) -> Claimed:
    return Claimed(
        attempt_id=1, recipient_id=1, message_id=1, tenant_id=1, lane_id=1, domain="example.org",
        address="a@example.org", attempts=1, version=1, first_due_at=NOW, expires_at=None, size_bytes=1,
        in_doubt=False, content_id=1, domain_id=1, return_path_domain="", on_doubt="retry",
        stream_kind="transactional", greylisted=met,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("met", "outcome"),
    [
        (None, OK),
        (None, GREY),
        (Greylisted(OTHER, NOW - MINUTE, NOW - MINUTE), OK),
        (Greylisted(SITE, NOW - DAY, NOW - MINUTE), OK),
        (Greylisted(SITE, NOW - MINUTE, NOW - MINUTE), GREY),
        (Greylisted(SITE, NOW - MINUTE, NOW - MINUTE), Refused(Reply(550, ("5.1.1 no",)), Phase.RCPT)),
    ],
)
def test_what_says_nothing_leaves_no_row(store: Store, met: Greylisted | None, outcome) -> None:  # type: ignore[no-untyped-def]
    one = book(store)
    one.note(_again(met), SITE, outcome)
    one.synchronise(NOW)

    assert greylists.habits(store) == {}


def test_reports_of_several_workers_are_learnt_one_after_the_other(store: Store) -> None:
    greylists.report(store, {SITE: [PASSED]}, now=NOW)
    greylists.report(store, {SITE: [Sighting(4 * MINUTE, False)], OTHER: [PASSED]}, now=NOW + SECOND)
    greylists.report(store, {SITE: [Sighting(290 * SECOND, True, 4 * MINUTE)]}, now=NOW + SECOND)

    assert greylists.habits(store) == {
        SITE: Habit(passes_after=290 * SECOND, refuses_until=4 * MINUTE, refused_at=NOW + SECOND),
        OTHER: replace(HABIT, refused_at=NOW + SECOND),
    }


def test_nothing_is_lost_while_the_database_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = book(store), book(store)
    one.note(_again(Greylisted(SITE, NOW - 5 * MINUTE, NOW - 4 * MINUTE)), SITE, OK)

    with monkeypatch.context() as broken:
        broken.setattr(greylistbook.greylists, "report", _unavailable)
        one.synchronise(NOW)
    meanwhile = one.habit(SITE)
    one.synchronise(NOW)
    other.synchronise(NOW)

    assert meanwhile == other.habit(SITE) == HABIT


def _unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailable("away")


def test_a_site_is_forgotten_after_weeks_without_use(store: Store) -> None:
    at = Clock()
    used, idle = book(store, at), book(store)
    greylists.report(store, {SITE: [PASSED], OTHER: [PASSED]}, now=NOW)
    used.synchronise(NOW)
    at.seconds = 20 * 86400.0
    used.note(_again(None), SITE, GREY)  # it teaches nothing, but the memory is of use
    used.synchronise(at.now())
    greylists.forget(store, now=NOW + 40 * DAY)
    at.seconds = 21 * 86400.0
    used.synchronise(at.now())
    idle.synchronise(NOW)

    assert greylists.habits(store).keys() == {SITE}
    assert used.habit(OTHER) is idle.habit(OTHER) is None


def test_there_are_never_more_rows_than_so_many(store: Store) -> None:
    for number in range(6):
        greylists.report(store, {f"mx:{number}.example": [PASSED]}, now=NOW + number * SECOND)

    assert greylists.forget(store, now=NOW, most=4) == 2
    assert greylists.habits(store).keys() == {f"mx:{number}.example" for number in (2, 3, 4, 5)}


def test_a_recipients_first_refusal_stays_the_first(room: Mailroom) -> None:
    one, known = claimed(room), book(room.store)
    refuse(room, one, known)
    first = greylists.met(room.store, [one.recipient_id])
    [waked] = known.recalled([structs.replace(one, attempts=1)])
    with room.store.write() as c:
        # A successor that settles from a journal does not know of the first one.
        greylists.keep(c, {one.recipient_id: Greylisted(SITE, NOW + MINUTE, NOW + MINUTE)})
    second = greylists.met(room.store, [one.recipient_id])
    with room.store.write() as c:
        greylists.keep(c, {one.recipient_id: Greylisted(OTHER, NOW + MINUTE, NOW + MINUTE)})

    assert first == {one.recipient_id: Greylisted(SITE, NOW, NOW)}
    assert waked.greylisted == Greylisted(SITE, NOW, NOW)
    assert second == {one.recipient_id: Greylisted(SITE, NOW, NOW + MINUTE)}
    assert greylists.met(room.store, [one.recipient_id])[one.recipient_id].site == OTHER
    assert known.recalled([one]) == [one]  # it was not tried before


def test_the_next_recipient_is_due_when_the_last_one_passed(room: Mailroom) -> None:
    one, known = claimed(room), book(room.store)
    greylists.report(room.store, {SITE: [replace(PASSED, refuses_until=299 * SECOND)]}, now=NOW)
    known.synchronise(NOW)
    refuse(room, one, known)

    with room.store.read() as c:
        due_at = c.execute(select(recipient.c.due_at).where(recipient.c.id == one.recipient_id)).scalar_one()
    assert due_at == NOW + 301 * SECOND


def test_explain_tells_that_it_is_greylisted_and_what_the_site_took(room: Mailroom) -> None:
    one, known = claimed(room), book(room.store)
    refuse(room, one, known)
    unknown = _retry(room, one)
    greylists.report(room.store, {SITE: [PASSED]}, now=NOW)
    [told] = [_retry(room, one)]

    assert unknown.facts == {"reason": "refused", "greylisted_since": NOW}
    assert "greylists it, and nobody knows yet for how long" in unknown.what
    assert told.facts == {"reason": "refused", "greylisted_since": NOW, "site_takes_seconds": 300}
    assert "others passed there 300 s after their first try" in told.what


def _retry(room: Mailroom, one: Claimed) -> Obstacle:
    found = explain.explain(room.store, room.tenant_id, one.message_id, Knowledge(), now=NOW)
    assert found is not None
    return next(o for o in found[0].obstacles if o.kind == "retry")


def test_another_deferral_after_it_is_told_as_itself(room: Mailroom) -> None:
    one, known = claimed(room), book(room.store)
    refuse(room, one, known)
    with room.store.write() as c:
        c.execute(recipient.update().values(last_reply="451 4.2.1 mailbox busy"))

    assert _retry(room, one).facts == {"reason": "refused"}


def test_a_refusal_of_another_kind_and_one_that_ends_it_leave_no_row(room: Mailroom) -> None:
    later, ended = claimed(room), claimed(room)
    room.settle([later], deferral(NOW + MINUTE))
    short = RetrySchedule(delays=(MINUTE,), give_up_after=MINUTE)
    judge = Judge({"transactional": short}, now=lambda: NOW + DAY, draw=lambda: 0.5)
    settlement = judge(ended, Report(GREY, site=SITE))

    assert settlement.move.state is RecipientState.EXPIRED
    assert settlement.move.attempt_state is AttemptState.SETTLED
    assert settlement.greylisted is None
    assert greylists.met(room.store, [later.recipient_id, ended.recipient_id]) == {}


def test_its_row_goes_with_the_message(room: Mailroom) -> None:
    one, known = claimed(room), book(room.store)
    refuse(room, one, known)
    with room.store.write() as c:
        c.execute(recipient.update().values(state=RecipientState.DELIVERED))
        c.execute(greylists.dialect.insert(c, greylisted).values(
            recipient_id=1, site=SITE, first_at=NOW, last_at=NOW
        ))  # fmt: skip
        retention._drop(c, [one.message_id], [one.content_id])
        left = c.execute(select(func.count()).select_from(greylisted)).scalar_one()

    assert left == 1
