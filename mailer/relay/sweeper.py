"""The sweeper: it wakes what is due, recovers the dead, rings, numbers events, sends notices, tidies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from mailer.ids import IdMaker
from mailer.queue import bodies, expire, fanout, incarnations, retention, sweep
from mailer.relay.notices import NoticeMaker
from mailer.relay.recovery import Recoverer, Watch
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_FAN_OUT_MOST = 1000
_FAN_OUT_PAUSE_SECONDS = (
    0.1  # events wait that long at most; a batch of many costs little more than one of few
)
_NOTICES_PAUSE_SECONDS = 1.0
_TIDY_SECONDS = 60.0
_CHECKPOINT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SweeperParts:
    """ring: tells the workers that there is work.

    notices      makes the DSNs that are due
    idempotency  how long keys are remembered
    retention    how long finished messages and their events are kept
    stall_seconds  after which an idle transaction's process is taken for stopped: less than a lease
    """

    store: Store
    recoverer: Recoverer
    notices: NoticeMaker
    watch: Watch
    new_id: IdMaker
    process_number: int
    ring: Callable[[], None]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sweep_seconds: float
    idempotency: timedelta
    retention: timedelta
    stall_seconds: float


class Sweeper:
    """Three threads: the sweep, once an interval; the fan-out, as events come; and notices."""

    def __init__(self, parts: SweeperParts) -> None:
        self._p = parts
        self._stopping = threading.Event()
        self._tidy_at = 0.0
        self._threads = [
            threading.Thread(target=self._run_sweep, name="sweep", daemon=True),
            threading.Thread(target=self._run_fan_out, name="fan-out", daemon=True),
            threading.Thread(target=self._run_notices, name="notices", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait(self, seconds: float) -> bool:
        return self._stopping.wait(seconds)

    def _run_sweep(self) -> None:
        while not self._stopping.is_set():
            try:
                self._sweep()
            except StoreUnavailable as error:
                _log.warning("sweep.store_unavailable", error=str(error))
            except Exception:  # noqa: BLE001 - the top of the loop: one bad row must not end all sweeping
                _log.exception("sweep.failed")
            self._stopping.wait(self._p.sweep_seconds)

    def _sweep(self) -> None:
        p = self._p
        if stalled := sweep.end_stalled(p.store, seconds=p.stall_seconds):
            _log.warning("sweep.stalled_transactions_ended", transactions=stalled)
        while sweep.wake_due(p.store, now=p.now()) == sweep.WAKE_AT_ONCE:
            p.ring()
        while self._expire() == expire.EXPIRE_AT_ONCE:
            pass
        p.recoverer.recover_orphans()
        p.recoverer.recover_dead(p.watch.dead(incarnations.beats(p.store)))
        if sweep.any_queued(p.store):
            p.ring()
        p.store.checkpoint(from_bytes=_CHECKPOINT_BYTES)
        if p.monotonic() >= self._tidy_at:
            self._tidy_at = p.monotonic() + _TIDY_SECONDS
            self._tidy()

    def _expire(self) -> int:
        p = self._p
        return expire.expire_overdue(p.store, new_id=p.new_id, process_number=p.process_number, now=p.now())

    def _tidy(self) -> None:
        p = self._p
        sweep.close_strays(p.store, now=p.now())
        while sweep.forget_keys(p.store, before=p.now() - p.idempotency):
            pass
        old = p.now() - p.retention
        while retention.drop_messages(p.store, before=old):
            pass
        while retention.drop_events(p.store, before=old):
            pass
        bodies.remove_unnamed(p.store, now=p.now())

    def _run_fan_out(self) -> None:
        while not self._stopping.is_set():
            try:
                numbered = fanout.fan_out(self._p.store, most=_FAN_OUT_MOST)
            except StoreUnavailable as error:
                _log.warning("fan_out.store_unavailable", error=str(error))
                numbered = 0
            except Exception:  # noqa: BLE001 - the top of the loop
                _log.exception("fan_out.failed")
                numbered = 0
            if numbered < _FAN_OUT_MOST:
                self._stopping.wait(_FAN_OUT_PAUSE_SECONDS)

    def _run_notices(self) -> None:
        while not self._stopping.wait(_NOTICES_PAUSE_SECONDS):
            try:
                if self._p.notices.make():
                    self._p.ring()
            except StoreUnavailable as error:
                _log.warning("notices.store_unavailable", error=str(error))
            except Exception:  # noqa: BLE001 - the top of the loop
                _log.exception("notices.failed")
