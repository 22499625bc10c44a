"""Group commit: what queued while the previous commit ran is written at once, then all are answered.

No timer: a lone submission is committed alone and at once, a crowd shares one fsync. Where others wait
already when a group is answered, the door first hears what those bring who were just answered: they fill the
next group, and do not wait for it. A failing item is retried alone, so that it never refuses its neighbours.
If the answer to a COMMIT was lost, the group's own ids are looked up before anyone is answered: found is
accepted; if that cannot be told, try again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import structlog
from sqlalchemy import Connection

from mailer.accept import admission
from mailer.accept.admission import Admitted
from mailer.accept.charging import Bill, Payer
from mailer.accept.rates import KeyRates
from mailer.accept.stopping import stopped_of
from mailer.accept.submission import PASSING, Fault, Receipt, Submission, SubmissionError
from mailer.ids import IdMaker
from mailer.policy.suppressionkey import Keys
from mailer.queue import enqueue
from mailer.queue.enqueue import Earlier, LaneBook, NewContent, NewMessage, NewRecipient
from mailer.store import CommitUnknown, Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_GROUP_MESSAGES = 200
_GROUP_BYTES = 16 * 1024 * 1024
_TURN_SECONDS = 0.01  # a loop that takes longer is not waited for
_UNAVAILABLE = "the database did not answer; the message was not accepted, try again"
_UNKNOWN = "it is not known whether the message was stored; try again with the same idempotency key"

Answer = Receipt | SubmissionError


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A submission, composed, with its ids; whether it is admitted is not yet known."""

    submission: Submission
    message_id: int
    rfc_message_id: str
    content: NewContent
    recipients: tuple[NewRecipient, ...]
    response: bytes


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal to leave in the tenant's log; not the error, which holds what it came through."""

    tenant_id: int
    fault: Fault
    detail: str


class _Waiting(msgspec.Struct, frozen=True):
    prepared: Prepared
    future: asyncio.Future[Receipt]
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class _Bench:
    """Judges the submissions of a group, one after the other.

    beyond  would be accepted if its tenant's quota had room
    """

    facts: admission.Facts
    payers: Mapping[int, Payer | None]
    bill: Bill
    now: datetime
    messages: list[NewMessage] = field(default_factory=list)
    beyond: list[NewMessage] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    admitted: dict[int, Admitted] = field(default_factory=dict)

    def judge(self, prepared: Prepared) -> None:
        payer, recipients = self.payers[prepared.message_id], len(prepared.recipients)
        message = None
        try:
            if payer is not None:
                self.bill.submit(payer, recipients)
            admitted = admission.admit(prepared.submission, self.facts, self.now)
            self.admitted[prepared.message_id] = admitted
            message = _message(prepared, admitted, self.now)
            if payer is not None:
                self.bill.accept(payer, recipients)
        except SubmissionError as error:
            self.answers[prepared.message_id] = error.bare()
            if message is not None:
                self.beyond.append(message)
            elif payer is not None and error.fault not in PASSING:
                self.rejections.append(Rejection(payer.tenant_id, error.fault, error.detail))
        else:
            self.messages.append(message)

    def replay(self, repeats: Mapping[int, Earlier]) -> None:
        """Those that stand already are answered as they were, and are no further use of a quota."""
        for message in (*self.messages, *self.beyond):
            earlier = repeats.get(message.id)
            if earlier is not None:
                self.answers[message.id] = _replay(message, earlier)
        for message in self.messages:
            payer = self.payers[message.id]
            if message.id in repeats and payer is not None:
                self.bill.take_back(payer, len(message.recipients))


class Committer:
    """One thread that writes; `commit` is called on event loops. start() and stop() once."""

    def __init__(
        self,
        store: Store,
        *,
        new_id: IdMaker,
        process_number: int,
        now: Callable[[], datetime],
        ring: Callable[[], None],
        rates: KeyRates,
        keys: Keys,
    ) -> None:
        """ring: tells the workers that there is work; called at every commit that wrote a message, before it
        is answered, and perhaps before it is on disk.
        rates: what keys may submit; learns here what they have left.
        keys: by what entries of suppression lists are found."""
        self._store = store
        self._new_id = new_id
        self._process_number = process_number
        self._now = now
        self._ring = ring
        self._rates = rates
        self._keys = keys
        self._lanes = LaneBook()
        self._queue: queue.SimpleQueue[_Waiting | Rejection | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Everything handed over before is committed and answered when this returns."""
        self._queue.put(None)
        self._thread.join()

    async def commit(self, prepared: Prepared) -> Receipt:
        """The receipt, once it is on disk. Raises SubmissionError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        self._queue.put(_Waiting(prepared, future, loop))
        del prepared
        try:
            return await future
        finally:
            del future  # it holds a refusal, whose frames would hold it

    def note(self, rejection: Rejection) -> None:
        """The rejected event is written with the next group."""
        self._queue.put(rejection)

    def _run(self) -> None:
        last = False
        while not last:
            group, rejections, last = self._gather()
            self._write_rejections(rejections)
            if group:
                self._write(group)
                self._let_in(group[-1].loop)
            del group  # or it stays in memory until the next one comes, which may be tomorrow
        self._write_rejections(self._left_over())

    def _let_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where others wait, it comes back when `loop` has answered and looked at its connections again."""
        if self._queue.empty():
            return
        turned = threading.Event()
        try:
            loop.call_soon_threadsafe(loop.call_soon, turned.set)
        except RuntimeError:  # it has ended; whoever waits is of another, or is the stop mark
            return
        turned.wait(_TURN_SECONDS)

    def _left_over(self) -> list[Rejection]:
        """Refusals that the last group brought about, after the stop mark."""
        rejections = []
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Rejection):
                rejections.append(item)
        return rejections

    def _gather(self) -> tuple[list[_Waiting], list[Rejection], bool]:
        """Waits for one item, then takes what is there; True when the stop mark was among it."""
        group: list[_Waiting] = []
        rejections: list[Rejection] = []
        size = 0
        item = self._queue.get()
        while True:
            if item is None:
                return group, rejections, True
            if isinstance(item, Rejection):
                rejections.append(item)
            else:
                group.append(item)
                size += item.prepared.content.size_bytes
            if len(group) + len(rejections) >= _GROUP_MESSAGES or size >= _GROUP_BYTES:
                return group, rejections, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, rejections, False

    def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            answers = self._transact([w.prepared for w in group])
        except CommitUnknown as error:
            _log.warning("accept.commit_unknown", messages=len(group), error=str(error))
            answers = [self._look_up(w.prepared) for w in group]
            self._ring()
        except StoreUnavailable as error:
            _log.warning("accept.store_unavailable", messages=len(group), error=str(error))
            answers = [SubmissionError(Fault.UNAVAILABLE, _UNAVAILABLE) for _ in group]
        except Exception:  # noqa: BLE001 - one bad item must not refuse its neighbours: each is tried alone
            if len(group) > 1:
                for waiting in group:
                    self._write([waiting])
                return
            _log.exception("accept.failed", message_id=group[0].prepared.message_id)
            answers = [SubmissionError(Fault.INTERNAL, "the message could not be stored")]
        _answer(group, answers)

    def _transact(self, group: Sequence[Prepared]) -> list[Answer]:
        now = self._now()
        won: list[NewMessage] = []
        with self._store.write(on_commit=lambda: self._ring() if won else None) as connection:
            facts = admission.read_facts(connection, [p.submission for p in group])
            payers = {p.message_id: admission.payer_of(p.submission, facts) for p in group}
            bill = Bill(connection, self._rates, filter(None, payers.values()), now=self._now())
            bench = _Bench(facts, payers, bill, now)
            for prepared in group:
                bench.judge(prepared)
            repeats = enqueue.repeats(connection, bench.beyond)
            repeats |= enqueue.claim_keys(connection, bench.messages, now=now)
            bench.replay(repeats)
            won += [m for m in bench.messages if m.id not in repeats]
            lanes = self._insert(connection, won, bench.admitted, now) if won else {}
            bill.close()
        bill.learn()
        self._lanes.remember(lanes)
        for rejection in bench.rejections:
            self._queue.put(rejection)
        answers = bench.answers | {m.id: Receipt(m.id, m.response) for m in won}
        return [answers[p.message_id] for p in group]

    def _insert(
        self,
        connection: Connection,
        won: Sequence[NewMessage],
        admitted: Mapping[int, Admitted],
        now: datetime,
    ) -> dict[tuple[int, int, str], int]:
        return enqueue.insert_messages(
            connection,
            won,
            lanes=self._lanes,
            new_id=self._new_id,
            process_number=self._process_number,
            now=now,
            stopped=stopped_of(connection, self._keys, won, admitted, now),
        )

    def _look_up(self, prepared: Prepared) -> Answer:
        """After a COMMIT without an answer: the transaction stands whole or not at all."""
        try:
            if enqueue.stands(self._store, prepared.message_id):
                return Receipt(prepared.message_id, prepared.response)
        except StoreUnavailable as error:
            _log.warning("accept.look_up_failed", message_id=prepared.message_id, error=str(error))
        return SubmissionError(Fault.UNAVAILABLE, _UNKNOWN)

    def _write_rejections(self, rejections: Sequence[Rejection]) -> None:
        if not rejections:
            return
        try:
            enqueue.reject(
                self._store,
                [(r.tenant_id, self._new_id(), str(r.fault), r.detail) for r in rejections],
                now=self._now(),
            )
        except StoreUnavailable as error:
            # The caller was told; only the log entry is missing, and the log says so here.
            _log.warning("accept.rejection_not_noted", rejections=len(rejections), error=str(error))


def _message(p: Prepared, admitted: Admitted, now: datetime) -> NewMessage:
    s = p.submission
    return NewMessage(
        id=p.message_id,
        tenant_id=admitted.tenant_id,
        stream_id=admitted.stream_id,
        domain_id=admitted.domain_id,
        return_path_domain=admitted.return_path_domain,
        header_from=s.authors[0].addr_spec,
        subject=s.content.subject,
        rfc_message_id=p.rfc_message_id,
        content=p.content,
        recipients=p.recipients,
        tags=tuple(dict.fromkeys(s.tags)),
        metadata=s.metadata,
        mail_from=s.mail_from,
        ret=s.ret,
        envid=s.envid,
        tls=s.tls,
        unsubscribe=admitted.unsubscribe,
        door=s.door,
        response=p.response,
        idempotency_key=s.idempotency_key,
        body_sha256=s.body_sha256,
        due_at=s.due_at,
        expires_at=admission.deadline(s, admitted, now),
    )


def _replay(message: NewMessage, earlier: Earlier) -> Answer:
    if earlier.body_sha256 != message.body_sha256:
        return SubmissionError(
            Fault.IDEMPOTENCY_KEY_REUSED, "this idempotency key was used before with another request body"
        )
    return Receipt(earlier.message_id, earlier.response, replayed=True)


def _answer(group: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    """One wake-up of the event loop for the whole group."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Receipt], Answer]]] = {}
    for waiting, answer in zip(group, answers, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting.future, answer))
    for loop, pairs in by_loop.items():
        loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[Receipt], Answer]]) -> None:
    for future, answer in pairs:
        if future.done():  # the client hung up; the message stands all the same
            continue
        if isinstance(answer, SubmissionError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
