"""The worker role: Celery's worker hears the bell in the main thread, our worker does the rest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial

from mailer import clock, tasks
from mailer.bell import make_app
from mailer.bootstrap.office import (
    EXIT_FENCED,
    Office,
    announce,
    judge_of,
    office,
    recoverer_of,
    step_back,
)
from mailer.config import Settings, role_name
from mailer.identity import custody
from mailer.identity.installation import secret_of
from mailer.identity.vault import Vault
from mailer.outward import addresses
from mailer.policy.routing import RouteTable
from mailer.relay.carrier import Carrier
from mailer.relay.claimer import ClaimLimits
from mailer.relay.hosts import MxFinder
from mailer.relay.journal import Journal
from mailer.relay.signing import KeyRing, Signer
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import Mode as SmtpMode
from mailer.relay.smtp.settings import SmtpSettings, Timeouts
from mailer.relay.tlsmemory import StoredTls
from mailer.relay.verdict import Judge
from mailer.relay.worker import Worker, WorkerParts

GRACE_SECONDS = 50.0  # for sessions after the dot; a supervisor waits a little longer than this


def run(settings: Settings, index: int) -> int:
    """Delivers mail until it is told to stop; returns the exit code."""
    name = role_name("worker", index)
    with office(settings, "worker") as own:
        judge = judge_of(settings)
        # What a predecessor on this host left open is settled before anything new is claimed.
        recoverer_of(own, judge).recover_orphans()
        worker = Worker(_parts(settings, own, judge))
        worker.start()
        app = make_app(settings.broker_url)
        stop_at_fence = threading.Thread(target=_end_when_fenced, args=(worker,), daemon=True)
        stop_at_fence.start()
        announce(settings, name)
        worker.wake()
        tasks.run_worker(app, worker.wake, on_ready=worker.wake)
        worker.stop(GRACE_SECONDS)
        return EXIT_FENCED if worker.is_fenced else 0


def _parts(settings: Settings, own: Office, judge: Judge) -> WorkerParts:
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    ring_of_keys = KeyRing(
        lambda domain_id: custody.signing_keys(own.store, vault, domain_id), clock.monotonic
    )
    signer = Signer(own.store, ring_of_keys, token_secret=vault.derive("verp"), now=clock.now)
    kept = Journal(own.journals, own.registration.id, own.lease.is_fresh)
    routes = settings.route_table
    tls_memory = StoredTls(own.store, clock.monotonic)
    tls_memory.synchronise(clock.now())

    return WorkerParts(
        store=own.store,
        registration=own.registration,
        lease=own.lease,
        journal=kept,
        signer=signer,
        make_carrier=partial(_make_carrier, settings, routes, kept, tls_memory),
        step_back=step_back,
        synchronise=lambda: tls_memory.synchronise(clock.now()),
        judge=judge,
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
        limits=ClaimLimits(
            bytes=settings.byte_budget_mb * 1024 * 1024, connections_per_site=settings.connections_per_site
        ),
        signer_threads=settings.signer_threads,
        sweep_seconds=settings.sweep_seconds,
        idle_permit_seconds=settings.session_idle_seconds + 5.0,
    )


def _make_carrier(
    settings: Settings,
    routes: RouteTable,
    kept: Journal,
    tls_memory: StoredTls,
    connections_of: Callable[[str], int],
) -> Carrier:
    """Called on the event loop that will use it."""
    timeouts = Timeouts(
        connect=settings.smtp_timeout_connect,
        greeting=settings.smtp_timeout_greeting,
        ehlo=settings.smtp_timeout_command,
        starttls=settings.smtp_timeout_command,
        auth=settings.smtp_timeout_command,
        mail=settings.smtp_timeout_command,
        rcpt=settings.smtp_timeout_command,
        data=settings.smtp_timeout_data_start,
        content=settings.smtp_timeout_data_block,
        end_of_data=settings.smtp_timeout_data_done,
    )
    smtp = SmtpSettings(
        helo_name=settings.hostname,
        mode=SmtpMode.LIVE if settings.is_live else SmtpMode.SANDBOX,
        routes=routes,
        timeouts=timeouts,
        connections_per_site=settings.connections_per_site,
        messages_per_session=settings.messages_per_session,
        idle_seconds=settings.session_idle_seconds,
    )
    finder = MxFinder(
        Lookup(settings.resolvers),
        own_names={settings.hostname},
        own_addresses=addresses.of_this_machine(),
    )
    return SmtpCarrier(smtp, finder, kept, tls_memory=tls_memory, connections_of=connections_of)


def _end_when_fenced(worker: Worker) -> None:
    """A worker that was declared dead leaves the Celery loop by the same door as one that is told to."""
    while not worker.wait_until_fenced(1.0):
        pass
    if worker.is_fenced:
        os.kill(os.getpid(), signal.SIGTERM)
