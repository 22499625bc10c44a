"""The sweeper role; and the operator, whose notices it sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import structlog

from mailer import clock
from mailer.bootstrap.office import (
    Office,
    Stop,
    announce,
    bell,
    judge_of,
    keep_lease,
    office,
    recoverer_of,
    suppression_keys,
)
from mailer.bootstrap.reports import tls_reporter
from mailer.bootstrap.site_rules import rules_keeper
from mailer.config import Settings
from mailer.config.load import brake_rules, site_by_route, warmup_rules
from mailer.identity import operator
from mailer.identity.installation import secret_of
from mailer.identity.names import NameTaken
from mailer.identity.vault import Vault
from mailer.queue import brake, newcomers
from mailer.queue.newcomers import Grown
from mailer.queue.pieces import Means
from mailer.queue.streamnews import Change
from mailer.queue.suppressing import Suppressing
from mailer.relay.notices import NoticeMaker
from mailer.relay.recovery import Watch
from mailer.relay.sweeper import Sweeper, SweeperParts
from webhooks.fanout import FanOut

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Sweeps and numbers events until it is told to stop; returns the exit code."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "sweeper") as own, bell(settings) as ring:
        keeper = rules_keeper(settings, own.store)
        sweeper = Sweeper(
            SweeperParts(
                store=own.store,
                recoverer=recoverer_of(own, judge_of(settings, keeper.rules, store=own.store)),
                notices=_notices(settings, own),
                suppressing=Suppressing(suppression_keys(settings), own.registration.process_number),
                watch=Watch(lease_seconds=settings.lease_seconds, monotonic=clock.monotonic),
                new_id=own.new_id,
                process_number=own.registration.process_number,
                ring=ring,
                warmup_rules=warmup_rules(),
                brake=_brake(settings, own),
                grow=_grow(settings, own),
                also=FanOut(own.new_id, clock.now),
                tls_reporter=tls_reporter(settings, own),
                now=clock.now,
                monotonic=clock.monotonic,
                sweep_seconds=settings.sweep_seconds,
                idempotency=timedelta(hours=settings.idempotency_hours),
                retention=timedelta(days=settings.retention_days),
                returned_kept=timedelta(days=settings.returns_days),
                reports_retention=timedelta(days=settings.reports_retention_days),
                stall_seconds=settings.lease_seconds / 2,
            )
        )
        sweeper.start()
        keep_lease(own.lease, stop, keeper.look)
        announce(settings, "sweeper")
        stop.event.wait()
        sweeper.stop()
        own.sign_off()
        return stop.code


def _brake(settings: Settings, own: Office) -> Callable[[], Sequence[Change]]:
    """Switched off, it lets go what it held."""
    rules = brake_rules(settings.brake_file)
    means = Means(own.store, own.new_id, own.registration.process_number, clock.now, site_by_route(settings))
    return partial(brake.judge, means, rules if settings.brake else rules.off())


def _grow(settings: Settings, own: Office) -> Callable[[], Sequence[Grown]]:
    rules = brake_rules(settings.brake_file)
    return lambda: newcomers.grow(own.store, rules, now=clock.now())


def _notices(settings: Settings, own: Office) -> NoticeMaker:
    _provide_operator(settings, own)
    return NoticeMaker(
        store=own.store,
        find_operator=partial(operator.find, own.store, settings.operator_domain),
        reporting_mta=settings.hostname,
        give_up_after=settings.give_up_after_by_kind,
        new_id=own.new_id,
        process_number=own.registration.process_number,
        now=clock.now,
    )


def _provide_operator(settings: Settings, own: Office) -> None:
    """Notices can be sent; where not, each is dropped for that reason, and the log says why at the start."""
    for warning in settings.warnings:
        _log.warning("settings.doubtful", warning=warning)
    if settings.operator_domain is None:
        return
    try:
        operator.ensure(
            own.store,
            Vault(secret_of(settings.secret_file, settings.secret)),
            settings.operator_domain,
            return_path_prefix=settings.return_path_prefix,
            new_id=own.new_id,
            now=clock.now(),
        )
    except NameTaken as error:
        _log.error("notices.no_operator", reason=str(error))
