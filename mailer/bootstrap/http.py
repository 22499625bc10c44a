"""The HTTP role: uvicorn with the doors' application, and the committer behind it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI

import mailer
from mailer import clock
from mailer.accept.changes import Changes
from mailer.accept.committer import Committer
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.http.body import BodyLimits
from mailer.accept.intake import Intake, IntakeLimits
from mailer.bootstrap.office import Office, Stop, announce, bell, keep_lease, office
from mailer.config import Settings
from mailer.identity import custody
from mailer.store import Store
from mailer.web.inbox import inbox_router

_MIB = 1024 * 1024
_BACKLOG = 2048
_DRAIN_SECONDS = 30  # for requests under way when the door closes


def run(settings: Settings) -> int:
    """Serves until it is told to stop; returns the exit code. Raises OSError: the address is in use."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "http") as own, bell(settings) as ring, _listen(settings) as listener:
        committer = Committer(
            own.store,
            new_id=own.new_id,
            process_number=own.registration.process_number,
            now=clock.now,
            ring=ring,
        )
        committer.start()
        keep_lease(own.lease, stop)
        port = listener.getsockname()[1]
        changes = Changes(
            own.store,
            new_id=own.new_id,
            process_number=own.registration.process_number,
            now=clock.now,
            ring=ring,
        )
        app = create_app(_parts(settings, own, committer, changes))
        server = _Server(_config(app), stop, lambda: announce(settings, "http", port=port))
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
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # the application logs each request itself, with its id and without addresses
        server_header=False,
        proxy_headers=False,  # the client's address is not used
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _parts(settings: Settings, own: Office, committer: Committer, changes: Changes) -> HttpParts:
    intake = Intake(
        committer,
        data_folder=settings.data_dir,
        body_folder=own.store.body_folder,
        limits=IntakeLimits(
            message_bytes=settings.max_message_mb * _MIB,
            recipients=settings.max_recipients,
            free_bytes=settings.free_space_floor_mb * _MIB,
        ),
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
    )
    return HttpParts(
        store=own.store,
        intake=intake,
        changes=changes,
        now=clock.now,
        monotonic=clock.monotonic,
        version=mailer.__version__,
        body_limits=BodyLimits(request_bytes=settings.max_request_mb * _MIB),
        byte_budget_bytes=settings.byte_budget_mb * _MIB,
        most_recipients=settings.max_recipients,
        routers=_pages(settings, own.store),
    )


def _pages(settings: Settings, store: Store) -> tuple[APIRouter, ...]:
    """The inbox shows mail to whoever asks, so only a sandbox has it."""
    if settings.is_live:
        return ()

    def txt_record(name: bytes) -> bytes | None:
        found = custody.txt_record(store, name.decode("ascii", "replace"))
        return None if found is None else found.encode()

    return (inbox_router(settings.data_dir / "inbox", txt_record),)


class _Server(uvicorn.Server):
    """Says when it listens, and leaves when its incarnation was declared dead."""

    def __init__(self, config: uvicorn.Config, stop: Stop, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The role's own handlers stay. uvicorn's would raise the signal again when it has ended, which
        kills the process before the committer is stopped."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        if self._stop.event.is_set():
            self.should_exit = True
        return await super().on_tick(counter)
