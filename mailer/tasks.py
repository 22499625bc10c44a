"""Celery's side of the worker: the one task, and the process that runs it.

The task says "look": it calls the worker's `pull`, which claims from the database and hands over. The bell
of one machine calls it without a task. Doors ring by `mailer.bell.Bell`; what is exported here is what
commands need to put the two together.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import Celery, signals
from celery.apps import worker as program
from celery.platforms import SecurityWarning
from celery.utils.threads import bound_open_broker_sockets

from mailer.bell import ON_RING, RING, Bell, make_app

__all__ = ["Bell", "make_app", "run_worker"]

_log = structlog.get_logger(__name__)

_STOP_NOTICED_SECONDS = 0.25
_GOODBYE_SECONDS = 0.5  # for what a broker must answer while the worker leaves


def run_worker(
    app: Celery,
    pull: Callable[[], None],
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None] | None = None,
) -> int:
    """Runs the Celery worker in this thread, the main one, until a signal ends it; returns its exit code.

    pull      called at every bell heard, and once when ready, for what was committed before; must return
              soon. What it raises is logged
    on_ready  called when the bell can be heard the first time. With the broker away that may be never:
              whatever polls the database starts before this function
    on_stop   called inside the handler of SIGTERM, SIGINT or SIGHUP. The signal may have interrupted `pull`
              or `on_ready` in this very thread: what they lock must not be locked here, or it waits for ever

    A broker that goes away is dialled again for ever. Once a process: Celery's stop flag is not reset.
    """
    register(app, pull)
    # The embedded bell tells without a task, which would take a millisecond.
    app.conf.broker_transport_options |= {ON_RING: partial(_pull, pull)}
    with warnings.catch_warnings():
        # It warns that root must not unpickle; nothing here does.
        warnings.simplefilter("ignore", SecurityWarning)
        worker = _Worker(
            app=app, quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True
        )
    ready = partial(_when_ready, pull, on_ready)
    leave = partial(_when_leaving, worker, on_stop)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
    worker.start()
    return int(worker.exitcode or 0)


def _pull(pull: Callable[[], None]) -> None:
    try:
        pull()
    except Exception:  # noqa: BLE001 - the top of a bell, as a task would be: the next one is heard
        _log.exception("bell.not_answered")


def register(app: Celery, pull: Callable[[], None]) -> None:
    """`app` knows the task that doors send by name."""

    @app.task(name=RING)  # type: ignore[untyped-decorator]
    def ring() -> None:
        pull()


class _Worker(program.Worker):  # type: ignore[misc]
    """Celery's worker program, less what a role of ours must not do: log, print, restart itself."""

    def setup_logging(self, colorize: bool | None = None) -> bool:
        """Leaves it as bootstrap set it up, less Celery's two lines for every bell."""
        for name in ("celery.worker.strategy", "celery.app.trace"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return True

    def install_platform_tweaks(self, worker: Any) -> None:
        """Every polite signal is a warm stop; SIGQUIT stays cold, SIGUSR1 prints the stacks.

        Celery's own SIGHUP runs the command line again, which would outlive its parent; its second
        SIGINT kills tasks, while our drain bounds itself.
        """
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            program.install_worker_term_handler(worker, sig=name, verbose=False)
        program.install_worker_term_hard_handler(worker, verbose=False)
        program.install_cry_handler()


def _when_ready(
    pull: Callable[[], None], on_ready: Callable[[], None], *, sender: Any, **_signal: Any
) -> None:
    if sender.hub is not None:  # AMQP and Redis: their loop waits up to half a broker heartbeat
        sender.timer.call_repeatedly(_STOP_NOTICED_SECONDS, _look_up)
    on_ready()
    pull()


def _look_up() -> None:
    """Lets the loop pass the point at which it sees that a signal came."""


def _when_leaving(worker: _Worker, on_stop: Callable[[], None] | None, **_signal: Any) -> None:
    if on_stop is not None:
        on_stop()
    connection = worker.consumer.connection
    if connection is not None:
        # Leaving waits for the broker's answers, for ever if it hangs: nothing of ours depends on them.
        bound_open_broker_sockets(connection, _GOODBYE_SECONDS)
        stop_waiting = getattr(connection.transport, "stop_waiting", None)  # the embedded bell's
        if stop_waiting is not None:
            stop_waiting()
