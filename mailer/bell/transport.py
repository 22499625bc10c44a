"""The embedded bell as a kombu transport, so that Celery rings and hears it like any broker.

URL: `bell:///path/to/folder` (see `url`). Of a broker it keeps what a bell needs: a queue is the set of
ears in the folder, a message goes to all of them, and messages that wait together are one. There is no
acknowledgement to lose and nothing to restore: what a worker misses, the sweep finds.

Since it carries nothing but bells, both ends may leave out what Celery does for a task: a ring that is like
the one before goes to the pipes as that one did (`Channel.ring_again`), and one that is heard is told at once
where the transport option `ON_RING` names somebody to tell.
"""

from __future__ import annotations

import json
import math
import select
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote

import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual

from mailer.bell import fifo

_log = structlog.get_logger(__name__)

SCHEME = "bell"
ON_RING = "on_ring"  # transport option: called with nothing at every bell heard, which then brings no task
# While a pool with threads is at its prefetch limit, nothing tells when it has room again.
_FULL_POOL_SECONDS = 0.05


def url(folder: Path) -> str:
    """The broker URL of the bell in `folder`, which need not exist yet."""
    return f"{SCHEME}://{quote(str(folder.absolute()))}"


def register() -> None:
    """kombu resolves `bell://` URLs to this module. Repeating it does nothing."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"


class Channel(virtual.Channel):
    """Rings and hears. A queue that is consumed has one ear here."""

    do_restore = False  # an unacknowledged bell is no work lost

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        self.ears: dict[str, fifo.Ear] = {}
        self._rung: dict[str, bytes] = {}
        super().__init__(connection, **kwargs)  # type: ignore[no-untyped-call]

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if queue not in self.ears:
            self.ears[queue] = fifo.Ear(self.connection.folder, queue)
        super().basic_consume(queue, *args, **kwargs)  # type: ignore[no-untyped-call]

    def basic_cancel(self, consumer_tag: str) -> None:
        super().basic_cancel(consumer_tag)  # type: ignore[no-untyped-call]
        for queue in self.ears.keys() - set(self._active_queues):
            self.ears.pop(queue).close()

    def _put(self, queue: str, message: dict[str, Any], **_kwargs: Any) -> None:
        record = json.dumps(message).encode()
        fifo.ring(self.connection.folder, queue, record)
        self._rung[queue] = record

    def ring_again(self, queue: str) -> bool:
        """Rings as the last time; False if there was none, or nobody heard it for whom to ring again."""
        record = self._rung.get(queue)
        return record is not None and fifo.ring(self.connection.folder, queue, record) > 0

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        ear = self.ears.get(queue)
        record = ear.hear() if ear else None
        if record is None:
            raise Empty
        try:
            return json.loads(record)
        except ValueError:
            # Somebody else wrote into the pipe. Raised, it would end the worker; as no bell, it is harmless.
            _log.warning("bell.garbled", queue=queue)
            raise Empty from None

    def _size(self, queue: str) -> int:
        """1 if every ear holds a bell unread, else 0: what a ringer wants to know."""
        return int(fifo.all_rung(self.connection.folder, queue))

    def _purge(self, queue: str) -> int:
        return fifo.purge(self.connection.folder, queue)


class Transport(virtual.Transport):
    """A connection: the folder, and the wait for any of its ears."""

    Channel = Channel
    driver_type = SCHEME
    driver_name = SCHEME
    # A folder that cannot be opened is a broker that is away: Celery tries again until it can.
    connection_errors = (OSError,)
    client: Any  # the kombu Connection
    _patient = True

    @property
    def folder(self) -> Path:
        return Path("/", self.client.virtual_host)

    def driver_version(self) -> str:
        return "1"

    def drain_events(self, connection: Transport, timeout: float | None = None, **_kwargs: Any) -> None:
        """Delivers the bells of all ears; waits up to `timeout` seconds (None: for ever) for the first.

        Raises TimeoutError if none came, or `stop_waiting` was called.
        """
        while True:
            if self._wait(timeout) and self._deliver_heard():
                return
            for ear in self._ears():
                ear.renew()
            if timeout is not None or not self._patient:
                raise TimeoutError

    def stop_waiting(self) -> None:
        """Ends the wait in `drain_events`, and every later one at once. Safe in a signal handler.

        Later ones too, since Celery's loop waits once more after it has seen that it is to stop.
        """
        self._patient = False
        for ear in self._ears():
            ear.wake()

    def _wait(self, timeout: float | None) -> bool:
        """True if an ear that may be read has something to hear."""
        if not self._patient:
            timeout = 0
        poller = select.poll()
        for channel in self.channels:
            if channel.qos.can_consume():
                for ear in channel.ears.values():
                    poller.register(ear, select.POLLIN)
            else:
                timeout = _FULL_POOL_SECONDS if timeout is None else min(timeout, _FULL_POOL_SECONDS)
        return bool(poller.poll(None if timeout is None else math.ceil(timeout * 1000)))

    def _deliver_heard(self) -> bool:
        """Hands every bell that waits to its consumer; False if there was none."""
        delivered = False
        on_ring = self.client.transport_options.get(ON_RING)
        deliver: Callable[[Any, str], None] = self._deliver if on_ring is None else lambda *_: on_ring()
        for channel in list(self.channels):
            if channel.qos.can_consume():
                for queue in list(channel.ears):
                    try:
                        message = channel._get(queue)
                    except Empty:
                        continue
                    deliver(message, queue)
                    delivered = True
        return delivered

    def _ears(self) -> list[fifo.Ear]:
        return [ear for channel in self.channels for ear in channel.ears.values()]
