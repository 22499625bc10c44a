"""The HTTP role: uvicorn with the doors' application, the SMTP door, and the committer behind both."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog
import uvicorn
from fastapi import FastAPI

import mailer
from mailer import clock
from mailer.accept.budget import ByteBudget
from mailer.accept.changes import Changes
from mailer.accept.committer import Committer
from mailer.accept.credentials import Authenticator
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.http.body import BodyLimits
from mailer.accept.http.exchange import ShortWay
from mailer.accept.http.reportdoor import ReportTakers
from mailer.accept.intake import Intake, IntakeLimits
from mailer.accept.leaving import Leaving
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.smtp.desk import SubmissionDesk
from mailer.accept.smtp.login import KeyLogin
from mailer.accept.smtp.room import Room
from mailer.accept.smtp.sessions import KeySessions
from mailer.accept.smtp.tls import OwnCertificate, made_certificate
from mailer.accept.suppressions import Lists
from mailer.bootstrap import processor
from mailer.bootstrap.caller import endpoints_of
from mailer.bootstrap.knowledge import knowledge_of
from mailer.bootstrap.links import links_of
from mailer.bootstrap.office import Office, Stop, announce, bell, keep_lease, office, suppression_keys
from mailer.bootstrap.sandbox import inbox_api, inbox_page
from mailer.bootstrap.site_rules import rules_keeper
from mailer.bootstrap.unsubscribe_page import unsubscribe_page
from mailer.config import Settings
from mailer.config.load import site_by_route, warmup_rules
from mailer.identity.installation import secret_of
from mailer.identity.vault import Vault
from mailer.listener import Limits, Listener, Rules
from mailer.queue.pieces import Means
from mailer.report.posted import PostedReports

_log = structlog.get_logger(__name__)

_MIB = 1024 * 1024
_BACKLOG = 2048
_DRAIN_SECONDS = 30  # for requests under way when the door closes


def run(settings: Settings) -> int:
    """Serves until it is told to stop; returns the exit code. Raises OSError: the address is in use."""
    if settings.one_processor:
        processor.stay_on_one(0, settings.data_dir)
        processor.work_in_pieces()
    stop = Stop()
    stop.on_signals()
    with office(settings, "http") as own, bell(settings) as ring, _listen(settings) as listener:
        rates = _rates(settings)
        committer = Committer(
            own.store,
            new_id=own.new_id,
            process_number=own.registration.process_number,
            now=clock.now,
            ring=ring,
            rates=rates,
            keys=suppression_keys(settings),
        )
        committer.start()
        keeper = rules_keeper(settings, own.store)
        keep_lease(own.lease, stop, keeper.look)
        port = listener.getsockname()[1]
        changes = Changes(
            own.store,
            new_id=own.new_id,
            process_number=own.registration.process_number,
            now=clock.now,
            ring=ring,
        )
        parts = _parts(settings, own, committer, changes, rates=rates, stop=stop, ring=ring)
        parts = replace(parts, knowledge=knowledge_of(settings, keeper.rules), keeper=keeper)
        door = _SmtpDoor(settings, _rules(settings, own, parts, rates))
        server = _Server(
            _config(create_app(parts)),
            stop,
            door,
            lambda: announce(settings, "http", port=port, smtp_port=door.port, smtps_port=door.tls_port),
        )
        server.run(sockets=[listener])
        stop.event.set()
        committer.stop()
        own.sign_off()
        return stop.code


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    return socket.create_server((settings.http_host, settings.http_port), family=family, backlog=_BACKLOG)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=ShortWay,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # the application logs each request itself, with its id and without addresses
        server_header=False,
        proxy_headers=False,  # the client's address is not used
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _rates(settings: Settings) -> KeyRates:
    limits = RateLimits(
        messages_per_second=settings.key_messages_per_second,
        messages_per_minute=settings.key_messages_per_minute,
        recipients_per_second=settings.key_recipients_per_second,
        recipients_per_minute=settings.key_recipients_per_minute,
    )
    return KeyRates(limits, clock.monotonic)


def _parts(
    settings: Settings,
    own: Office,
    committer: Committer,
    changes: Changes,
    *,
    rates: KeyRates,
    stop: Stop,
    ring: Callable[[], None],
) -> HttpParts:
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    links = links_of(settings, vault)
    leaving = Leaving(own.store, links)
    intake = Intake(
        committer,
        data_folder=settings.data_dir,
        body_folder=own.store.body_folder,
        limits=IntakeLimits(
            message_bytes=settings.max_message_mb * _MIB,
            recipients=settings.max_recipients,
            free_bytes=settings.free_space_floor_mb * _MIB,
            rates=rates,
            leaving=leaving,
        ),
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
    )
    return HttpParts(
        store=own.store,
        intake=intake,
        changes=changes,
        acting=Means(
            own.store,
            own.new_id,
            own.registration.process_number,
            clock.now,
            site_by_route(settings),
        ),
        ring=ring,
        endpoints=endpoints_of(settings, own),
        suppressions=Lists(own.store, suppression_keys(settings), new_id=own.new_id, now=clock.now),
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
        version=mailer.__version__,
        body_limits=BodyLimits(request_bytes=settings.max_request_mb * _MIB),
        budget=ByteBudget(settings.byte_budget_mb * _MIB),
        most_recipients=settings.max_recipients,
        message_bytes=settings.max_message_mb * _MIB,
        host=settings.hostname,
        routers=(*inbox_page(settings, own.store), unsubscribe_page(settings, own, links)),
        leaving=leaving,
        warmup_rules=warmup_rules(),
        apis=inbox_api(settings, own.store, stop.event.is_set),
        reports=_report_takers(settings, own),
    )


def _report_takers(settings: Settings, own: Office) -> ReportTakers:
    posted = PostedReports(store=own.store, new_id=own.new_id, now=clock.now)
    return ReportTakers(
        tls=posted.tls, xarf=posted.xarf, xarf_token=settings.report_token, proxies=settings.proxies
    )


def _rules(settings: Settings, own: Office, parts: HttpParts, rates: KeyRates) -> Rules:
    authenticator = Authenticator(own.store, monotonic=clock.monotonic, now=clock.now)
    if settings.smtp_auth_in_clear:
        _log.warning("smtp.auth_in_clear_allowed", host=settings.smtp_host)
    return Rules(
        host=settings.hostname,
        desk=SubmissionDesk(
            parts.intake, host=settings.hostname, new_id=own.new_id, now=clock.now, rates=rates
        ),
        credentials=KeyLogin(authenticator, clock.monotonic, KeySessions(settings.key_sessions)),
        tls=_certificate(settings),
        auth_in_clear=settings.smtp_auth_in_clear,
        limits=Limits(size_bytes=settings.max_message_mb * _MIB, recipients=_most_recipients(settings)),
        budget=Room(parts.budget),
        keeps_dsn=True,
        keeps_requiretls=True,
    )


def _most_recipients(settings: Settings) -> int:
    """Of one SMTP transaction: a client splits what has more (RFC 5321 §4.5.3.1.10), in parts that a key may
    submit at all."""
    of_a_key = (settings.key_recipients_per_second, settings.key_recipients_per_minute)
    return min(settings.max_recipients, 1000, *(most for most in of_a_key if most))


def _certificate(settings: Settings) -> Callable[[], ssl.SSLContext]:
    certificate = settings.smtp_cert_file
    if certificate is None:
        return made_certificate(settings.data_dir / "tls", settings.hostname, clock.now())
    return OwnCertificate(certificate, settings.smtp_key_file or certificate)


class _SmtpDoor:
    """The two ports of the SMTP door; known once it is open."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._rules = rules
        self._listener: Listener | None = None
        self.port = self.tls_port = 0

    async def open(self) -> None:
        """Raises OSError: a port is in use."""
        host = self._settings.smtp_host
        self._listener = Listener(self._rules)
        self.port = await self._listener.listen(host, self._settings.smtp_port)
        self.tls_port = await self._listener.listen(host, self._settings.smtps_port, tls_first=True)

    async def close(self) -> None:
        """Transactions under way come to their end first."""
        if self._listener is not None:
            await self._listener.close(_DRAIN_SECONDS)


class _Server(uvicorn.Server):
    """Says when it listens, and leaves when its incarnation was declared dead."""

    def __init__(
        self, config: uvicorn.Config, stop: Stop, door: _SmtpDoor, on_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._stop = stop
        self._door = door
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The role's own handlers stay. uvicorn's would raise the signal again when it has ended, which
        kills the process before the committer is stopped."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._door.open()
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.gather(self._door.close(), super().shutdown(sockets))

    async def on_tick(self, counter: int) -> bool:
        if self._stop.event.is_set():
            self.should_exit = True
        return await super().on_tick(counter)
