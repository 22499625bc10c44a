"""The sweeper role."""

from __future__ import annotations

from datetime import timedelta

from mailer import clock
from mailer.bootstrap.office import Stop, announce, bell, judge_of, keep_lease, office, recoverer_of
from mailer.config import Settings
from mailer.relay.recovery import Watch
from mailer.relay.sweeper import Sweeper, SweeperParts
from webhooks.fanout import FanOut


def run(settings: Settings) -> int:
    """Sweeps and numbers events until it is told to stop; returns the exit code."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "sweeper") as own, bell(settings) as ring:
        sweeper = Sweeper(
            SweeperParts(
                store=own.store,
                recoverer=recoverer_of(own, judge_of(settings)),
                watch=Watch(lease_seconds=settings.lease_seconds, monotonic=clock.monotonic),
                new_id=own.new_id,
                process_number=own.registration.process_number,
                ring=ring,
                also=FanOut(own.new_id, clock.now),
                now=clock.now,
                monotonic=clock.monotonic,
                sweep_seconds=settings.sweep_seconds,
                idempotency=timedelta(hours=settings.idempotency_hours),
                retention=timedelta(days=settings.retention_days),
                stall_seconds=settings.lease_seconds / 2,
            )
        )
        sweeper.start()
        keep_lease(own.lease, stop)
        announce(settings, "sweeper")
        stop.event.wait()
        sweeper.stop()
        own.sign_off()
        return stop.code
