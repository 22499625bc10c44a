"""Many submissions of one request: composed in slices, committed in few transactions, refused one by one.

A slice is composed in a thread while the one before it is committed, and handed over when that is done. So
the event loop stays free, memory holds two slices and not a thousand messages, and whoever sends a single
message in between waits for one group of the committer, not for the whole crowd.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from mailer.accept.committer import Prepared
from mailer.accept.submission import Fault, Receipt, Submission, SubmissionError, Taker

_SLICE_ITEMS = 100
_SLICE_SECONDS = 0.05  # then others who wait for a thread have theirs
_SLICE_BYTES = 4 * 1024 * 1024
_NOT_TRIED = (
    "the database did not answer for messages before this one; it was not tried, send the batch again"
)

Answer = Receipt | SubmissionError


class Item(Protocol):
    """One of many."""

    def submission(self) -> Submission:
        """Takes its time; not for an event loop. Raises SubmissionError, pointing into the item."""

    def place(self, pointer: str) -> str:
        """Where in the whole request a pointer into the item leads."""


class CrowdTaker(Protocol):
    """The one way in, in two steps, as `accept.intake.Intake` has them."""

    def prepare(self, submission: Submission) -> Prepared:
        """Composed, with its ids. Safe in any thread. Raises SubmissionError."""

    async def commit(self, prepared: Prepared) -> Receipt:
        """The message is on disk when this returns. Raises SubmissionError."""

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        """Leaves the `rejected` event of a submission that a door refused."""


class Doorway(Taker, CrowdTaker, Protocol):
    """The one way in, for one submission and for many."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where messages are composed that take their time: few threads of their own, so that whoever waits for
    the database in a thread does not wait for somebody's templates.

    monotonic  mailer.clock's, or a test's
    """

    threads: Executor
    monotonic: Callable[[], float]


async def take_all(taker: CrowdTaker, items: Sequence[Item], workshop: Workshop) -> list[Answer]:
    """An answer for each, in order; what is accepted is on disk. Nothing raises for one of them.

    Once the database does not answer, the rest is not tried: each would wait as long, in vain.
    """
    loop = asyncio.get_running_loop()
    answers: list[Answer] = []
    committing: asyncio.Task[list[Answer]] | None = None
    prepared = 0
    while prepared < len(items) and not _is_outage(answers):
        rest = items[prepared : prepared + _SLICE_ITEMS]
        composed = await loop.run_in_executor(workshop.threads, _slice, taker, rest, workshop.monotonic)
        prepared += len(composed)
        if committing is not None:
            answers += await committing
        committing = None if _is_outage(answers) else asyncio.create_task(_commit(taker, composed))
    if committing is not None:
        answers += await committing
    answers += [SubmissionError(Fault.UNAVAILABLE, _NOT_TRIED) for _ in range(len(items) - len(answers))]
    return [
        answer.moved(item.place) if isinstance(answer, SubmissionError) else answer
        for item, answer in zip(items, answers, strict=True)
    ]


def _slice(
    taker: CrowdTaker, items: Sequence[Item], monotonic: Callable[[], float]
) -> list[Prepared | SubmissionError]:
    """The first of `items`, composed: at least one, and no more than fit in a moment's work and memory."""
    composed: list[Prepared | SubmissionError] = []
    size = 0
    until = monotonic() + _SLICE_SECONDS
    for item in items:
        try:
            prepared = taker.prepare(item.submission())
        except SubmissionError as error:
            composed.append(error.bare())
        else:
            composed.append(prepared)
            size += prepared.content.size_bytes
        if size >= _SLICE_BYTES or monotonic() >= until:
            break
    return composed


async def _commit(taker: CrowdTaker, composed: Sequence[Prepared | SubmissionError]) -> list[Answer]:
    async def one(prepared: Prepared | SubmissionError) -> Answer:
        if isinstance(prepared, SubmissionError):
            return prepared
        try:
            return await taker.commit(prepared)
        except SubmissionError as error:
            return error.bare()

    return await asyncio.gather(*map(one, composed))


def _is_outage(answers: Sequence[Answer]) -> bool:
    return any(isinstance(a, SubmissionError) and a.fault is Fault.UNAVAILABLE for a in answers)
