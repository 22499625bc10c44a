"""The sweeper: it wakes what is due, recovers the dead, rings, numbers events, sends notices, tidies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from mailer.ids import IdMaker
from mailer.policy.brakeplan import MOST_HOURS
from mailer.policy.suppression import FORGOTTEN
from mailer.policy.tls_sts import LONGEST_AGE
from mailer.policy.warmplan import WarmupRules
from mailer.queue import (
    actions,
    bodies,
    braking,
    callbacks,
    expire,
    fanout,
    holds,
    incarnations,
    metering,
    overriding,
    resuming,
    retention,
    returned,
    stopping,
    stspolicies,
    suppressionlist,
    suppressions,
    suppressionstorms,
    sweep,
    tlsresults,
    warmup,
)
from mailer.queue.newcomers import Grown
from mailer.queue.reports import dropping
from mailer.queue.streamnews import Change
from mailer.queue.suppressing import Suppressing
from mailer.relay.notices import NoticeMaker
from mailer.relay.recovery import Recoverer, Watch
from mailer.relay.tlsreporting import TlsReporter
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_FAN_OUT_MOST = 1000
_FAN_OUT_PAUSE_SECONDS = (
    0.1  # events wait that long at most; a batch of many costs little more than one of few
)
_NOTICES_PAUSE_SECONDS = 1.0
_REPORTS_PAUSE_SECONDS = 5.0
_TIDY_SECONDS = 60.0
_METERS_KEPT = timedelta(days=2)  # longer than the longest window
_TLS_RESULTS_KEPT = timedelta(days=14)  # a report tells of one day, and may be asked for again
_COUNTS_KEPT = timedelta(hours=MOST_HOURS + 1)
_COMPLAINTS_COME = timedelta(days=180)  # so long after mail was sent (mailer/report/desk.py)
_EXPIRED_KEPT = timedelta(days=30)  # entries that are over, for whoever asks why mail was not sent
_LONGEST_POLICY = timedelta(seconds=LONGEST_AGE)
_CHECKPOINT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SweeperParts:
    """ring: tells the workers that there is work.

    notices      makes the DSNs that are due
    suppressing  what it takes to stop mail for those who came on a list
    grow         judges new tenants' days; returns the caps that changed
    brake        judges the streams, and warns of them or holds them; returns what changed
    also         writes what follows the events that were just numbered; None: nothing does
    idempotency  how long keys are remembered
    retention    how long finished messages and their events are kept
    returned_kept  how long mail that came back is kept as it came
    reports_retention  how long reports of others are kept
    tls_reporter   sends reports to owners of recipient domains; None: none are sent
    stall_seconds  after which an idle transaction's process is taken for stopped: less than a lease
    """

    store: Store
    recoverer: Recoverer
    notices: NoticeMaker
    suppressing: Suppressing
    watch: Watch
    new_id: IdMaker
    process_number: int
    ring: Callable[[], None]
    warmup_rules: WarmupRules
    brake: Callable[[], Sequence[Change]]
    grow: Callable[[], Sequence[Grown]]
    also: fanout.Also | None = None
    tls_reporter: TlsReporter | None = None
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sweep_seconds: float
    idempotency: timedelta
    retention: timedelta
    returned_kept: timedelta
    reports_retention: timedelta
    stall_seconds: float


class Sweeper:
    """Threads: the sweep, once an interval; the fan-out, as events come; notices; and reports on TLS."""

    def __init__(self, parts: SweeperParts) -> None:
        self._p = parts
        self._stopping = threading.Event()
        self._tidy_at = 0.0
        self._threads = [
            threading.Thread(target=self._run_sweep, name="sweep", daemon=True),
            threading.Thread(target=self._run_fan_out, name="fan-out", daemon=True),
            threading.Thread(target=self._run_notices, name="notices", daemon=True),
        ]
        if parts.tls_reporter is not None:
            run = partial(self._run_reports, parts.tls_reporter)
            self._threads.append(threading.Thread(target=run, name="tls-reports", daemon=True))

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
        self._suppress()
        if lapsed := holds.lapse(p.store, new_id=p.new_id, now=p.now()):
            _log.info("sweep.holds_lapsed", holds=lapsed)
            p.ring()
        p.recoverer.recover_orphans()
        p.recoverer.recover_dead(p.watch.dead(incarnations.beats(p.store)))
        if released := callbacks.release_abandoned(p.store):
            _log.warning("sweep.callbacks_released", callbacks=released)
        if sweep.any_queued(p.store):
            p.ring()
        p.store.checkpoint(from_bytes=_CHECKPOINT_BYTES)
        if p.monotonic() >= self._tidy_at:
            self._tidy_at = p.monotonic() + _TIDY_SECONDS
            self._tidy()

    def _expire(self) -> int:
        p = self._p
        return expire.expire_overdue(p.store, new_id=p.new_id, process_number=p.process_number, now=p.now())

    def _suppress(self) -> None:
        """What waits for those who came on a list ends; what was stopped by mistake goes on."""
        p = self._p
        while stopping.stop_waiting(p.store, p.suppressing, new_id=p.new_id, now=p.now()):
            pass
        while resuming.send_again(p.store, new_id=p.new_id, process_number=p.process_number, now=p.now()):
            p.ring()
        if taken := suppressionstorms.take_back_late(p.store, now=p.now()):
            _log.warning("suppression.taken_back", entries=taken)
        for storm in suppressionstorms.untold(p.store):
            _log.error(
                "suppression.storm", site=storm.site, since=storm.since, answered=storm.answered,
                unknown=storm.invalid, usual_ppm=storm.baseline_ppm,
            )  # fmt: skip

    def _brake(self) -> None:
        for changed in self._p.brake():
            _log.warning(
                "brake.changed", tenant_id=changed.key[0], stream=changed.stream, change=changed.type,
                reason=changed.reason, until=changed.until,
            )  # fmt: skip
            self._p.ring()

        for grown in self._p.grow():
            _log.info("newcomer.cap_changed", tenant_id=grown.tenant_id, before=grown.before, cap=grown.cap)

    def _tidy(self) -> None:
        p = self._p
        self._brake()
        for (egress_id, provider), level in warmup.sweep(p.store, rules=p.warmup_rules, now=p.now()):
            _log.info(
                "warmup.changed", egress_id=egress_id, provider=provider, cap=level.cap,
                verdict=level.verdict, reason=level.reason,
            )  # fmt: skip
        sweep.close_strays(p.store, now=p.now())
        old = p.now() - p.retention
        for some in (
            partial(sweep.forget_keys, before=p.now() - p.idempotency),
            partial(metering.forget, before=p.now() - _METERS_KEPT),
            partial(callbacks.drop_callbacks, before=old),
            callbacks.drop_orphaned,
            partial(retention.drop_messages, before=old),
            partial(retention.drop_events, before=old),
            partial(stspolicies.drop, before=p.now() - _LONGEST_POLICY),
            partial(tlsresults.drop, before=p.now() - _TLS_RESULTS_KEPT),
            partial(dropping.drop, before=p.now() - p.reports_retention),
            partial(dropping.forget_sent, before=p.now() - _TLS_RESULTS_KEPT),
            partial(actions.drop, before=old),
            partial(overriding.forget, before=old),
            partial(braking.forget, before=p.now() - _COUNTS_KEPT),
            partial(returned.forget, before=p.now() - p.returned_kept),
            partial(returned.forget_past, now=p.now(), after=_COMPLAINTS_COME),
            partial(suppressions.forget, before=p.now() - FORGOTTEN),
            partial(suppressionlist.drop_expired, before=p.now() - _EXPIRED_KEPT),
            partial(suppressionstorms.forget, now=p.now()),
        ):
            while some(p.store):
                pass
        bodies.remove_unnamed(p.store, now=p.now())

    def _run_fan_out(self) -> None:
        while not self._stopping.is_set():
            try:
                numbered = fanout.fan_out(self._p.store, most=_FAN_OUT_MOST, also=self._p.also)
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

    def _run_reports(self, reporter: TlsReporter) -> None:
        while not self._stopping.wait(_REPORTS_PAUSE_SECONDS):
            try:
                if reporter.send():
                    self._p.ring()
            except StoreUnavailable as error:
                _log.warning("tls_reports.store_unavailable", error=str(error))
            except Exception:  # noqa: BLE001 - the top of the loop
                _log.exception("tls_reports.failed")
