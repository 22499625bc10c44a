"""After a death: the journal decides, and without it everything open is in doubt."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from mailer import clock
from mailer.events import AttemptState, RecipientState, WaitReason
from mailer.policy.retry import RetrySchedule
from mailer.queue import incarnations, read, settle, verify
from mailer.relay.journal import Journal
from mailer.relay.recovery import Recoverer
from mailer.relay.verdict import Judge
from mailer.store.tables import notice
from tests.support.mailroom import DELIVERED, Mailroom, register, settlements

SCHEDULE = RetrySchedule(delays=(timedelta(minutes=5),), give_up_after=timedelta(hours=24))


@pytest.fixture
def recoverer(room: Mailroom, tmp_path: Path) -> Recoverer:
    judge = Judge({"transactional": SCHEDULE}, now=clock.now, draw=lambda: 0.0)
    return Recoverer(
        store=room.store, folder=tmp_path / "journal", host="here", judge=judge, new_id=room.new_id,
        process_number=99, now=clock.now,
    )  # fmt: skip


def states(room: Mailroom, *messages: int) -> list[tuple[str, str | None, int, str]]:
    """(state, reason, counted attempts, attempt state) of each message's recipient."""
    found = []
    for message_id in messages:
        view = read.message_of(room.store, room.tenant_id, message_id)
        assert view is not None
        [r] = view.recipients
        found.append((r.state, r.wait_reason, r.attempts, r.tries[-1].state))
    return found


def test_what_the_journal_knows_settles_a_dead_workers_attempts(room: Mailroom, recoverer: Recoverer) -> None:
    messages = [room.message(f"{x}.example") for x in "abcd"]
    room.accept(*messages)
    _unsent, silent, taken, refused = sorted(room.claim(), key=lambda c: c.domain)
    journal = Journal(recoverer.folder, room.worker.id, lambda: True)
    for c in (silent, taken, refused):
        journal.about_to_send_dot(c.attempt_id)
    journal.heard(taken.attempt_id, 250, "2.0.0 ok")
    journal.heard(refused.attempt_id, 554, "5.6.0 no")
    journal.close(settled=False)

    moved = recoverer.recover_orphans()

    assert moved == 4
    assert states(room, *(m.id for m in messages)) == [
        (RecipientState.QUEUED, WaitReason.WORKER_LOST, 0, AttemptState.RELEASED),
        (RecipientState.DEFERRED, WaitReason.IN_DOUBT, 1, AttemptState.IN_DOUBT),
        (RecipientState.DELIVERED, None, 1, AttemptState.SETTLED),
        (RecipientState.BOUNCED, None, 1, AttemptState.SETTLED),
    ]
    assert verify.verify(room.store).holds
    assert list(recoverer.folder.iterdir()) == []


def test_a_living_owner_is_left_alone(room: Mailroom, recoverer: Recoverer) -> None:
    m = room.message()
    room.accept(m)
    room.claim()
    journal = Journal(recoverer.folder, room.worker.id, lambda: True)

    moved = recoverer.recover_orphans()

    journal.close(settled=False)
    assert moved == 0
    assert states(room, m.id)[0][0] == RecipientState.LEASED


def test_without_its_journal_everything_open_is_in_doubt(room: Mailroom, recoverer: Recoverer) -> None:
    m = room.message()
    room.accept(m)
    room.claim()

    recoverer.recover_dead([room.worker.id])

    assert states(room, m.id) == [(RecipientState.DEFERRED, WaitReason.IN_DOUBT, 1, AttemptState.IN_DOUBT)]


def test_a_stopped_worker_is_fenced_by_its_journal_and_its_late_yes_kept(
    room: Mailroom, recoverer: Recoverer
) -> None:
    m = room.message()
    room.accept(m)
    claimed = room.claim()
    journal = Journal(recoverer.folder, room.worker.id, lambda: True)
    journal.about_to_send_dot(claimed[0].attempt_id)
    recoverer.recover_dead([room.worker.id])
    [before] = states(room, m.id)

    with pytest.raises(incarnations.Fenced):
        room.settle(claimed, DELIVERED)
    settle.note_late_reply(
        room.store, claimed[0].attempt_id, settle.LateReply(250, "250 ok"), new_id=room.new_id,
        process_number=1, now=clock.now(),
    )  # fmt: skip

    journal.close(settled=False)
    assert before[0] == RecipientState.DEFERRED
    assert states(room, m.id)[0][0] == RecipientState.DELIVERED
    assert verify.verify(room.store).holds


def test_a_recovery_cut_short_is_finished_by_the_next(room: Mailroom, recoverer: Recoverer) -> None:
    m = room.message()
    room.accept(m)
    room.claim()
    incarnations.fence(room.store, room.worker.id, now=clock.now())

    recoverer.recover_dead([])

    assert states(room, m.id)[0][0] == RecipientState.DEFERRED


def test_another_hosts_dead_are_left_to_its_own_sweeper(room: Mailroom, recoverer: Recoverer) -> None:
    far = register(room.store, host="there")
    sweeper = register(room.store, role="sweeper", host="there")
    m = room.message()
    room.accept(m)
    room.claim(me=far.id)

    left = recoverer.recover_dead([far.id])
    taken = recoverer.recover_dead([far.id, sweeper.id])

    assert (left, taken) == (0, 1)


def test_recovering_twice_moves_nothing_twice(room: Mailroom, recoverer: Recoverer) -> None:
    room.accept(room.message())
    room.claim()
    recoverer.recover(room.worker.id)

    assert recoverer.recover(room.worker.id) == 0
    assert verify.verify(room.store).holds


def test_a_settlement_of_the_living_and_a_recovery_cannot_both_move(
    room: Mailroom, recoverer: Recoverer
) -> None:
    room.accept(room.message())
    claimed = room.claim()
    room.settle(claimed, DELIVERED)

    moved = recoverer.recover(room.worker.id)

    assert moved == 0
    assert len(settlements(claimed, DELIVERED)) == 1
    assert verify.verify(room.store).holds


@pytest.mark.parametrize(("passed_on", "kinds"), [(False, ["relayed"]), (True, [])])
def test_a_successor_knows_whether_the_next_hop_answers_for_success(
    room: Mailroom, recoverer: Recoverer, passed_on: bool, kinds: list[str]
) -> None:
    m = room.message()
    room.accept(replace(m, recipients=tuple(replace(r, notify="SUCCESS") for r in m.recipients)))
    [claimed] = room.claim()
    journal = Journal(recoverer.folder, room.worker.id, lambda: True)
    journal.about_to_send_dot(claimed.attempt_id, passed_on=passed_on)
    journal.heard(claimed.attempt_id, 250, "2.0.0 ok")
    journal.close(settled=False)

    recoverer.recover_orphans()

    with room.store.read() as c:
        assert list(c.execute(select(notice.c.kind)).scalars()) == kinds
