"""The worker role: Celery's worker hears the bell in the main thread, our worker does the rest."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mailer import clock, signbatch, tasks
from mailer.bell import make_app
from mailer.bootstrap import processor
from mailer.bootstrap.egress import departures_of
from mailer.bootstrap.links import links_of
from mailer.bootstrap.office import (
    EXIT_FENCED,
    Office,
    announce,
    judge_of,
    office,
    recoverer_of,
    step_back,
    suppression_keys,
)
from mailer.bootstrap.site_rules import RulesKeeper, rules_keeper
from mailer.bootstrap.tls import TlsKnowledge, tls_policies
from mailer.config import Settings, role_name
from mailer.identity import custody
from mailer.identity.installation import secret_of
from mailer.identity.return_paths import TokenKeeper
from mailer.identity.vault import Vault
from mailer.outward import addresses
from mailer.policy.sites import SiteRules
from mailer.relay.carrier import Carrier
from mailer.relay.claimer import ClaimLimits
from mailer.relay.connects import ConnectDesk
from mailer.relay.greylistbook import GreylistBook
from mailer.relay.hosts import MxFinder
from mailer.relay.journal import Journal
from mailer.relay.pacebook import PaceBook
from mailer.relay.signing import KeyRing, Signer
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.lookup import Lookup, Trust
from mailer.relay.smtp.settings import Mode as SmtpMode
from mailer.relay.smtp.settings import SmtpSettings, Timeouts
from mailer.relay.smtp.tls_policies import TlsParts
from mailer.relay.verdict import Judge
from mailer.relay.worker import Worker, WorkerParts

# What a thread of Python that is busy goes on for while another waits to run. A thread that claims or settles
# gives way in every statement, and whoever else wants to write, the door among them, waits until it is back.
_TURN_SECONDS = 0.0005
GRACE_SECONDS = 50.0  # for sessions after the dot; a supervisor waits a little longer than this


def run(settings: Settings, index: int) -> int:
    """Delivers mail until it is told to stop; returns the exit code."""
    name = role_name("worker", index)
    if settings.one_processor:
        processor.stay_on_one(index, settings.data_dir)
    sys.setswitchinterval(_TURN_SECONDS)
    with office(settings, "worker") as own:
        keeper = rules_keeper(settings, own.store)
        greylists = GreylistBook(own.store, monotonic=clock.monotonic, now=clock.now, rules=keeper.rules)
        judge = judge_of(settings, keeper.rules, greylists.habit, store=own.store)
        # What a predecessor on this host left open is settled before anything new is claimed.
        recoverer_of(own, judge).recover_orphans()
        known = TlsKnowledge(own.store)
        worker = Worker(_parts(settings, own, judge, known=known, keeper=keeper, greylists=greylists))
        worker.start()
        app = make_app(settings.broker_url)
        stop_at_fence = threading.Thread(target=_end_when_fenced, args=(worker,), daemon=True)
        stop_at_fence.start()
        announce(settings, name)
        worker.wake()
        tasks.run_worker(app, worker.wake, on_ready=worker.wake)
        worker.stop(GRACE_SECONDS)
        known.flush()
        return EXIT_FENCED if worker.is_fenced else 0


def _pace_book(settings: Settings, own: Office, limits: ClaimLimits) -> PaceBook:
    return PaceBook(
        own.store,
        limits.rules,
        most_of=limits.connections,
        unpaced=settings.own_sites,
        monotonic=clock.monotonic,
        now=clock.now,
    )


def _parts(
    settings: Settings,
    own: Office,
    judge: Judge,
    *,
    known: TlsKnowledge,
    keeper: RulesKeeper,
    greylists: GreylistBook,
) -> WorkerParts:
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    ring_of_keys = KeyRing(
        lambda domain_id: custody.signing_keys(own.store, vault, domain_id), clock.monotonic
    )
    tokens = TokenKeeper(own.store, vault, monotonic=clock.monotonic)
    links = links_of(settings, vault)
    signer = Signer(own.store, ring_of_keys, token_keys=tokens.keys, now=clock.now, links=links)
    kept = Journal(own.journals, own.registration.id, own.lease.is_fresh)
    rules = keeper.rules
    smtp = _smtp_settings(settings, rules)
    limits = _claim_limits(settings, rules)
    pace_book = _pace_book(settings, own, limits)
    connects = ConnectDesk(own.store, rules, now=clock.now, monotonic=clock.monotonic)
    departures = departures_of(settings, own, judge, pace_book, rules)
    smtp = replace(smtp, ipv6_allowed=departures.presence.is_ipv6_trusted)
    carrier = partial(_make_carrier, settings, smtp, kept, known=known, connects=connects)

    def synchronise() -> None:
        keeper.look()
        tokens.look()
        known.synchronise(clock.now())
        departures.synchronise()
        pace_book.synchronise(clock.now())
        greylists.synchronise(clock.now())

    synchronise()
    return WorkerParts(
        store=own.store,
        registration=own.registration,
        lease=own.lease,
        journal=kept,
        signer=signer,
        dispatcher=departures.dispatcher,
        make_carrier=partial(carrier, egress_addresses=departures.book.addresses()),
        step_back=step_back,
        go_free=_go_free(settings),
        synchronise=synchronise,
        judge=judge,
        keys=suppression_keys(settings),
        pace_book=pace_book,
        greylists=greylists,
        connects=connects,
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
        limits=limits,
        signer_threads=settings.signer_threads,
        sweep_seconds=settings.sweep_seconds,
        idle_permit_seconds=settings.session_idle_seconds + 5.0,
    )


def _go_free(settings: Settings) -> Callable[[], None]:
    """What threads that sign do first: by the eight they stay where the worker is (processor.py)."""
    by_the_eight = signbatch.library() is not None
    return processor.run_anywhere if settings.one_processor and not by_the_eight else lambda: None


def _claim_limits(settings: Settings, rules: SiteRules) -> ClaimLimits:
    return ClaimLimits(
        bytes=settings.byte_budget_mb * 1024 * 1024,
        connections_per_site=settings.connections_per_site,
        rules=rules,
    )


def _smtp_settings(settings: Settings, rules: SiteRules) -> SmtpSettings:
    """Raises ConfigError."""
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
    return SmtpSettings(
        helo_name=settings.hostname,
        mode=SmtpMode.LIVE if settings.is_live else SmtpMode.SANDBOX,
        routes=settings.route_table,
        rules=rules,
        timeouts=timeouts,
        connections_per_site=settings.connections_per_site,
        messages_per_session=settings.messages_per_session,
        idle_seconds=settings.session_idle_seconds,
    )


def _make_carrier(
    settings: Settings,
    smtp: SmtpSettings,
    kept: Journal,
    connections_of: Callable[[str], int],
    *,
    known: TlsKnowledge,
    connects: ConnectDesk,
    egress_addresses: frozenset[str],
) -> Carrier:
    """Called on the event loop that will use it."""
    lookup = Lookup(settings.resolvers, trust=Trust(settings.trusted_resolvers))
    finder = MxFinder(
        lookup,
        own_names={settings.hostname},
        own_addresses=addresses.of_this_machine() | egress_addresses,
        rules=smtp.rules,
    )
    return SmtpCarrier(
        smtp,
        finder,
        kept,
        tls=TlsParts(
            memory=known.memory,
            policies=tls_policies(smtp, lookup, known) if settings.is_live else None,
            results=known.results,
        ),
        connections_of=connections_of,
        connects=connects,
    )


def _end_when_fenced(worker: Worker) -> None:
    """A worker that was declared dead leaves the Celery loop by the same door as one that is told to."""
    while not worker.wait_until_fenced(1.0):
        pass
    if worker.is_fenced:
        os.kill(os.getpid(), signal.SIGTERM)
