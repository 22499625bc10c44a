"""Many submissions of one request: in slices, so that memory, threads and the committer are shared fairly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailer.accept import crowd
from mailer.accept.committer import Prepared
from mailer.accept.crowd import Workshop
from mailer.accept.submission import Fault, Receipt, Submission, SubmissionError
from tests.accept.conftest import Desk


class Work:
    """Items whose submissions are those of `desk`, and the way in, which counts what it holds."""

    def __init__(self, desk: Desk, *, wrong: frozenset[int] = frozenset()) -> None:
        self.desk = desk
        self.wrong = wrong
        self.ready: dict[int, Prepared] = {}
        self.held = self.most_held = 0

    def items(self, number: int) -> list[Item]:
        return [Item(self, n) for n in range(number)]

    def prepare(self, submission: Submission) -> Prepared:
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        return self.ready[id(submission)]

    async def commit(self, prepared: Prepared) -> Receipt:
        receipt = await self.desk.committer.commit(prepared)
        self.held -= 1
        return receipt

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        """The route's business."""


class Item:
    def __init__(self, work: Work, number: int) -> None:
        self.work, self.number = work, number

    def submission(self) -> Submission:
        if self.number in self.work.wrong:
            raise SubmissionError(Fault.INVALID_FIELD, "wrong", pointer="/to")
        prepared = self.work.desk.prepared()
        self.work.ready[id(prepared.submission)] = prepared
        return prepared.submission

    def place(self, pointer: str) -> str:
        return f"/messages/{self.number}{pointer}"


@pytest.fixture
def workshop() -> Iterator[Callable[[Callable[[], float]], Workshop]]:
    with ThreadPoolExecutor(2) as threads:
        yield lambda monotonic: Workshop(threads, monotonic)


def stopped() -> float:
    return 0.0


async def test_answers_come_in_the_order_of_the_items(
    desk: Desk, workshop: Callable[[Callable[[], float]], Workshop]
) -> None:
    work = Work(desk, wrong=frozenset({3, 249}))

    answers = await crowd.take_all(work, work.items(250), workshop(stopped))

    refused = {n: a.pointer for n, a in enumerate(answers) if isinstance(a, SubmissionError)}
    ids = [a.message_id for a in answers if isinstance(a, Receipt)]
    assert refused == {3: "/messages/3/to", 249: "/messages/249/to"}
    assert (len(ids), ids) == (248, sorted(ids))


async def test_a_crowd_is_never_held_whole(
    desk: Desk, workshop: Callable[[Callable[[], float]], Workshop]
) -> None:
    work = Work(desk)

    await crowd.take_all(work, work.items(1000), workshop(stopped))

    assert work.held == 0
    assert work.most_held <= 200
    assert len(desk.rings) <= 25  # a transaction of a hundred each, and what a slice was split into


async def test_slow_work_is_put_down_for_others_after_each_piece(
    desk: Desk, workshop: Callable[[Callable[[], float]], Workshop]
) -> None:
    work = Work(desk)
    hours = itertools.count(0.0, 3600.0)

    answers = await crowd.take_all(work, work.items(5), workshop(lambda: next(hours)))

    assert work.most_held <= 2
    assert all(isinstance(answer, Receipt) for answer in answers)
