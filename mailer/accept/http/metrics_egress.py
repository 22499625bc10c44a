"""Warm-up as metrics, read from the database like the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import product

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailer.accept.http.metrics import Sample
from mailer.queue.warming import Standing, Warmup

_LABELS = ["ip", "provider"]
_EPOCH = date(1970, 1, 1)
_DAY_SECONDS = 86_400
_VERDICTS = ("green", "yellow", "red")


class WarmupMetrics(Collector):
    """One line for each IP at each provider; none where nothing is warming up."""

    def __init__(self, read: Callable[[], Sequence[Warmup]], monotonic: Callable[[], float]) -> None:
        """read may raise StoreUnavailable."""
        self._warmups = Sample(read, monotonic)

    def describe(self) -> Iterator[Metric]:
        """None in advance: registering must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        warmups = self._warmups.present() or ()
        standing = [(w.address, s) for w in warmups if w.state != "stopped" for s in w.providers]
        if standing:
            yield from _families(standing)
            yield _held(warmups)


def _families(standing: Sequence[tuple[str, Standing]]) -> Iterator[Metric]:
    stage = GaugeMetricFamily(
        "mailer_warmup_stage", "Stage of the warm-up, from 1; one more than the last: warm.", labels=_LABELS
    )
    cap = GaugeMetricFamily(
        "mailer_warmup_cap_messages",
        "Messages that may be sent today; none where it is warm.",
        labels=_LABELS,
    )
    used = GaugeMetricFamily("mailer_warmup_used_messages", "Messages sent today.", labels=_LABELS)
    verdict = GaugeMetricFamily(
        "mailer_warmup_verdict", "1 for how the last day went, or this one.", labels=[*_LABELS, "verdict"]
    )
    warm_on = GaugeMetricFamily(
        "mailer_warmup_warm_on_timestamp_seconds",
        "When it is warm if every day advances it; none as long as nothing does.",
        labels=_LABELS,
    )
    for address, s in standing:
        at = [address, s.provider]
        stage.add_metric(at, s.stages + 1 if s.stage is None else s.stage)
        used.add_metric(at, s.used)
        if s.cap is not None:
            cap.add_metric(at, s.cap)
        if s.warm_on is not None:
            warm_on.add_metric(at, (s.warm_on - _EPOCH).days * _DAY_SECONDS)
    for (address, s), word in product(standing, _VERDICTS):
        verdict.add_metric([address, s.provider, word], s.verdict == word)
    yield from (stage, cap, used, warm_on, verdict)


def _held(warmups: Sequence[Warmup]) -> Metric:
    held = GaugeMetricFamily(
        "mailer_warmup_held", "1 while an operator holds the warm-up.", labels=["ip", "plan"]
    )
    for one in warmups:
        if one.state != "stopped":
            held.add_metric([one.address, one.plan], one.state == "held")
    return held
