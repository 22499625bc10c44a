"""The brake as metrics, read from the database like the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailer.accept.http.metrics import Sample
from mailer.queue.overriding import Standing


class BrakeMetrics(Collector):
    """How many streams are warned of, and how many are paused; none by name, since tenants may be many."""

    def __init__(self, read: Callable[[], Sequence[Standing]], monotonic: Callable[[], float]) -> None:
        """read may raise StoreUnavailable."""
        self._standing = Sample(read, monotonic)

    def describe(self) -> Iterator[Metric]:
        """None in advance: registering must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        standing = self._standing.present()
        if standing is None:
            return
        streams = GaugeMetricFamily(
            "mailer_braked_streams", "Streams whose mail is ill received, by what follows.", labels=["state"]
        )
        streams.add_metric(["warned"], sum(s.mark is not None and not s.is_held for s in standing))
        streams.add_metric(["paused"], sum(s.is_held for s in standing))
        yield streams
