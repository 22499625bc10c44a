"""What came back and waits, for a reader or for the operator, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailer.accept.http.metrics import Sample
from mailer.queue.returned_list import Waiting


class ReturnsMetrics(Collector):
    """Mails that nobody has read yet, and entries that a storm held up until somebody decides."""

    def __init__(self, read: Callable[[], Waiting], monotonic: Callable[[], float]) -> None:
        """read may raise StoreUnavailable."""
        self._waiting = Sample(read, monotonic)

    def describe(self) -> Iterator[Metric]:
        """None in advance: registering must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        waiting = self._waiting.present()
        if waiting is None:
            return
        yield GaugeMetricFamily(
            "mailer_returned_unread", "Mails that came back and are not read yet.", value=waiting.unread
        )
        yield GaugeMetricFamily(
            "mailer_suppressions_under_review",
            "Entries of suppression lists that are held up until the operator decides.",
            value=waiting.under_review,
        )
