"""The composition root: reads nothing but settings, builds each role, and runs it until it is told to stop.

Settings go no further down than this file: stages get values (`RetrySchedule`, `ClaimLimits`, ...).
Every role registers an incarnation, announces itself in `<data>/run/<name>.json` when it is ready, and
ends in order on SIGTERM or SIGINT.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from mailer import clock, tasks
from mailer.config import Settings, role_name
from mailer.identity import custody
from mailer.identity.installation import secret_of
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.policy.retry import RetrySchedule
from mailer.policy.routing import RouteTable
from mailer.queue import incarnations
from mailer.queue.incarnations import Registration
from mailer.relay import journal
from mailer.relay.carrier import Carrier
from mailer.relay.claimer import ClaimLimits
from mailer.relay.hosts import MxFinder
from mailer.relay.journal import Journal
from mailer.relay.lease import Lease
from mailer.relay.recovery import Recoverer, Watch
from mailer.relay.signing import KeyRing, Signer
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import Mode as SmtpMode
from mailer.relay.smtp.settings import SmtpSettings, Timeouts
from mailer.relay.sweeper import Sweeper, SweeperParts
from mailer.relay.tlsmemory import StoredTls
from mailer.relay.verdict import Judge
from mailer.relay.worker import Worker, WorkerParts
from mailer.store import Store, schema

_log = structlog.get_logger(__name__)

EXIT_FENCED = 75  # EX_TEMPFAIL: declared dead while alive; a supervisor starts a new incarnation
GRACE_SECONDS = 50.0  # for sessions after the dot; a supervisor waits a little longer than this


def announce(settings: Settings, name: str, **facts: Any) -> None:
    """Says that a role is ready, in one atomic write; a supervisor waits for it."""
    folder = settings.run_dir
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f"{name}.{os.getpid()}.part"
    half.write_bytes(msgspec.json.encode({"pid": os.getpid(), **facts}))
    half.rename(folder / f"{name}.json")


@dataclass(frozen=True, slots=True)
class Office:
    """What every role has: the store, its incarnation, ids, and the journals' folder."""

    store: Store
    registration: Registration
    lease: Lease
    new_id: IdMaker
    journals: Path
    host: str


@contextmanager
def _office(settings: Settings, role: str) -> Iterator[Office]:
    store = Store(settings.database_url, prepare=settings.database_prepare)
    try:
        schema.check(store)
        journals = settings.data_dir / "journal"
        host = journal.host_identity(journals, secrets.token_hex(8))
        registration = incarnations.register(
            store, role=role, host=host, pid=os.getpid(), now=clock.now(), wall_ms=clock.wall_ms()
        )
        lease = Lease(store, registration.id, seconds=settings.lease_seconds, monotonic=clock.monotonic)
        new_id = IdMaker(registration.process_number, clock.wall_ms)
        yield Office(store, registration, lease, new_id, journals, host)
    finally:
        store.close()


class _Stop:
    """SIGTERM or SIGINT sets it; so does a lost lease, with an exit code of its own."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.code = 0
        signal.signal(signal.SIGTERM, self._asked)
        signal.signal(signal.SIGINT, self._asked)

    def _asked(self, *_: object) -> None:
        self.event.set()

    def fenced(self) -> None:
        self.code = EXIT_FENCED
        self.event.set()


def _keep_lease(lease: Lease, stop: _Stop) -> threading.Thread:
    """Beats until the role stops; a role that was declared dead ends."""

    def keep() -> None:
        while not stop.event.wait(min(1.0, lease.seconds / 6)):
            lease.renew()
            if lease.fenced:
                stop.fenced()

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    return thread


def _sign_off(office: Office) -> None:
    incarnations.end(office.store, office.registration.id, now=clock.now())


def _judge(settings: Settings) -> Judge:
    delays = tuple(settings.retry_delays)
    schedules = {
        "transactional": RetrySchedule(delays=delays, give_up_after=settings.give_up_after),
        "broadcast": RetrySchedule(delays=delays, give_up_after=settings.broadcast_give_up_after),
    }
    return Judge(schedules, now=clock.now, draw=clock.draw)


def _recoverer(office: Office, judge: Judge) -> Recoverer:
    return Recoverer(
        store=office.store,
        folder=office.journals,
        host=office.host,
        judge=judge,
        new_id=office.new_id,
        process_number=office.registration.process_number,
        now=clock.now,
    )


def _vault(settings: Settings) -> Vault:
    return Vault(secret_of(settings.secret_file, settings.secret))


# ---- the worker -----------------------------------------------------------------------------------------


def run_worker(settings: Settings, index: int = 1) -> int:
    """Delivers mail until it is told to stop; returns the exit code."""
    name = role_name("worker", index)
    with _office(settings, "worker") as office:
        judge = _judge(settings)
        # What a predecessor on this host left open is settled before anything new is claimed.
        _recoverer(office, judge).recover_orphans()
        worker = Worker(_worker_parts(settings, office, judge))
        worker.start()
        app = tasks.make_app(settings.broker_url)
        stop_at_fence = threading.Thread(target=_end_when_fenced, args=(worker,), daemon=True)
        stop_at_fence.start()
        announce(settings, name)
        worker.wake()
        tasks.run_worker(app, worker.wake, on_ready=worker.wake, on_stop=worker.wake)
        worker.stop(GRACE_SECONDS)
        return EXIT_FENCED if worker.is_fenced else 0


def _worker_parts(settings: Settings, office: Office, judge: Judge) -> WorkerParts:
    vault = _vault(settings)
    ring_of_keys = KeyRing(
        lambda domain_id: custody.signing_keys(office.store, vault, domain_id), clock.monotonic
    )
    signer = Signer(office.store, ring_of_keys, token_secret=vault.derive("verp"), now=clock.now)
    kept = Journal(office.journals, office.registration.id, office.lease.is_fresh)
    routes = RouteTable.parse(settings.delivery_routes)
    tls_memory = StoredTls(office.store, clock.monotonic)
    tls_memory.synchronise(clock.now())

    def site_of(domain: str) -> str | None:
        route = routes.match(domain)
        return route.site if route else None

    return WorkerParts(
        store=office.store,
        registration=office.registration,
        lease=office.lease,
        journal=kept,
        signer=signer,
        make_carrier=partial(_make_carrier, settings, routes, kept, tls_memory),
        synchronise=lambda: tls_memory.synchronise(clock.now()),
        site_of=site_of,
        judge=judge,
        new_id=office.new_id,
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
    finder = MxFinder(Lookup(settings.resolvers), own_names={settings.hostname})
    return SmtpCarrier(smtp, finder, kept, tls_memory=tls_memory, connections_of=connections_of)


def _end_when_fenced(worker: Worker) -> None:
    """A worker that was declared dead leaves the Celery loop by the same door as one that is told to."""
    while not worker.wait_until_fenced(1.0):
        pass
    if worker.is_fenced:
        os.kill(os.getpid(), signal.SIGTERM)


# ---- the sweeper ----------------------------------------------------------------------------------------


def run_sweeper(settings: Settings) -> int:
    """Sweeps and numbers events until it is told to stop; returns the exit code."""
    stop = _Stop()
    with _office(settings, "sweeper") as office, _bell(settings) as ring:
        sweeper = Sweeper(
            SweeperParts(
                store=office.store,
                recoverer=_recoverer(office, _judge(settings)),
                watch=Watch(lease_seconds=settings.lease_seconds, monotonic=clock.monotonic),
                ring=ring,
                now=clock.now,
                monotonic=clock.monotonic,
                sweep_seconds=settings.sweep_seconds,
                idempotency=timedelta(hours=settings.idempotency_hours),
                retention=timedelta(days=settings.retention_days),
            )
        )
        sweeper.start()
        _keep_lease(office.lease, stop)
        announce(settings, "sweeper")
        stop.event.wait()
        sweeper.stop()
        _sign_off(office)
        return stop.code


@contextmanager
def _bell(settings: Settings) -> Iterator[Callable[[], None]]:
    bell = tasks.Bell(tasks.make_app(settings.broker_url))
    try:
        yield bell.ring
    finally:
        bell.close()
