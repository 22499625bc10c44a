"""What Prometheus reads at /metrics: this process's requests, and the queue as the database has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailer.events import RecipientState
from mailer.queue.callbacks import CallbackGauges
from mailer.queue.read import Gauges
from mailer.store import StoreUnavailable

_log = structlog.get_logger(__name__)

# The version of the text format that prometheus_client writes.
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# An accept is a few milliseconds; beyond seconds only the fact matters.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_GAUGE_SECONDS = 5.0  # counting a long queue is work: scrapes within this time share one count


class HttpMetrics:
    """Counts of one process. Its own registry, so that several applications fit into one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mailer_http_requests_total", "Requests answered.", ["method", "route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "mailer_http_request_seconds", "Time from a request's first octet to its answer's last.",
            ["method", "route"], buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        # Looking a labelled child up costs more than counting with it.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def add(self, collector: Collector) -> None:
        self._registry.register(collector)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            counted = self._requests.labels(method, route, str(status))
            children = self._children[key] = (counted, self._seconds.labels(method, route))
        children[0].inc()
        children[1].observe(seconds)

    def text(self) -> bytes:
        """Reads the database: not for an event loop."""
        return generate_latest(self._registry)


_G = TypeVar("_G")


class Sample(Generic[_G]):
    """One reading of the database, shared by scrapes that come within seconds."""

    def __init__(self, read: Callable[[], _G], monotonic: Callable[[], float]) -> None:
        """read may raise StoreUnavailable."""
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: _G | None = None
        self._read_at = 0.0

    def present(self) -> _G | None:
        """None when the database does not answer."""
        with self._lock:
            now = self._monotonic()
            if self._last is None or now - self._read_at >= _GAUGE_SECONDS:
                self._last = None
                try:
                    self._last = self._read()
                except StoreUnavailable as error:
                    _log.warning("http.metrics_unread", error=str(error))
                self._read_at = now
            return self._last


class QueueMetrics(Collector):
    """The queue at the moment of the scrape, read from the rows that are the truth."""

    def __init__(
        self,
        read_gauges: Callable[[], Gauges],
        held_bytes: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        """read_gauges may raise StoreUnavailable; held_bytes: of request bodies in this process."""
        self._gauges = Sample(read_gauges, monotonic)
        self._held_bytes = held_bytes

    def describe(self) -> Iterator[Metric]:
        """None in advance: registering must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "mailer_http_body_held_bytes", "Octets of request bodies held in memory.", self._held_bytes()
        )
        gauges = self._gauges.present()
        # A gauge that is missing raises an alert; one with yesterday's figure would hide the outage.
        yield _gauge("mailer_store_up", "1 if the database answered this scrape.", gauges is not None)
        if gauges is not None:
            yield from _families(gauges)


class CallbackMetrics(Collector):
    """Callbacks to webhook endpoints, read like the queue."""

    def __init__(self, read_gauges: Callable[[], CallbackGauges], monotonic: Callable[[], float]) -> None:
        """read_gauges may raise StoreUnavailable."""
        self._gauges = Sample(read_gauges, monotonic)

    def describe(self) -> Iterator[Metric]:
        """None in advance: registering must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        gauges = self._gauges.present()
        if gauges is None:
            return
        yield _gauge("mailer_callbacks_due", "Callbacks of active endpoints whose time has come.", gauges.due)
        yield _gauge(
            "mailer_callback_oldest_due_seconds",
            "Age of the callback that has been due for longest and is not yet being called.",
            gauges.oldest_due_seconds,
        )
        attempts = GaugeMetricFamily(
            "mailer_callback_attempts", "Calls of the last hour, by the answer.", labels=["result"]
        )
        for result, calls in gauges.attempts.items():
            attempts.add_metric([result], calls)
        yield attempts


def _families(gauges: Gauges) -> Iterator[Metric]:
    recipients = GaugeMetricFamily(
        "mailer_recipients", "Recipients kept, by the state they are in.", labels=["state"]
    )
    for state in RecipientState:
        recipients.add_metric([state], gauges.recipients.get(state, 0))
    yield recipients
    processes = GaugeMetricFamily("mailer_processes", "Live processes, by role.", labels=["role"])
    for role, live in sorted(gauges.live.items()):
        processes.add_metric([role], live)
    yield processes
    yield _gauge(
        "mailer_oldest_due_seconds",
        "Age of the recipient that has been due for longest and is not yet claimed.",
        gauges.oldest_due_seconds,
    )
    yield _gauge(
        "mailer_unaccounted_recipients",
        "Accepted recipients that are neither in a final state nor in the queue. Must be 0.",
        gauges.unaccounted,
    )
    yield _gauge(
        "mailer_unnumbered_events", "Events that the fan-out has not yet numbered.", gauges.unnumbered_events
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
