"""The door's end of the bell: rings after a commit, and never costs the door anything."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import structlog
from celery import Celery
from celery.utils import uuid

from mailer.bell.app import QUEUE, RING

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 0.015  # commits within it share one bell; work must start within 20 ms
_UNHEARD_PAUSE_SECONDS = 0.5  # between attempts to reach a broker that is away
_CLOSE_SECONDS = 1.0
# A bell that waits longer has been overtaken by the sweep. The broker counts it, so that no clock of
# ours is compared with another host's.
_EXPIRY_SECONDS = 5


class Bell:
    """Says "there is work" to the workers.

    One per process, made after any fork: a thread of its own does the publishing.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        # The one task, made once: `send_task` would make it anew for every bell, at three times the cost.
        # Nothing tells bells apart, so they may share an id.
        self._task: Any = app.amqp.as_task_v2(uuid(), RING, ignore_result=True)
        self._wanted = False
        self._stirred = threading.Event()
        self._closing = threading.Event()
        self._connection: Any = None
        self._producer: Any = None
        self._unheard = 0
        self.failures = 0  # rings since the start that no broker took
        # A daemon, so that a broker which hangs does not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Some worker looks for work after this moment, if a broker and a worker are there.

        Sets a flag for the publishing thread and returns: never waits for a broker, never raises. Rings
        within 15 ms are one, the first of them goes out at once. A ring lost costs a sweep interval, one
        too many finds nothing to claim.
        """
        self._wanted = True
        self._stirred.set()

    def close(self) -> None:
        """Rings no more; what was rung before goes out first if the broker takes it within a second."""
        self._closing.set()
        self._stirred.set()
        self._thread.join(timeout=_CLOSE_SECONDS)

    def _run(self) -> None:
        while self._wanted or not self._closing.is_set():
            self._stirred.wait()
            self._stirred.clear()
            if self._wanted:
                self._wanted = False  # before publishing: a ring from here on wants a bell of its own
                self._closing.wait(_PAUSE_SECONDS if self._publish() else _UNHEARD_PAUSE_SECONDS)
        self._hang_up(politely=True)

    def _publish(self) -> bool:
        """One bell is with the broker; False, counted and logged, if it cannot be brought there."""
        had_connection = self._connection is not None
        try:
            try:
                self._publish_once()
            except Exception:
                # A connection left over from before the broker's restart fails once; a new one tells.
                if not had_connection:
                    raise
                self._hang_up()
                self._publish_once()
        except Exception as error:  # noqa: BLE001 - drivers raise what they like, and a door must not hear it
            self._hang_up()
            self._count_failure(error)
            return False
        self._count_success()
        return True

    def _publish_once(self) -> None:
        producer = self._dialled()
        ring_again = getattr(producer.channel, "ring_again", None)  # the embedded bell's
        if ring_again is not None and ring_again(QUEUE.name):
            return
        # Declaring again tells how many wait, and heals a queue that someone deleted.
        waiting = QUEUE.queue_declare(channel=producer.channel)[1]
        if waiting:
            # A bell nobody has read yet is answered by a look at the queue later than our commit. So
            # nothing piles up while the workers are away.
            return
        producer.publish(
            self._task.body,
            exchange="",
            routing_key=QUEUE.routing_key,
            serializer="json",
            headers=self._task.headers,
            expiration=_EXPIRY_SECONDS,
            **self._task.properties,
        )

    def _dialled(self) -> Any:
        if self._producer is None:
            self._connection = self._app.connection_for_write(heartbeat=0)
            self._connection.ensure_connection(max_retries=0)
            self._producer = self._app.amqp.Producer(self._connection.channel(), auto_declare=False)
        return self._producer

    def _hang_up(self, *, politely: bool = False) -> None:
        """Forgets the connection; a polite good-bye waits for the broker's, so only for one that answers."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            # Whatever a broken connection says to this, it is gone; raised, it would end the thread.
            with contextlib.suppress(Exception):
                (connection.release if politely else connection.collect)()

    def _count_failure(self, error: Exception) -> None:
        self.failures += 1
        self._unheard += 1
        if self._unheard == 1:
            _log.warning("bell.unheard", cause=type(error).__name__)

    def _count_success(self) -> None:
        if self._unheard:
            _log.info("bell.heard", unheard=self._unheard)
            self._unheard = 0
