"""A DSN is made once: by makers at once, by one that dies in its transaction, by one whose COMMIT is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url

from mailer.identity import operator
from mailer.identity.operator import Operator
from mailer.queue import verify
from mailer.store import CommitUnknown, Store, schema
from mailer.store.tables import notice
from tests.support.submitters import OPERATOR, REFUSED, Submitters
from tests.support.tcp_proxy import Cut, commit_thief

ROOT = Path(__file__).parents[2]
# What it writes takes at least so many ids: the message, its recipient, and then, within the transaction, its
# lane, its content and its event.
STEPS = range(1, 6)

# It kills itself as it takes the n-th id.
DIES = """
import os, signal, sys
from functools import partial
from mailer import clock
from mailer.identity import operator
from mailer.ids import IdMaker
from mailer.relay.notices import NoticeMaker
from mailer.store import Store
from tests.support.submitters import GIVE_UP_AFTER, OPERATOR, later

url, step = sys.argv[1], int(sys.argv[2])
store, ids, taken = Store(url), IdMaker(1000, clock.wall_ms), []


def new_id():
    taken.append(ids())
    if len(taken) == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return taken[-1]


maker = NoticeMaker(
    store=store, find_operator=partial(operator.find, store, OPERATOR), reporting_mta="mail.op.example",
    give_up_after={"transactional": GIVE_UP_AFTER}, new_id=new_id, process_number=1000, now=later,
)
maker.make()
sys.exit(len(taken))
"""


@pytest.fixture
def office(store: Store) -> Submitters:
    made = Submitters.furnish(store)
    made.submit("a.example", "b.example")
    made.settle(REFUSED)
    return made


def run_maker(url: str, step: int) -> int:
    """The exit code of a maker that dies as it takes this id."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", DIES, url, str(step)], env=environ, check=False, cwd=ROOT
    ).returncode


@pytest.mark.parametrize("step", STEPS)
def test_a_maker_killed_at_any_step_leaves_the_debt_and_the_next_one_pays_it(
    office: Submitters, step: int
) -> None:
    code = run_maker(office.room.store.url, step)

    assert code == -signal.SIGKILL
    assert office.notices() == [("failed", "due", None, False)] * 2
    assert office.carriers() == []
    assert office.maker().make() == 1
    assert office.notices() == [("failed", "sent", None, True)] * 2
    assert len(office.carriers()) == 1
    assert verify.verify(office.room.store).holds


def test_the_steps_are_all_there_are(office: Submitters) -> None:
    assert run_maker(office.room.store.url, 99) == STEPS.stop - 1
    assert len(office.carriers()) == 1


def test_makers_at_once_tell_once(office: Submitters) -> None:
    for _ in range(9):
        office.submit("a.example", "b.example")
    office.settle(REFUSED)
    makers = [office.maker() for _ in range(4)]
    queued: list[int] = []

    threads = [threading.Thread(target=lambda m=m: queued.append(m.make())) for m in makers]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert sum(queued) == len(office.carriers()) == 10
    assert {state for _, state, _, _ in office.notices()} == {"sent"}
    assert verify.verify(office.room.store).holds


def test_one_that_finds_part_of_it_told_writes_nothing(office: Submitters) -> None:
    """Between its look and its transaction another maker told of one of the two."""

    def meanwhile() -> Operator | None:
        with office.room.store.write() as c:
            first = min(c.execute(notice.select()).all()).recipient_id
            c.execute(notice.update().where(notice.c.recipient_id == first).values(state="sent", sent_as=1))
        return operator.find(office.room.store, OPERATOR)

    queued = office.maker(find_operator=meanwhile).make()

    assert queued == 0
    assert [state for _, state, _, _ in office.notices()] == ["sent", "due"]
    assert office.carriers() == []


@pytest.mark.parametrize(("cut", "stood"), [(Cut.ANSWER, True), (Cut.COMMIT, False)])
def test_a_commit_without_an_answer_is_paid_once(postgres_url: str, cut: Cut, stood: bool) -> None:
    """Only PostgreSQL has an answer to lose."""
    store = Store(postgres_url)
    schema.upgrade(store, epoch="test-epoch")
    office = Submitters.furnish(store)
    office.submit()
    office.settle(REFUSED)
    url = make_url(store.url)
    with commit_thief(url.host or "", url.port or 0) as thief:
        far = Store(url.set(port=thief.port).render_as_string(hide_password=False))
        maker = office.maker(far)
        thief.steal(cut, touching="UPDATE notice")

        with pytest.raises(CommitUnknown):
            maker.make()
        after = len(office.carriers())
        again = maker.make()
        far.close()

    assert (after, again) == (int(stood), int(not stood))
    assert len(office.carriers()) == 1
    assert office.notices() == [("failed", "sent", None, True)]
    assert verify.verify(store).holds
    store.close()
