"""Settling outcomes as they arrive: every 20 ms or 100 of them, whichever is first.

Not sooner, since on SQLite each commit holds the one write lock that the doors wait for; nor later, since
what is heard and not yet settled rests on the journal alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import msgspec
import structlog

from mailer import logs
from mailer.events import AttemptState, RecipientState
from mailer.policy.outcome import Accepted, Refused
from mailer.protocol.phase import Phase
from mailer.queue import settle
from mailer.queue.claim import Claimed
from mailer.queue.incarnations import Fenced
from mailer.queue.settle import LateReply, Settlement
from mailer.relay.carrier import Report
from mailer.relay.journal import Journal
from mailer.relay.means import Means
from mailer.relay.shares import Shares
from mailer.store import StoreUnavailable

_log = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.020
_MOST = 100
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # between tries while the database is away


class Ended(msgspec.Struct, frozen=True):
    """An attempt that came to its end.

    seconds     how long it took; None if no host was dialled
    settlement  what follows, where that is not for the policy of outcomes to say
    """

    claimed: Claimed
    report: Report
    seconds: float | None = None
    settlement: Settlement | None = None


class Settler:
    """Takes ended attempts from any thread and settles them from its own.

    An outcome is never dropped: while the database is away it is kept and tried again, and when this
    incarnation was fenced in the meantime, what was heard is kept as late evidence.
    """

    def __init__(
        self,
        means: Means,
        journal: Journal,
        *,
        judge: Callable[[Claimed, Report], Settlement],
        note: Callable[[Claimed, Report], None],
        on_settled: Callable[[bool], None],
    ) -> None:
        """note: counts attempts for which no host was dialled; the others were counted as they ended, since a
        site that refuses must get no more while they wait here.

        on_settled is called after every commit: there is room for new work. True: some went back, and may be
        claimed again at once.
        """
        self._means = means
        self._journal = journal
        self._judge = judge
        self._note = note
        self._on_settled = on_settled
        self._shares = Shares(means.monotonic)
        self._ended: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def put(self, ended: Ended) -> None:
        self._ended.put(ended)

    def stop(self) -> None:
        """`run` returns once everything put before this call was settled."""
        self._stopping.set()
        self._ended.put(None)

    def run(self) -> None:
        """The settler thread's body."""
        while True:
            first = self._ended.get()
            if first is None:
                return
            batch, last = self._gather(first)
            self._settle(batch)
            if last:
                return

    def _gather(self, first: Ended) -> tuple[list[Ended], bool]:
        """What arrives within 20 ms, at most 100; True when the stop mark was among it."""
        batch = [first]
        self._stopping.wait(_GATHER_SECONDS)
        while len(batch) < _MOST:
            try:
                item = self._ended.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    def _settle(self, batch: Sequence[Ended]) -> None:
        settlements = [e.settlement or self._judged(e) for e in batch]
        for ended in batch:
            if ended.seconds is None:
                self._note(ended.claimed, ended.report)
            else:
                self._means.in_hand.took(ended.claimed.attempt_id, ended.seconds)
        if self._write(settlements):
            self._journal.forget(s.attempt_id for s in settlements)
            with logs.together():
                for ended, settlement in zip(batch, settlements, strict=True):
                    _log_attempt(ended, settlement)
        else:
            self._keep_late(batch)
        self._means.in_hand.drop(s.attempt_id for s in settlements)
        self._on_settled(any(s.move.attempt_state is AttemptState.RELEASED for s in settlements))

    def _judged(self, ended: Ended) -> Settlement:
        """What follows, however long the database takes to come back: of what expired its history is read."""
        tries = 0
        while True:
            try:
                return self._judge(ended.claimed, ended.report)
            except StoreUnavailable as error:
                _log.warning("settle.store_unavailable", waiting=1, error=str(error))
                _pause(tries)
                tries += 1

    def _write(self, settlements: Sequence[Settlement]) -> bool:
        """Settles, however long the database takes to come back; False when fenced."""
        tries = 0
        shares = self._shares.with_these(settlements)
        while True:
            try:
                settle.settle(
                    self._means.store,
                    self._means.lease.incarnation_id,
                    settlements,
                    new_id=self._means.new_id,
                    process_number=self._means.process_number,
                    now=self._means.now(),
                    shares=shares,
                )
                return True
            except Fenced:
                self._means.lease.fenced = True
                return False
            except StoreUnavailable as error:
                _log.warning("settle.store_unavailable", waiting=len(settlements), error=str(error))
                _pause(tries)
                tries += 1

    def _keep_late(self, batch: Sequence[Ended]) -> None:
        """Fenced: the attempts are no longer ours, but what their peers said is kept."""
        for ended in batch:
            outcome = ended.report.outcome
            match outcome:
                case Accepted(reply) | Refused(reply, Phase.END_OF_DATA):
                    late = LateReply(reply.code, f"{reply.code} {reply.text}", ended.report.passed_on)
                    self._note_late(ended.claimed, late)
                case _:
                    pass  # nothing was heard that its recovery could not tell

    def _note_late(self, claimed: Claimed, late: LateReply) -> None:
        try:
            stopped = settle.note_late_reply(
                self._means.store,
                claimed.attempt_id,
                late,
                new_id=self._means.new_id,
                process_number=self._means.process_number,
                now=self._means.now(),
            )
        except StoreUnavailable as error:
            # It stays in the journal, which the successor reads as well.
            _log.warning("settle.late_reply_lost", attempt_id=claimed.attempt_id, error=str(error))
            return
        _log.info("settle.late_reply", attempt_id=claimed.attempt_id, code=late.code, stopped_retry=stopped)


def _pause(tries: int) -> None:
    threading.Event().wait(_PAUSES[min(tries, len(_PAUSES) - 1)])


def _log_attempt(ended: Ended, s: Settlement) -> None:
    """One line an attempt is enough to rebuild a life; released ones are no attempts."""
    if s.move.attempt_state is AttemptState.RELEASED:
        return
    level = _log.info if s.move.state is not RecipientState.BOUNCED else _log.warning
    level(
        "attempt.settled",
        message_id=ended.claimed.message_id,
        recipient_id=s.recipient_id,
        attempt_id=s.attempt_id,
        domain=ended.claimed.domain,
        site=s.heard.site,
        host=s.heard.host,
        egress_ip=s.heard.egress_ip,
        outcome=s.heard.outcome,
        phase=s.heard.phase,
        code=s.heard.code,
        status=s.heard.status,
        state=s.move.state,
        wait_reason=s.move.wait_reason,
        seconds=None if ended.seconds is None else round(ended.seconds, 3),
    )
