"""After a worker's death: what its journal knows settles its attempts, and nobody stays stuck.

On the same host a kernel lock shows at once that the owner died. Elsewhere, or when the owner is only
stopped, the heartbeat counter that stood still for a lease does; then the journal is read if it lies
here, and without it every open attempt is in doubt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from mailer.events import WaitReason
from mailer.ids import IdMaker
from mailer.policy.outcome import Accepted, Broken, NotTried, Outcome, Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import incarnations, settle, sweep
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.relay import journal
from mailer.relay.carrier import Report
from mailer.relay.journal import DotRecord
from mailer.store import Store

_log = structlog.get_logger(__name__)

_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Recoverer:
    """Settles for the dead. judge: the same policy that settles for the living."""

    store: Store
    folder: Path
    host: str
    judge: Callable[[Claimed, Report], Settlement]
    new_id: IdMaker
    process_number: int
    now: Callable[[], datetime]

    def recover_orphans(self) -> int:
        """Recovers workers of this host whose process is gone; returns how many recipients moved."""
        moved = 0
        for dead, lock_fd in journal.orphans(self.folder):
            try:
                moved += self.recover(dead)
                journal.discard(self.folder, dead)
            finally:
                os.close(lock_fd)
        return moved

    def recover(self, dead: int) -> int:
        """Fences an incarnation and settles what it left open. Repeating it moves nothing twice."""
        fenced_now = incarnations.fence(self.store, dead, now=self.now())
        records = journal.read_journal(self.folder, dead)
        moved = 0
        while claimed := sweep.open_attempts(self.store, dead, most=_BATCH):
            settlements = [self.judge(c, _report(c.attempt_id, records)) for c in claimed]
            moved += self._write(dead, settlements)
        if fenced_now or moved:
            _log.warning("worker.recovered", incarnation_id=dead, moved=moved, journal=records is not None)
        return moved

    def recover_dead(self, dead: Sequence[int]) -> int:
        """Recovers incarnations whose heartbeat stood still, and those whose recovery was cut short.

        A worker is left to a live sweeper of its own host, which can read its journal: without the
        journal everything it held open would be in doubt.
        """
        where = incarnations.whereabouts(self.store, dead) + sweep.abandoned(self.store)
        guarded = incarnations.guarded_hosts(self.store, besides=set(dead)) - {self.host}
        return sum(self.recover(w.id) for w in where if w.role != "worker" or w.host not in guarded)

    def _write(self, dead: int, settlements: Sequence[Settlement]) -> int:
        with self.store.write() as connection:
            return settle.apply(
                connection,
                dead,
                settlements,
                new_id=self.new_id,
                process_number=self.process_number,
                now=self.now(),
            )


def _report(attempt_id: int, records: Mapping[int, DotRecord] | None) -> Report:
    record = (records or {}).get(attempt_id)
    return Report(_outcome(attempt_id, records), passed_on=record is not None and record.passed_on)


def _outcome(attempt_id: int, records: Mapping[int, DotRecord] | None) -> Outcome:
    """What a dead worker's attempt came to, as far as its journal tells."""
    if records is None:
        return Broken(Phase.END_OF_DATA, "the worker died and its journal is gone")
    record = records.get(attempt_id)
    if record is None:
        return NotTried(WaitReason.WORKER_LOST)
    if record.code is None:
        return Broken(Phase.END_OF_DATA, "the worker died before the reply to the final dot was heard")
    reply = Reply(record.code, (record.text,))
    return Accepted(reply) if reply.is_positive else Refused(reply, Phase.END_OF_DATA)


class Watch:
    """Finds incarnations whose heartbeat stood still for a lease of our own monotonic clock.

    No clock of another process is compared, so that a clock step anywhere declares nobody dead. A
    watch that was itself stopped sees moved counters when it wakes, and starts counting anew.
    """

    def __init__(self, *, lease_seconds: float, monotonic: Callable[[], float]) -> None:
        self._lease = lease_seconds
        self._monotonic = monotonic
        self._seen: dict[int, tuple[int, float]] = {}
        self._looked_at = monotonic()

    def dead(self, beats: Mapping[int, int]) -> list[int]:
        """Those to fence now, from the counters just read."""
        now = self._monotonic()
        if now - self._looked_at > self._lease / 2:
            # We were stopped ourselves, or the database was away, and so perhaps were the others:
            # what stood still in the meantime proves nothing.
            self._seen.clear()
        self._looked_at = now
        for incarnation_id, count in beats.items():
            if self._seen.get(incarnation_id, (None, 0.0))[0] != count:
                self._seen[incarnation_id] = (count, now)
        for gone in self._seen.keys() - beats.keys():
            del self._seen[gone]
        return [i for i, (_, since) in self._seen.items() if now - since >= self._lease]
