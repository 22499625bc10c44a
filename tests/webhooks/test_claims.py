"""A callback has one caller at a time, is settled once, and outlives whoever held it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from mailer import clock
from mailer.queue import callbacks, incarnations, retention, verify
from mailer.store import StoreUnavailable
from mailer.store.tables import webhook_attempt, webhook_callback
from tests.support.mailroom import DELIVERED, HOUR
from tests.webhooks.conftest import SECRET, URL, Switchboard, ended, unseal
from webhooks import claims
from webhooks.claims import Claimed, Fenced
from webhooks.endpoints import context_of

LATER = timedelta(days=40)
SOON = timedelta(seconds=5)


def states(board: Switchboard) -> list[str]:
    return [row.state for row in board.callbacks()]


def ids(claimed: list[Claimed]) -> list[int]:
    return [c.id for c in claimed]


# ---- claim


def test_a_claim_brings_all_that_a_call_needs(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()

    [claimed] = board.claim(endpoint)
    assert (claimed.url, claimed.attempts) == (URL, 0)
    assert claimed.event is not None
    assert (claimed.event.number, claimed.event.type, claimed.event.version) == (1, "accepted", 1)
    assert len(unseal(claimed.secret, context_of(endpoint))) == len(SECRET)
    [row] = board.callbacks()
    assert (row.state, row.holder) == ("held", board.caller.id)


def test_what_is_held_is_nobody_elses(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(3)

    first, second = board.claim(endpoint, most=2), board.claim(endpoint, by=board.another_caller())
    assert (len(first), len(second)) == (2, 1)
    assert not set(ids(first)) & set(ids(second))
    assert board.claim(endpoint) == []


def test_callers_that_claim_at_once_share_the_work(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(60)
    callers = [board.another_caller() for _ in range(4)]
    taken: list[list[int]] = [[] for _ in callers]
    start = threading.Barrier(len(callers))

    def work(number: int) -> None:
        start.wait()
        while claimed := board.claim(endpoint, most=4, by=callers[number]):
            taken[number] += ids(claimed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    together = [i for mine in taken for i in mine]
    assert len(together) == len(set(together)) == 60
    assert set(states(board)) == {"held"}


def test_what_is_due_for_longest_is_called_first_and_what_is_not_due_waits(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(2)
    board.settle([ended(c, 500, due_in=HOUR) for c in board.claim(endpoint, most=1)])

    assert claims.waiting(board.store, now=clock.now()) == [endpoint]
    assert [c.event.number for c in board.claim(endpoint) if c.event] == [2]
    assert claims.waiting(board.store, now=clock.now()) == []
    assert [c.attempts for c in board.claim(endpoint, now=clock.now() + 2 * HOUR)] == [1]


def test_a_disabled_endpoint_is_not_called_and_what_is_due_waits(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    board.endpoints.change(board.room.tenant_id, endpoint, {"state": "disabled"})

    assert claims.waiting(board.store, now=clock.now()) == []
    assert board.claim(endpoint) == []
    board.endpoints.change(board.room.tenant_id, endpoint, {"state": "active"})
    assert len(board.claim(endpoint)) == 1


def test_an_event_that_the_retention_dropped_is_none(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    board.room.settle(board.room.claim(), DELIVERED)
    board.fan_out()
    retention.drop_messages(board.store, before=clock.now() + LATER)
    retention.drop_events(board.store, before=clock.now() + LATER)

    assert {c.event for c in board.claim(endpoint)} == {None}
    assert verify.verify(board.store).holds


def test_a_test_tells_an_event_of_nobody(board: Switchboard) -> None:
    endpoint = board.endpoint("https://a.example/", "bounced")
    board.endpoints.test(board.room.tenant_id, endpoint)

    [claimed] = board.claim(endpoint)
    assert claimed.event is not None
    assert (claimed.event.type, claimed.event.number, claimed.event.message_id) == ("test", None, None)
    assert verify.verify(board.store).holds


# ---- settle


def test_a_callback_that_was_taken_is_delivered(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()

    assert board.settle([ended(c) for c in board.claim(endpoint)]) == 1
    [row], [attempt] = board.callbacks(), board.attempts()
    assert (row.state, row.holder, row.attempts) == ("delivered", None, 1)
    assert row.settled_at is not None
    assert (attempt.callback_id, attempt.status, attempt.cause, attempt.duration_ms) == (
        row.id, 204, None, 12,
    )  # fmt: skip


def test_one_that_failed_is_due_again(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    board.settle([ended(c, 503, due_in=SOON) for c in board.claim(endpoint)])

    [row] = board.callbacks()
    assert (row.state, row.attempts, row.settled_at) == ("due", 1, None)
    assert row.due_at > clock.now()


def test_one_whose_schedule_ended_is_given_up(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    board.settle([ended(c, None) for c in board.claim(endpoint)])

    [row], [attempt] = board.callbacks(), board.attempts()
    assert (row.state, attempt.status, attempt.cause) == ("given_up", None, "answered so")
    assert row.settled_at is not None


def test_settling_again_moves_nothing_twice(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    heard = [ended(c) for c in board.claim(endpoint)]

    assert [board.settle(heard), board.settle(heard)] == [1, 0]
    assert len(board.attempts()) == 1


def test_nobody_settles_what_another_holds(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    heard = [ended(c) for c in board.claim(endpoint)]

    assert board.settle(heard, by=board.another_caller()) == 0
    assert states(board) == ["held"]


def test_of_a_deleted_endpoint_nothing_is_noted(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    heard = [ended(c) for c in board.claim(endpoint)]
    board.endpoints.delete(board.room.tenant_id, endpoint)

    assert board.settle(heard) == 0
    assert board.attempts() == []


def test_gone_disables_the_endpoint_and_what_is_due_waits(board: Switchboard) -> None:
    endpoint, other = board.endpoint(), board.endpoint("https://other.example/")
    board.tell()
    board.settle([ended(c, 410, due_in=SOON) for c in board.claim(endpoint)])

    assert (board.row(endpoint).state, board.row(other).state) == ("disabled", "active")
    assert board.claim(endpoint, now=clock.now() + HOUR) == []


def test_gone_says_nothing_about_another_url(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    heard = [ended(c, 410, due_in=SOON) for c in board.claim(endpoint)]
    board.endpoints.change(board.room.tenant_id, endpoint, {"url": "https://moved.example/"})
    board.settle(heard)

    assert board.row(endpoint).state == "active"


# ---- death


def test_a_fenced_caller_writes_nothing_more(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(2)
    heard = [ended(c) for c in board.claim(endpoint, most=1)]
    incarnations.fence(board.store, board.caller.id, now=clock.now())

    with pytest.raises(Fenced):
        board.settle(heard)
    with pytest.raises(Fenced):
        board.claim(endpoint)
    assert board.attempts() == []


def test_what_the_dead_held_is_due_again_and_the_living_keep_theirs(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(3)
    living = board.another_caller()
    dead, alive = board.claim(endpoint, most=2), board.claim(endpoint, by=living)
    incarnations.fence(board.store, board.caller.id, now=clock.now())

    assert [callbacks.release_abandoned(board.store) for _ in range(2)] == [2, 0]
    again = board.claim(endpoint, by=living)
    assert sorted(ids(again)) == sorted(ids(dead))
    assert {c.attempts for c in again} == {0}
    assert board.settle([ended(c) for c in alive + again], by=living) == 3
    assert verify.verify(board.store).holds


def test_a_repeat_is_the_same_event_under_the_same_id(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell()
    [first] = board.claim(endpoint)
    incarnations.fence(board.store, board.caller.id, now=clock.now())
    callbacks.release_abandoned(board.store)

    [second] = board.claim(endpoint, by=board.another_caller())
    assert second.event == first.event


def test_a_claim_whose_answer_was_lost_is_let_go(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(3)
    known = board.claim(endpoint, most=1)
    board.claim(endpoint)

    assert claims.let_go(board.store, board.caller.id, besides=ids(known)) == 2
    assert sorted(states(board)) == ["due", "due", "held"]


def test_without_a_database_it_is_said_so(board: Switchboard) -> None:
    board.store.close()
    gone = type(board.store)("postgresql+psycopg://nobody@127.0.0.1:1/none")

    with pytest.raises(StoreUnavailable):
        claims.waiting(gone, now=clock.now())
    gone.close()


# ---- retention and verify


def test_old_callbacks_go_with_their_attempts_and_young_ones_stay(board: Switchboard) -> None:
    endpoint = board.endpoint()
    board.tell(3)
    board.settle([ended(c) for c in board.claim(endpoint, most=1)])
    held = board.claim(endpoint, most=1)

    assert callbacks.drop_callbacks(board.store, before=clock.now() - HOUR) == 0
    assert callbacks.drop_callbacks(board.store, before=clock.now() + HOUR, most=1) == 1
    assert callbacks.drop_callbacks(board.store, before=clock.now() + HOUR) == 1
    assert [row.id for row in board.callbacks()] == ids(held)
    assert board.attempts() == []
    assert verify.verify(board.store).holds


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (webhook_callback.update().values(event_number=99), "every callback tells an event of the log"),
        (webhook_callback.update().values(event_number=1), "no endpoint has two callbacks of one event"),
        (
            webhook_callback.update().values(state="held", holder=7),
            "callbacks being called are held by a known incarnation, others by nobody",
        ),
        (
            webhook_callback.update().values(holder=7),
            "callbacks being called are held by a known incarnation, others by nobody",
        ),
        (webhook_attempt.delete(), "attempts of callbacks are on record"),
    ],
)
def test_verify_finds_damage(board: Switchboard, damage: object, check: str) -> None:
    endpoint = board.endpoint()
    board.tell(2)
    board.settle([ended(c) for c in board.claim(endpoint)])
    before = verify.verify(board.store)
    with board.store.write() as c:
        c.execute(damage)  # type: ignore[call-overload]

    after = verify.verify(board.store)
    assert before.holds
    assert check in {c.name for c in after.checks if not c.holds}


def test_gauges_tell_what_is_due_and_what_was_answered(board: Switchboard) -> None:
    first, second = board.endpoint(), board.endpoint("https://other.example/")
    board.tell(4)
    answers = [204, 500, None, 301]
    board.settle([ended(c, s, due_in=HOUR) for c, s in zip(board.claim(first), answers, strict=True)])
    board.claim(second, most=1)

    seen = callbacks.gauges(board.store, now=clock.now() + timedelta(minutes=1))
    assert seen.due == 3
    assert 59 < seen.oldest_due_seconds < 120
    assert seen.attempts == {"2xx": 1, "3xx": 1, "4xx": 0, "5xx": 1, "none": 1}
